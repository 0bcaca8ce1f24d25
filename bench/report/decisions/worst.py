"""Worst case: the least black-box mean of each method over everything that attackers did, and who did it.

Who attacks is a condition (photos as published, a transform, an adversary) under one of the rules that a protocol names
in ``worst_of``. All means run over the targets that met every attack. A method that lacks the number of any attack has
a gap: there is no partial minimum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cloakbench.bench.report.decisions.means import MeanOf, means_of, photos_in
from cloakbench.bench.report.estimate import records
from cloakbench.bench.report.index import ALL, Measured, Place, Run
from cloakbench.bench.report.labels import UNTRANSFORMED
from cloakbench.bench.report.table import Cell, Column, Number
from cloakbench.bench.statistics.intervals import PersonSums
from cloakbench.bench.statistics.joint_intervals import CellMean, joint_intervals
from cloakbench.bench.statistics.least_of_means import least_of_means
from cloakbench.bench.statistics.photo_trials import PhotoTrials

Attack = tuple[str, str]
"""Metric and condition."""


def worst_lines(
    measured: Measured, protocol: str, taken: Mapping[Attack, PhotoTrials], resamples: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Rows of ``Results.worst``; none where there is but one attack.

    Args:
        measured: the run.
        protocol: whose attacks these are.
        taken: photo trials of every attack, in the order of the experiment.
        resamples, seed: of the bootstrap.
    """
    if len(taken) < 2:
        return
    metric, condition = next(iter(taken))
    everywhere = set.intersection(*({cell.judge for cell in photos.cells} for photos in taken.values()))
    for whole in means_of(measured, Place(protocol, metric, condition)):
        mean = whole.before(everywhere)
        if whole.white_box or not mean.cells or not all(photos.has(mean.cells) for photos in taken.values()):
            continue
        sums, plan = _sums(taken, mean)
        interval, which = least_of_means(sums, plan, resamples, seed)
        [published] = joint_intervals(sums, plan[:1], resamples, seed)
        worst_metric, worst_condition = list(taken)[which]
        yield {
            "protocol": protocol,
            "metric": metric,
            **mean.run.columns(),
            "surrogate": mean.surrogate,
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "published": published.value,
            "published_low": published.low,
            "published_high": published.high,
            "attack_metric": worst_metric,
            "attack_condition": worst_condition,
            "n_attacks": len(taken),
            "n_judges": len(everywhere),
            "n_photos": photos_in(taken[worst_metric, worst_condition], mean.cells),
            "n_identities": interval.n_identities,
        }


WORST_NOTE = (
    "Worst case: the least black-box mean over all that was done to the published photos, and what that was, before "
    "the targets that met all of it. Its interval draws people once for all of it and takes the least of each draw."
)
"""Under tables with `worst_columns`."""


def has_worst(measured: Measured, protocol: str) -> bool:
    """Whether a protocol met more than one attack."""
    return bool((measured.results.worst["protocol"] == protocol).any())


def published_cell(measured: Measured, protocol: str, run: Run, marks: str) -> Cell:
    """The first attack's mean, as a rule of photos as they were published, before the targets of the worst case."""
    for line in records(measured.results.worst):
        if line["protocol"] == protocol and Run.of(line) == run and line["surrogate"] == ALL:
            value, low, high = (100 * float(line[name]) for name in ("published", "published_low", "published_high"))
            return Number(value, low, high, marks=marks)
    return Number()


def worst_columns(protocol: str) -> tuple[Column, ...]:
    """Columns of the worst case of a protocol."""
    return (
        Column(f"{protocol}_worst_percent", "Worst case", interval="always"),
        Column(f"{protocol}_worst_attack", "Attack"),
    )


def worst_cells(measured: Measured, protocol: str, run: Run | None, surrogate: str = ALL) -> tuple[Cell, ...]:
    """Cells of `worst_columns`: a gap where the number of an attack is missing, nothing for no run."""
    if run is None:
        return "", ""
    for line in records(measured.results.worst):
        if line["protocol"] == protocol and Run.of(line) == run and line["surrogate"] == surrogate:
            value, low, high = (100 * float(line[name]) for name in ("value", "low", "high"))
            number = Number(value, low, high)
            return number, attack_name(str(line["attack_metric"]), str(line["attack_condition"]))
    return Number(), ""


def attack_name(metric: str, condition: str) -> str:
    """As tables print it: ``purifier``, ``recogniser, enrolled``."""
    name = "as published" if condition == UNTRANSFORMED else condition.replace("_", " ")
    return name + ", enrolled" * ("enrolled" in metric)


def _sums(taken: Mapping[Attack, PhotoTrials], mean: MeanOf) -> tuple[PersonSums, list[CellMean]]:
    """Sums by person of the cells of every attack side by side, and the mean of each attack among them."""
    people = np.unique(np.concatenate([photos.identity for photos in taken.values()]))
    size = len(mean.cells)
    numerator, denominator = np.zeros((2, len(people), size * len(taken)))
    plan: list[CellMean] = []
    for place, photos in enumerate(taken.values()):
        own = slice(place * size, (place + 1) * size)
        person, columns = np.searchsorted(people, photos.identity), photos.columns(mean.cells)
        trials = photos.trials[:, columns]
        np.add.at(numerator[:, own], person, np.where(trials > 0, photos.events[:, columns], 0.0))
        np.add.at(denominator[:, own], person, trials)
        plan.append(CellMean(tuple(range(own.start, own.stop)), mean.weights))
    drawn = denominator.any(axis=1)
    return PersonSums(numerator[drawn], denominator[drawn]), plan
