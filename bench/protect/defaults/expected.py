"""`expected`: what a method protects from, in one line, as the front of transfer was last measured on real faces.

It is the mean over recognisers that were not attacked, in experiments that attack several and let others judge. They
publish aligned crops, so that what the way through a photo and its file costs is not in it.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from cloakbench.bench.core.errors import reason_of
from cloakbench.bench.report.archive import load_results
from cloakbench.bench.report.index import Measured, is_control

EXPERIMENTS = ("transfer_real", "transfer_front")
"""Those that measure the front; searches choose by what they measure, and say nothing about others."""
COLUMNS = ("experiment", "dataset", "date", "method", "epsilon_255", "metric", "psr", "low", "high", "photos", "people")
"""Of a kept front, ``results/reference/transfer.csv``: rates as shares, a day as year, month and day."""

_METRICS = {"psr_p2_top1": "Top-1 (P2)", "psr_p1_top1": "Top-1 (P1)"}
"""Which rate is named, the first that was measured."""
_RENDERED, _FOLDER = "synthetic", "folder"
"""How the names of data sets begin that are no photographs, and of those that somebody keeps without a name."""

log = logging.getLogger(__name__)


def expected(method: str, epsilon_255: float | None, runs: Path) -> str:
    """A line: the rate with its interval and day; or that there is none.

    Args:
        method: name of the method.
        epsilon_255: its budget; None for one without.
        runs: folder of finished runs. The latest counts, and where none measured the method, the front that comes with
            the project.
    """
    found = [
        row
        for source in (_of_runs(runs), _kept())
        for row in source
        if row["method"] == method and _number(row["epsilon_255"]) == epsilon_255
    ]
    if not found:
        return (
            f"What {method} protects from at this budget was not measured here on real faces: run "
            "cloakbench experiment=transfer_real dataset.root=FOLDER."
        )
    row = found[0]
    rate, low, high = (f"{100 * float(row[name]):.1f}" for name in ("psr", "low", "high"))
    return (
        f"Expected of {method}: recognisers that were not attacked miss {rate} % [{low}, {high}] of photos, "
        f"{row['metric']}, as {row['experiment']} measured on {row['people']} people of {row['dataset']} on "
        f"{row['date']}, in aligned crops and for other people than yours."
    )


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The front of a finished run, a mapping from `COLUMNS` for each method and budget; nothing of rendered faces."""
    results = load_results(folder)
    if results.dataset.startswith(_RENDERED):
        return []
    dataset = "a folder of photographs" if results.dataset.startswith(_FOLDER) else results.dataset
    measured = Measured(results)
    metric = next((name for name in _METRICS if name in measured.metrics), None)
    day = datetime.fromtimestamp((folder / "data" / "about.json").stat().st_mtime, UTC).date().isoformat()
    rows = []
    for run in measured.runs if metric else ():
        if is_control(run) or not measured.uses_surrogate(run.method) or not metric:
            continue
        if (rate := measured.black_box(metric, run)).ok:
            values = (run.method, run.budget.epsilon_255, _METRICS[metric], rate.value, rate.low, rate.high)
            counts = (rate.n, rate.n_identities)
            rows.append(dict(zip(COLUMNS, (results.name, dataset, day, *values, *counts), strict=True)))
    return rows


def _of_runs(runs: Path) -> Iterator[Mapping[str, Any]]:
    """Rows of finished runs, the latest first; what cannot be read is left out, which is said."""
    marks = [mark for name in EXPERIMENTS for mark in runs.glob(f"{name}*/data/about.json")]
    for mark in sorted(marks, key=lambda mark: mark.stat().st_mtime_ns, reverse=True):
        folder = mark.parents[1]
        try:
            yield from rows_of(folder)
        except (OSError, ValueError) as problem:
            log.warning("%s does not say what to expect: %s", folder, reason_of(problem))


def _kept() -> Iterator[Mapping[str, Any]]:
    file = resources.files("cloakbench.results") / "reference" / "transfer.csv"
    if file.is_file():
        yield from csv.DictReader(file.read_text(encoding="utf-8").splitlines())


def _number(text: Any) -> float | None:
    return None if text in (None, "") else float(text)
