"""Ranked: methods that compete over the same cells, best first, compared pairwise on the same photos, tied by letters.

The methods at one budget are ranked for each surrogate, and once more by the mean over surrogates, then those that ran
on just the surrogates that most methods share. A method without a budget is in the rankings of every budget, one
without a surrogate in those of every surrogate. What was published for somebody else than the probes is one ranking.

All pairs of a ranking are one family for Holm's correction, not only the neighbours: who is whose neighbour is decided
by the data that decide the comparison, and letters speak of all pairs. The procedure steps down from the clearest pair,
so the many far pairs are out of the way when it comes to the neighbours and cost them next to nothing. Rows of few
photos are listed without letters and are compared with nobody: their pairs could not be decided and would make all
others harder to decide.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cloakbench.bench.core.axes import NO_BUDGET, BudgetSize
from cloakbench.bench.report.decisions.means import MeanOf, intervals_of, over_surrogates, photos_in
from cloakbench.bench.report.index import ALL, Measured, Place, Run, is_control
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.statistics.paired_comparison import LEVEL, holm, paired_differences
from cloakbench.bench.statistics.photo_trials import PhotoTrials
from cloakbench.bench.statistics.small_samples import is_small
from cloakbench.bench.statistics.tie_groups import tie_groups

Contest = tuple[BudgetSize, str, list[MeanOf]]
"""Budget and surrogate of a ranking, and who competes in it."""


@dataclass(frozen=True)
class Sampling:
    """How often and from which seed people are drawn."""

    resamples: int
    seed: int


def contests(measured: Measured, place: Place, means: Sequence[MeanOf]) -> Iterator[Contest]:
    """The rankings of a metric; ``means`` are its black-box ones."""
    if measured.is_foreign(place.protocol):
        yield NO_BUDGET, "", list(means)
        return
    used = Counter(measured.surrogates_of(run) for run in measured.runs if measured.uses_surrogate(run.method))
    shared = max(used, key=lambda names: (used[names], len(names), names), default=())
    blocks = {(mean.run, mean.surrogate): mean for mean in means}
    for budget in measured.budgets or (NO_BUDGET,):
        runs = measured.runs_at(budget)
        for surrogate in measured.surrogates:
            yield budget, surrogate, [blocks[run, surrogate] for run in runs if (run, surrogate) in blocks]
        if len(shared) > 1:
            competing = [run for run in runs if _is_on(measured, run, shared)]
            rows = [[blocks.get((run, surrogate)) for surrogate in shared] for run in competing]
            yield budget, ALL, [over_surrogates([m for m in row if m], ALL) for row in rows if all(row)]


def _is_on(measured: Measured, run: Run, surrogates: tuple[str, ...]) -> bool:
    """Whether a run used just these surrogates, or none, so that it stands beside any."""
    return not measured.uses_surrogate(run.method) or measured.surrogates_of(run) == surrogates


def rank(
    place: Place,
    contest: Contest,
    photos: PhotoTrials,
    metric: Metric,
    sampling: Sampling,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of ``Results.rankings`` and ``Results.pairs`` of one contest."""
    budget, surrogate, means = contest
    found = intervals_of(means, photos, metric, sampling.resamples, sampling.seed)
    intervals = dict(zip(means, found, strict=True))
    sign = -1 if metric.higher_protects else 1
    contenders = sorted(means, key=lambda mean: (sign * intervals[mean].value, str(_name(mean))))
    counted = [photos_in(photos, mean.cells) for mean in contenders]
    people = [intervals[mean].n_identities for mean in contenders]
    small = is_small(counted, people, [not is_control(mean.run) for mean in contenders]).tolist()
    ranked = [mean for mean, few in zip(contenders, small, strict=True) if not few]
    axes = dict(zip(("protocol", "metric", "condition"), place, strict=True))
    axes |= {"ranking_epsilon_255": budget.number, "ranking_surrogate": surrogate}
    pairs = [axes | pair for pair in _pairs(ranked, photos, metric, sampling)]
    letters, ranks = iter(_letters(pairs, len(ranked))), itertools.count(1)
    rows = [
        axes
        | _name(mean)
        | {"rank": None if few else next(ranks), "group": "" if few else next(letters), "small": few}
        | {"value": intervals[mean].value, "low": intervals[mean].low, "high": intervals[mean].high}
        | {"n_photos": n, "n_identities": intervals[mean].n_identities}
        for mean, few, n in zip(contenders, small, counted, strict=True)
    ]
    return rows, pairs


def _name(mean: MeanOf) -> dict[str, Any]:
    own = {cell.surrogate for cell in mean.cells}
    return {**mean.run.columns(), "surrogate": own.pop() if len(own) == 1 else ALL}


def _pairs(
    ranked: Sequence[MeanOf], photos: PhotoTrials, metric: Metric, sampling: Sampling
) -> Iterator[dict[str, Any]]:
    """All pairs of ranked rows, in the order of `itertools.combinations`."""
    if len(ranked) < 2:
        return
    columns = [photos.columns(mean.cells) for mean in ranked]
    found = paired_differences(
        [(photos.events[:, own], photos.trials[:, own]) for own in columns],
        photos.identity,
        ranked[0].weights,
        sampling.resamples,
        sampling.seed,
        bounded=metric.kind == "rate",
    )
    corrected = holm([difference.p for difference in found]).tolist()
    for (first, second), difference, p_holm in zip(
        itertools.combinations(range(len(ranked)), 2), found, corrected, strict=True
    ):
        yield {
            **{f"{key}_a": value for key, value in _name(ranked[first]).items()},
            **{f"{key}_b": value for key, value in _name(ranked[second]).items()},
            **{"neighbours": second == first + 1, "difference": difference.value},
            **{"low": difference.low, "high": difference.high, "p": difference.p, "p_holm": p_holm},
            **{"decided": p_holm < LEVEL},
            **{"n_photos": difference.n_photos, "n_identities": difference.n_identities},
        }


def _letters(pairs: Sequence[Mapping[str, Any]], count: int) -> list[str]:
    separated = np.zeros((count, count), dtype=bool)
    separated[np.triu_indices(count, 1)] = [bool(pair["decided"]) for pair in pairs]
    return tie_groups(separated | separated.T)
