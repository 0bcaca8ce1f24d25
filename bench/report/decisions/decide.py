"""`with_decisions`: joint intervals, rankings, paired comparisons and equal algorithms, from the records of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pandas as pd

from cloakbench.bench.core.axes import row_name
from cloakbench.bench.report.decisions.columns import DECIDED
from cloakbench.bench.report.decisions.means import intervals_of, mean_lines, means_of
from cloakbench.bench.report.decisions.ranked import Sampling, contests, rank
from cloakbench.bench.report.index import Measured, Place
from cloakbench.bench.report.labels import CONTROLS, UNTRANSFORMED
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.section import Reporter
from cloakbench.bench.statistics.photo_trials import photo_trials
from cloakbench.bench.statistics.same_algorithm import same_algorithm

_NOT_OF_METHODS = ("note",)
"""Columns of records that may differ between methods that do the same."""


def with_decisions(results: Results, reporters: Iterable[Reporter]) -> Results:
    """Results with ``means``, ``rankings``, ``pairs`` and ``identical`` of every protocol that has records.

    Equal results give equal decisions: people are drawn from the seed of the run.
    """
    measured = Measured(results)
    sampling = Sampling(int(results.setup.get("resamples", 1000)), int(results.setup.get("seed", 0)))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in DECIDED}
    for reporter in reporters:
        if reporter.name in results.records:
            records = results.records[reporter.name]
            names = [row_name(*key) for key in zip(records["method"], records["variant"], strict=True)]
            records = records.assign(method=names).drop(columns="variant")
            _decide(found, measured.seen_by(reporter.name), reporter, records, sampling)
            found["identical"] += _identical(reporter.name, records)
    frames = {name: pd.DataFrame(found[name], columns=list(columns)) for name, columns in DECIDED.items()}
    for name, frame in frames.items():
        types = {column: "float" for column in frame.columns if "epsilon_255" in column}
        frames[name] = frame.astype(types | ({"rank": "Int64"} if "rank" in frame else {}))
    return replace(results, **frames)


def _decide(
    found: dict[str, list[dict[str, Any]]],
    measured: Measured,
    reporter: Reporter,
    records: pd.DataFrame,
    sampling: Sampling,
) -> None:
    """Means of everything under no condition, of the metrics that rank methods under any."""
    metrics = {metric.name: metric for metric in measured.results.declared(reporter.name)}
    for label, some in records.groupby("condition", sort=False):
        condition = str(label)
        plain = condition == UNTRANSFORMED or measured.is_foreign(reporter.name)
        wanted = [name for name in metrics if plain or name in reporter.rank_by]
        numbers = reporter.trials(some)
        for name, photos in photo_trials(some, numbers, wanted):
            place = Place(reporter.name, name, condition)
            means = [mean for mean in means_of(measured, place) if photos.has(mean.cells)]
            intervals = intervals_of(means, photos, metrics[name], sampling.resamples, sampling.seed)
            found["means"] += mean_lines(place, means, intervals, photos)
            if plain and name in reporter.rank_by:
                for contest in contests(measured, place, [mean for mean in means if not mean.white_box]):
                    rows, pairs = rank(place, contest, photos, metrics[name], sampling)
                    found["rankings"] += rows
                    found["pairs"] += pairs


def _identical(protocol: str, records: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of ``Results.identical``: later methods of a group beside its first."""
    counted = records["method"].value_counts().to_dict()
    groups = same_algorithm(records.loc[~records["method"].isin(CONTROLS)], _NOT_OF_METHODS)
    return [
        {"protocol": protocol, "method": method, "same_as": group[0], "n": counted[method]}
        for group in groups
        for method in group[1:]
    ]
