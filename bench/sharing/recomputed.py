"""Recomputed: every number of a run again from its records of single photos, to find one that was changed.

What cannot be found is a record that was changed: the records themselves come from embeddings that a run does not keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from cloakbench.bench.core.errors import cause_of
from cloakbench.bench.report.decisions.columns import DECIDED
from cloakbench.bench.report.decisions.decide import with_decisions
from cloakbench.bench.report.estimate import records as rows_of
from cloakbench.bench.report.index import CellPlace
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.section import Reporter

_CELL = ["method", "variant", "epsilon_255", "surrogate", "judge", "condition"]
_NUMBERS = ("value", "low", "high", "n", "n_failed", "n_identities")
_EQUAL = 1e-9
"""Sums of floats may differ in their last digits between machines."""


@dataclass(frozen=True)
class Recomputed:
    """What came of it.

    Attributes:
        checked: numbers that were made again.
        problems: those that are not what the records say, a line each.
        unchecked: metrics that no record tells, by protocol, with the reason.
    """

    checked: int
    problems: tuple[str, ...]
    unchecked: tuple[str, ...]


def recomputed(results: Results, reporters: Iterable[Reporter]) -> Recomputed:
    """Measurements, and what was decided of them, once more."""
    asked = list(reporters)
    kept = {CellPlace.of(line): line for line in rows_of(results.measurements)}
    asks = {(cell.place.protocol, cell.place.metric, cell.judge) for cell in kept}
    checked, problems, unchecked = 0, [], []
    for protocol, metrics in results.measurements.groupby("protocol", sort=False)["metric"].unique().items():
        known: set[str] = set()
        reporter = next((one for one in asked if one.name == protocol), None)
        why = "no records" if protocol not in results.records else ""
        if not why:
            try:
                for line in _again(results, reporter):
                    if (protocol, line["metric"], line["judge"]) not in asks:
                        continue  # columns of another judge's records, empty in this one's
                    checked, known = checked + 1, known | {line["metric"]}
                    problems += _compared(kept, {"protocol": protocol, **line})
            except Exception as problem:  # a protocol of somebody else's may raise anything
                why = f"it cannot be measured here: {cause_of(problem)}"
        if left := [metric for metric in metrics if metric not in known]:
            unchecked.append(f"{protocol}: {', '.join(map(str, left))}: {why or 'not made from records'}")
    if results.records:
        problems += _decisions(results, asked)
    return Recomputed(checked, tuple(problems), tuple(unchecked))


def _again(results: Results, reporter: Any) -> Iterator[dict[str, Any]]:
    """The measurements of one protocol from its records, each with its cell.

    Raises:
        ValueError: the protocol is not here.
    """
    if not hasattr(reporter, "measurements"):
        raise ValueError("the protocol is not installed")
    resamples, seed = int(results.setup.get("resamples", 1000)), int(results.setup.get("seed", 0))
    for _, records in results.records[reporter.name].groupby(_CELL, dropna=False, sort=False):
        own = records.drop(columns=_CELL).reset_index(drop=True)
        found = reporter.measurements(own, resamples, seed)
        of_cell: dict[str, Any] = {name: records.iloc[0][name] for name in _CELL}
        yield from (line | of_cell for line in rows_of(found))


def _compared(kept: Mapping[CellPlace, dict[str, Any]], line: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the kept row of a measurement; nothing, as a rule."""
    cell = CellPlace.of(line)
    asked = " by ".join(part for part in (cell.surrogate, cell.judge) if part)
    method = f"{cell.run.method} at {cell.run.budget.title}" if cell.run.budget else cell.run.method
    where = ", ".join(part for part in (f"{cell.place.protocol} {cell.place.metric}", method, asked) if part)
    row = kept.get(cell)
    if row is None:
        yield f"{where}: the records give a number and the run has none"
        return
    if row["status"] != line["status"]:
        yield f"{where}: status is {row['status']}, the records say {line['status']}"
    for name in _NUMBERS:
        one, other = (np.nan if pd.isna(value) else float(value) for value in (row[name], line[name]))
        if not np.isclose(one, other, rtol=0, atol=_EQUAL, equal_nan=True):
            yield f"{where}: {name} is {one:.6g}, the records say {other:.6g}"


def _decisions(results: Results, reporters: list[Reporter]) -> Iterator[str]:
    """Which frames of decisions are not what the records decide."""
    blank = {name: getattr(results, name).iloc[:0] for name in DECIDED}
    again = with_decisions(replace(results, **blank), reporters)
    for name in DECIDED:
        one, other = getattr(results, name), getattr(again, name)
        try:
            pd.testing.assert_frame_equal(
                one.reset_index(drop=True), other, check_dtype=False, rtol=0, atol=_EQUAL, check_names=False
            )
        except AssertionError as problem:
            yield f"{name}.parquet is not what the records decide: {' '.join(str(problem).split())[:160]}"
