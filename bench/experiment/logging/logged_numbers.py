"""Logged numbers: what loggers take of a finished run: a few numbers by name, and the files of its report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cloakbench.bench.core.status import OK
from cloakbench.bench.report.labels import UNTRANSFORMED

_CELL = ["protocol", "metric", "method", "variant", "epsilon_255"]
_NOT_IN_NAMES = re.compile(r"[^\w.,=/-]+")


def summary_numbers(measurements: pd.DataFrame) -> dict[str, float]:
    """``protocol/metric/method/eps8`` to the mean over surrogates and judges that were not attacked, of photos as they
    were published. A row with a gap has no number: a mean of what is left would be another one."""
    published = measurements[(measurements["condition"] == UNTRANSFORMED) & ~measurements["white_box"].astype(bool)]
    numbers = {}
    by_cell: Any = published.groupby(_CELL, dropna=False, sort=True)
    for key, cells in by_cell:
        if (cells["status"] == OK).all() and cells["value"].notna().all():
            numbers[_name(dict(zip(_CELL, key, strict=True)))] = float(cells["value"].mean())
    return numbers


def _name(cell: Mapping[str, Any]) -> str:
    budget = "" if pd.isna(cell["epsilon_255"]) else f"eps{cell['epsilon_255']:g}"
    parts = [str(cell["protocol"]), str(cell["metric"]), str(cell["method"]), str(cell["variant"] or ""), budget]
    return _NOT_IN_NAMES.sub("_", "/".join(part for part in parts if part))


def plain_settings(config: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Settings by dotted name, as text."""
    told: dict[str, str] = {}
    for key, value in config.items():
        name = f"{before}{key}"
        told |= plain_settings(value, f"{name}.") if isinstance(value, Mapping) else {name: str(value)}
    return told


def figures_of(folder: Path) -> list[Path]:
    """The pictures of the report in a run folder."""
    return sorted((folder / "figures").glob("*.png"))


def report_files(folder: Path) -> Iterator[Path]:
    """The report itself: as one page where there is one, and as text with its tables."""
    for name in ("report.html", "report.md", "config.yaml", "environment.json"):
        if (folder / name).is_file():
            yield folder / name
    yield from sorted((folder / "tables").glob("*.csv"))
