"""``cloakbench perf``: the cost of methods beyond the network passes that they cannot avoid, and how it grows.

Every ratio compares two things run in turn in one process on the same model and photos, and is the median over the
turns, so that a slow moment of the machine hits both; beside it stand the lowest and the highest. Memory is kept
between steps as in a run (`cloakbench.bench.processes.malloc`), for both sides alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from rich.table import Table

from cloakbench.bench.config.checks.setting_checks import check_values
from cloakbench.bench.config.compose import compose_config, split_config_dirs
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.files.whole_file import whole_file
from cloakbench.bench.core.machine import checked_device
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.experiment.environment import describe
from cloakbench.bench.perf.growth import growth
from cloakbench.bench.perf.loops import bare_loops, freezing
from cloakbench.bench.perf.peers import peers
from cloakbench.bench.perf.precision import precision_table, precisions
from cloakbench.bench.perf.service_calls import service_calls
from cloakbench.bench.perf.timing import Ratio
from cloakbench.bench.processes.malloc import keep_freed_memory
from cloakbench.bench.store.errors import explained

if TYPE_CHECKING:
    from omegaconf import DictConfig


_PRECISION = "precision"
_SECTIONS = ("networks", "loops", "peers", _PRECISION, "services", "growth")


def _rows(section: str, config: DictConfig) -> Iterator[Ratio]:
    people, photos, repeats, device = _sizes(config)
    if section == "networks":
        return freezing(photos, repeats, device)
    if section == "loops":
        return bare_loops(people, photos, repeats, device)
    if section == "peers":
        return peers(people, photos, repeats, device)
    if section == "services":
        return service_calls(repeats)
    return growth(people, config.growth, repeats, device)


def main(words: Sequence[str] | None = None) -> int:
    """Print the tables; the exit status is 1 when a bar is missed. ``conf/perf.yaml`` says what can be set."""
    config_dirs, overrides = split_config_dirs(words or [])
    config = compose_config(overrides, "perf", config_dirs)
    check_values(config)
    checked_device(config.device, "device")
    if strange := [name for name in config.only or () if name not in _SECTIONS]:
        raise ConfigError(f"only: there is no section {strange[0]}: name some of {', '.join(_SECTIONS)}")
    if config.save is not None:  # before the work, which takes minutes
        with explained(Path(config.save), "save"):
            Path(config.save).mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    torch.set_num_threads(1)
    missed = False
    for section in config.only or _SECTIONS:
        if section == _PRECISION:
            precise = list(precisions(*_sizes(config), compiled=config.compiled))
            Screen().print(precision_table(precise))
            _save(config, section, [vars(row) for row in precise])
            continue
        rows = list(_rows(section, config))
        Screen().print(ratio_table(section.capitalize(), rows))
        _save(config, section, [row.record() for row in rows])
        missed |= any(row.missed for row in rows)
    return int(missed)


def _save(config: DictConfig, section: str, records: Sequence[Mapping[str, Any]]) -> None:
    """Write a section where ``save`` says, and beside it what it was measured on."""
    if config.save is None:
        return
    folder = Path(config.save)
    sizes = {name: config[name] for name in ("people", "photos", "repeats")}
    texts = {
        f"{section}.csv": pd.DataFrame([{**record, **sizes} for record in records]).to_csv(index=False),
        "environment.json": json.dumps(describe(str(config.device)), indent=1) + "\n",
    }
    for name, text in texts.items():
        with explained(folder, "save"), whole_file(folder / name) as file:
            file.write(text.encode())


def _sizes(config: DictConfig) -> tuple[int, int, int, torch.device]:
    return config.people, config.photos, config.repeats, torch.device(config.device)


def ratio_table(title: str, rows: Sequence[Ratio]) -> Table:
    """The rows of a section as they are printed; 80 columns hold every cell."""
    grown = any(row.scale != 1 for row in rows)
    heads = ("larger / smaller, s", "per piece") if grown else ("ours / other, s", "ratio")
    table = Table(title=title)
    table.add_column("", ratio=3, min_width=16, overflow="fold")  # with the others it fits into 80 columns
    for head in (*heads, "bar"):
        table.add_column(head, no_wrap=True)
    table.add_column("", ratio=2, min_width=12)
    for row in rows:
        remarks = ["MISSED"] * row.missed + [part for part in (_memory(row), row.note) if part]
        table.add_row(row.name, *_numbers(row), f"<= {row.bar}" if row.ratios else "-", "; ".join(remarks))
    return table


def _numbers(row: Ratio) -> tuple[str, str]:
    if row.ratio is None:
        return "-", "-"
    seconds = " / ".join(f"{median(turns):.3f}" for turns in (row.ours_seconds, row.other_seconds))
    spread = f"\n{row.ratios[0]:.2f}–{row.ratios[-1]:.2f}" if len(row.ratios) > 1 else ""
    return seconds, f"{row.ratio:.3f}{spread}"


def _memory(row: Ratio) -> str:
    if row.ours_mib is None or row.other_mib is None:
        return ""
    bar = "" if row.mib_bar is None else f" (bar {row.mib_bar:.0f})"
    return f"{row.other_mib:.0f} to {row.ours_mib:.0f} MiB{bar}"
