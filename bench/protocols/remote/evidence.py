"""Evidence: what services said about a method, for the column API of the survey's Tables I and II."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from cloakbench.bench.core.axes import split_row_name
from cloakbench.bench.protocols.attributes.metrics import MOSR, MOSR_CHANGED
from cloakbench.bench.protocols.remote.metrics import CALIBRATED
from cloakbench.bench.protocols.remote.spoken import day
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import ALL, Measured, Place, Run, is_control
from cloakbench.bench.report.labels import UNTRANSFORMED
from cloakbench.bench.report.table import Number
from cloakbench.bench.report.tables_methods import API

NAME = "remote"
_LOCAL = "local"
_DODGING = "remote_dodging_"
_THRESHOLDS = ("far_1e-3", f"{CALIBRATED}far_1e-3", f"{CALIBRATED}far_1e-2", "recommended", "far_1e-2")
"""Those of which the first that a service has is told."""


def service_title(judge: str) -> str:
    """A service as tables call it."""
    return "local service, not a vendor" if judge == _LOCAL else judge


def remote_evidence(index: Measured, method: str) -> Mapping[str, str]:
    """Rates of a method at its largest budget by each service that was asked: with n, and the days of the answers.

    Judges who are the surrogate itself are left out.
    """
    cells = [cell for cell in index.cells if cell.place.protocol == NAME and cell.run.method == method]
    runs = [cell.run for cell in cells if not is_control(cell.run)]
    if not runs:
        return {}
    run = max(runs, key=lambda one: one.budget)
    told = []
    for judge in index.in_order(cell.judge for cell in cells if cell.judge):
        if rates := list(_rates(index, run, judge)):
            who = f"by {service_title(judge)} ({_days(index, run, judge)})".removesuffix(" ()")
            told.append(f"{', '.join(rates)} {who}")
    return {API: "; ".join(told)} if told else {}


def _rates(index: Measured, run: Run, judge: str) -> Iterator[str]:
    def of(metric: str) -> Estimate:
        place = Place(NAME, metric, UNTRANSFORMED)
        own = [
            estimate
            for cell, estimate in index.cells.items()
            if (cell.place, cell.run, cell.judge) == (place, run, judge) and not estimate.white_box
        ]
        return index.mean(own, place, run, ALL)

    def words(title: str, estimate: Estimate) -> str:
        return f"{title} {Number.of(estimate).words()} % (n {estimate.n})"

    if (rate := of("remote_psr_top1")).ok:
        yield words("PSR Top-1", rate)
    dodging = ((threshold, of(f"{_DODGING}{threshold}")) for threshold in _THRESHOLDS)
    if (first := next(((threshold, rate) for threshold, rate in dodging if rate.ok), None)) is not None:
        yield words(f"dodging at {_threshold(first[0])}", first[1])
    if (rate := of(MOSR)).ok:
        yield words("MOSR", rate)
    elif (rate := of(MOSR_CHANGED)).ok:
        yield words("MOSR, changed,", rate)


def _threshold(label: str) -> str:
    if label == "recommended":
        return "the recommended threshold"
    calibrated = ", calibrated," if label.startswith(CALIBRATED) else ""
    return f"FAR {label.removeprefix(CALIBRATED).removeprefix('far_')}{calibrated}"


def _days(index: Measured, run: Run, judge: str) -> str:
    """First and last day of the answers about a method; empty where the records are not at hand."""
    records = index.results.records.get(NAME)
    if records is None or not {"judge", "method"} <= set(records.columns):
        return ""
    own = records.loc[(records["judge"] == judge) & (records["method"] == split_row_name(run.method)[0])]
    days = _each_day(own, [name for name in own.columns if name.endswith("_date")])
    return " to ".join(dict.fromkeys((days[0], days[-1]))) if days else ""


def _each_day(records: pd.DataFrame, names: Sequence[str]) -> list[str]:
    dates = pd.concat([records[name] for name in names]).dropna() if names else pd.Series(dtype=float)
    return sorted({day(float(date)) for date in dates})
