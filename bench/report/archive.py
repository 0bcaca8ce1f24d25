"""A run's results as files of their own, so that its report can be made again, or combined with others, at any time.

``data/about.json`` is sealed and holds the digests of the other files of ``data``. ``data/digest.txt``, the mark, says
for which results a report was finished, and has the digest of every file of it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from cloakbench.bench.core.code_digests import code_digest
from cloakbench.bench.core.files.regular_file import read_regular
from cloakbench.bench.core.files.seal import BLANK, DamagedError, check_seal, seal
from cloakbench.bench.core.files.whole_file import whole_file
from cloakbench.bench.report.decisions.columns import DECIDED
from cloakbench.bench.report.decisions.decide import with_decisions
from cloakbench.bench.report.decisions.sightings import with_sightings
from cloakbench.bench.report.reporters import reporters
from cloakbench.bench.report.results import Example, PhotoRecords, Results
from cloakbench.bench.store.errors import explained

_ABOUT = "about.json"
_MARK = "digest.txt"
_PLAIN = " without figures"
_SEAL_NAME = "about a run"
_NEWER = ("protocols", "conditions", "metrics", "labels", *DECIDED, "sightings")
"""Frames that runs of older versions do not have."""
_RENAMED = {"target": "judge", "transform": "condition"}
"""Columns of older versions, and what they are called now."""
_RENAMED_SETTING = ('"variants_on":', '"conditions_on":')
_FRAMES = ("measurements", "models", "methods", "costs", "thresholds", *_NEWER)
_RECORDS = "records_"
_WITH_VARIANT = {"measurements": "method", "costs": "method", "methods": "key"}
"""Frames with columns of variants, empty in runs of older versions, and the column before them."""
_BLANK_AXES = {"variant": "", "epsilon_255": np.nan, "surrogate": ""}
"""Columns that records of older versions may lack, and what they stand for."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


def save_results(results: Results, folder: Path) -> None:
    """Write ``folder/data``; `load_results` gives the same results back.

    Raises:
        StoreError: the folder cannot be written; one line saying why.
    """
    data = folder / "data"
    frames: dict[str, Callable[[], pd.DataFrame]] = {name: partial(getattr, results, name) for name in _FRAMES}
    frames |= {f"{_RECORDS}{name}": partial(results.records.__getitem__, name) for name in results.records}
    about = {
        "name": results.name,
        "dataset": results.dataset,
        "manifest_sha256": results.manifest_sha256,
        "setup": dict(results.setup),
        "seal": BLANK,
    }
    with explained(folder, "paths.runs"):
        take_back_mark(folder)
        (data / _ABOUT).unlink(missing_ok=True)
        files = {f"{name}.parquet": read for name, read in frames.items()}
        digests = {name: _write(data / name, _parquet(read())) for name, read in files.items()}
        digests["examples.zip"] = _write(data / "examples.zip", _examples_zip(results))
        text = json.dumps({**about, "sha256": digests}, indent=1) + "\n"
        _write(data / _ABOUT, b"".join(seal(text.encode(), _SEAL_NAME)))


def load_results(folder: Path) -> Results:
    """Read what `save_results` wrote.

    Raises:
        FileNotFoundError: the folder holds no finished run; the message says where runs are.
        ValueError: a file is missing or not as it was written.
        OSError: a file cannot be read, or is no plain file.
    """
    data = folder / "data"
    if not (data / _ABOUT).exists():
        raise FileNotFoundError(f"{folder} holds no finished run: name a folder that has data/about.json")
    about = _about(folder, read_regular(data / _ABOUT))
    digests = about.pop("sha256", {})

    def content(name: str) -> io.BytesIO:
        try:
            found = read_regular(data / name)
        except FileNotFoundError as problem:
            raise _damaged(folder, name, "missing") from problem
        if digests and hashlib.sha256(found).hexdigest() != digests.get(name):
            raise _damaged(folder, name, "damaged")
        return io.BytesIO(found)

    frames: dict[str, pd.DataFrame] = {
        name: pd.read_parquet(content(f"{name}.parquet")).rename(columns=_RENAMED)
        for name in _FRAMES
        if name not in _NEWER or f"{name}.parquet" in digests
    }
    for name, before in _WITH_VARIANT.items():
        for column in ("varied", "variant") if name == "methods" else ("variant",):
            if column not in frames[name]:
                frames[name].insert(list(frames[name]).index(before) + 1, column, "")
    frames["costs"] = frames["costs"].assign(**({} if "publication" in frames["costs"] else {"publication": ""}))
    if "protocols" in frames:
        frames["protocols"]["config"] = frames["protocols"]["config"].str.replace(*_RENAMED_SETTING)
    photos: dict[tuple[str, str], dict[str, torch.Tensor]] = {}
    shown: dict[tuple[str, str], dict[str, dict[str, torch.Tensor]]] = {}
    with zipfile.ZipFile(content("examples.zip")) as archive:
        for member in archive.namelist():
            face, label, *name = json.loads(member)
            place = ("", face) if isinstance(face, str) else tuple(face)
            pixels = np.asarray(Image.open(io.BytesIO(archive.read(member))))
            into = shown.setdefault(place, {}).setdefault(label, {}) if name else photos.setdefault(place, {})
            into[name[0] if name else label] = torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()
    examples = tuple(
        Example(image_id, made.pop("original"), made, shown.get((publication, image_id), {}), publication)
        for (publication, image_id), made in photos.items()
    )
    kept = [name.removeprefix(_RECORDS).removesuffix(".parquet") for name in digests if name.startswith(_RECORDS)]
    here = [name for name in kept if (data / f"{_RECORDS}{name}.parquet").exists()]
    records = PhotoRecords(here, lambda name: _with_axes(pd.read_parquet(content(f"{_RECORDS}{name}.parquet"))))
    told: dict[str, Any] = {**about, **frames}
    results = Results(examples=examples, records=records, **told)
    if "sightings.parquet" not in digests and records:
        results = with_sightings(results, reporters(results))
    return results if "means.parquet" in digests or not records else with_decisions(results, reporters(results))


def _with_axes(records: pd.DataFrame) -> pd.DataFrame:
    """Records as present versions have them: older ones left out columns of cells that were empty throughout."""
    known = records.rename(columns=_RENAMED)
    return known.assign(**{name: blank for name, blank in _BLANK_AXES.items() if name not in known})


def publish(results: Results, folder: Path, *, figures: bool = True, style: str = "paper") -> None:
    """Write the report of results into ``folder`` and mark it as current: never while any of it is old or missing.

    Args:
        figures: whether it has any.
        style: of figures, a name of `STYLES`.

    Raises:
        StoreError: the folder cannot be written; one line saying why.
    """
    from cloakbench.bench.report.drawing.styles import figure_style
    from cloakbench.bench.report.writer import write_report

    with explained(folder, "paths.runs"):
        take_back_mark(folder)
        files = write_report(results, folder, figures=figures, style=figure_style(style))
        data = [path for path in (folder / "data").glob("[!.]*") if path.is_file()]
        shown = sorted({files.report, *files.tables, *files.figures, *files.timing, *data})
        head = _digest(results) + (_in_style(style) if figures else _PLAIN)
        lines = [head, *(f"{_file_digest(path)}  {path.relative_to(folder).as_posix()}" for path in shown)]
        _write(folder / "data" / _MARK, ("\n".join(lines) + "\n").encode())


def _in_style(style: str) -> str:
    """What the mark says of figures that are not those of a paper."""
    return f" with figures for {style}" * (style != "paper")


def take_back_mark(folder: Path) -> None:
    """From now on the report in ``folder`` does not count as finished."""
    (folder / "data" / _MARK).unlink(missing_ok=True)


def is_finished(folder: Path) -> bool:
    """Whether all files of a report are in ``folder`` as they were written."""
    files = [line.partition("  ") for line in _mark(folder)[1:]]
    return bool(files) and all(digest and _file_digest(folder / name) == digest for digest, _, name in files)


def is_current(results: Results, folder: Path, *, figures: bool = True, style: str = "paper") -> bool:
    """Whether the report in ``folder`` is finished and shows these results as the present code would, with what is
    wanted of figures or more."""
    head = _digest(results)
    drawn = head + _in_style(style)
    return _mark(folder)[:1] in ([[drawn]] if figures else [[drawn], [head + _PLAIN]]) and is_finished(folder)


def _write(path: Path, content: bytes) -> str:
    """Replace a file as a whole; returns its digest."""
    with whole_file(path) as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()


def _mark(folder: Path) -> list[str]:
    """The lines of the mark; none where there is none."""
    try:
        return read_regular(folder / "data" / _MARK).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _file_digest(path: Path) -> str:
    """Digest of a plain file; empty when there is none that can be read."""
    try:
        return hashlib.sha256(read_regular(path)).hexdigest()
    except OSError:
        return ""


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _examples_zip(results: Results) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for example in results.examples:
            for name, image in _pictures(example):
                png = io.BytesIO()
                Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(png, "PNG")
                archive.writestr(zipfile.ZipInfo(json.dumps([_face(example), *name]), _EPOCH), png.getvalue())
    return buffer.getvalue()


def _face(example: Example) -> str | list[str]:
    """A photo of the probes, or of another publication, in which the same photo may stand."""
    return [example.publication, example.image_id] if example.publication else example.image_id


def _pictures(example: Example) -> Iterator[tuple[tuple[str, ...], torch.Tensor]]:
    """Every picture of a face under its label, or under label and name."""
    yield ("original",), example.original
    yield from (((label,), image) for label, image in example.protected.items())
    yield from (((label, name), image) for label, of in example.shown.items() for name, image in of.items())


def _about(folder: Path, content: bytes) -> dict[str, Any]:
    """What ``about.json`` says; one without a seal comes from a version that did not write any."""
    try:
        about = json.loads(content)
        if set(about) != {"name", "dataset", "manifest_sha256", "setup"}:
            check_seal(content, _SEAL_NAME)
            del about["seal"]
    except (DamagedError, ValueError, TypeError, KeyError) as problem:
        raise _damaged(folder, _ABOUT, "damaged") from problem
    return about


def _damaged(folder: Path, name: str, state: str) -> ValueError:
    return ValueError(
        f"{folder / 'data' / name} is {state}: run the experiment again, which writes it from the store without "
        "computing anything again"
    )


def _digest(results: Results) -> str:
    from cloakbench.bench.report.html.page import templates_digest

    printing = {type(reporter).__module__ for reporter in reporters(results)}
    digest = hashlib.sha256(code_digest("cloakbench.bench.report.writer", __name__, *printing).encode())
    digest.update(templates_digest().encode())
    head = [results.name, results.dataset, results.manifest_sha256, dict(results.setup)]
    digest.update(json.dumps(head, sort_keys=True).encode())
    for name in _FRAMES:
        digest.update(getattr(results, name).to_csv(index=False).encode())
    for example in results.examples:
        for name, image in sorted(_pictures(example), key=lambda one: one[0]):
            digest.update("\n".join((*name, example.publication)).encode() + image.numpy().tobytes())
    return digest.hexdigest()
