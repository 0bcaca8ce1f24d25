"""``cloakbench views``: how far a generator's pictures of people are from photos of them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from PIL import Image
from rich.table import Table
from rich.text import Text

from cloakbench.bench.config.checks.setting_checks import check_values
from cloakbench.bench.config.compose import compose_config, resolved, split_config_dirs
from cloakbench.bench.config.networks import build_generator, build_recogniser
from cloakbench.bench.core.escape import terminal
from cloakbench.bench.core.files.whole_file import whole_file
from cloakbench.bench.core.machine import checked_device
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.processes.malloc import keep_freed_memory
from cloakbench.bench.recognisers.view_quality import LIKE_SEED, PIXELS, Album, sheet, view_quality
from cloakbench.bench.report.estimate import records
from cloakbench.bench.report.writer import frame_csv, write_text
from cloakbench.datasets.base import FaceSet
from cloakbench.models.generators import Generator, view_streams

AT_ONCE = 8
"""People whose views are made in one call; decides nothing but memory."""


def main(words: Sequence[str]) -> int:
    """``cloakbench views [generator=NAME]``: a table, with a CSV file and a sheet of examples in ``results/views``."""
    torch.set_num_threads(1)
    keep_freed_memory()
    config_dirs, overrides = split_config_dirs(words)
    config = compose_config(overrides, "views", config_dirs)
    check_values(config)
    device = checked_device(config.device, "device")
    generator = build_generator(resolved(config.generator)).to(device)
    targets = resolved(config.targets)
    judges = {name: build_recogniser(node, str(name)).to(device) for name, node in targets.items()}
    album = make_album(generator, instantiate(config.evaluation).faces("probe"), config.count, config.seed, device)
    found = view_quality(album, judges, config.plan.embed_batch, config.statistics.resamples, config.seed)
    rows = records(found)
    folder = Path(config.paths.results) / "views" / generator.card.name
    write_text(folder / "quality.csv", frame_csv(found))
    write_text(folder / "by_judge.md", _markdown(rows))
    _write_sheet(folder / "sheet.png", sheet(album, config.rows))
    screen = Screen()
    screen.print(_table(generator.card.name, rows))
    screen.path(f"Written: {folder / 'quality.csv'}")
    return 0


def make_album(generator: Generator, faces: FaceSet, count: int, seed: int, device: torch.device) -> Album:
    """The first photo of each person as the seed, ``count`` views of it, and the ``count`` photos that follow.

    Raises:
        ValueError: somebody has too few photos.
    """
    rows = faces.rows_by_identity()
    if short := [name for name, places in rows.items() if len(places) <= count]:
        raise ValueError(f"{short[0]} has {len(rows[short[0]])} photos: count={count} takes {count + 1} of each person")
    first = faces.select([places[0] for places in rows.values()])
    photos = torch.stack([faces.images[torch.tensor(places[1 : count + 1])] for places in rows.values()])
    streams = view_streams(seed, first.digests())
    made = []
    for start in range(0, len(first), AT_ONCE):
        batch = first.images[start : start + AT_ONCE].to(device, torch.float32) / 255
        views = generator.views(batch, count, streams[start : start + AT_ONCE])
        made.append((views * 255).round().to(torch.uint8).cpu())
    return Album(first.images, torch.cat(made), photos, first.identity)


def _write_sheet(path: Path, pixels: torch.Tensor) -> None:
    file = io.BytesIO()
    Image.fromarray(pixels.movedim(0, -1).contiguous().numpy()).save(file, format="PNG", optimize=True)
    with whole_file(path) as out:
        out.write(file.getvalue())


def _of_all(row: Mapping[str, Any]) -> bool:
    """Whether a row is a mean over judges, or of pixels."""
    return str(row["judge"]).startswith("mean of") or row["judge"] == PIXELS


def _cells(row: Mapping[str, Any]) -> tuple[str, str]:
    digits = 1 if row["judge"] == PIXELS else 3
    return f"{row['value']:.{digits}f}", f"{row['low']:.{digits}f} to {row['high']:.{digits}f}"


def _table(name: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    judges = {str(row["judge"]) for row in rows if not _of_all(row)}
    title = f"Views by {name}: {rows[0]['n_identities']} people, one photo each, judged by {len(judges)} recognisers"
    table = Table(title=Text(terminal(title)), box=None, title_justify="left", pad_edge=False)
    for column in ("quantity", "of", "value", "95 % interval"):
        table.add_column(column, justify="left" if column in ("quantity", "of") else "right")
    for row in filter(_of_all, rows):
        table.add_row(str(row["quantity"]), str(row["of"]), *_cells(row))
    return table


def _markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The summary as a table of documents, and under it the cosines to the seed photo by judge."""
    lines = ["| | of | mean | 95 % interval over people |", "| --- | --- | --: | --: |"]
    lines += [f"| {row['quantity']} | {row['of']} | {' | '.join(_cells(row))} |" for row in filter(_of_all, rows)]
    by_judge: dict[str, list[str]] = {}
    for row in rows:
        if row["quantity"] == LIKE_SEED and not _of_all(row):
            value, interval = _cells(row)
            by_judge.setdefault(str(row["judge"]), []).append(f"{value} ({interval})")
    lines += ["", "| Recogniser | views | photos | strangers |", "| --- | --: | --: | --: |"]
    lines += [f"| `{judge}` | {' | '.join(cells)} |" for judge, cells in by_judge.items()]
    return "\n".join(lines) + "\n"
