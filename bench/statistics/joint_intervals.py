"""Joint intervals: a mean over several judges, resampled over the people whom all of its rates share.

The rates of one method before K judges are about the same people: whoever is drawn twice counts twice before every
judge. One draw of people therefore gives one replicate of the whole mean, and their percentiles are its interval
(Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 6 and 13). Averaging the ends of K intervals
instead is right only when the rates rise and fall together, and too wide otherwise. The draws are those of
`intervals`, so the joint interval of a single rate is its `ratio_interval`.

When all replicates agree, nobody differs from anybody, and the percentiles would pretend certainty. The fallback is the
mean of the Wilson intervals of the single rates with their people as trials. It is what K rates have that move
together, the widest case, so K judges of the same people are never counted as K independent samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloakbench.bench.statistics.intervals import (
    COLLAPSED,
    Floats,
    Interval,
    PersonSums,
    check_bounds,
    percentile_interval,
    wilson,
)


@dataclass(frozen=True)
class CellMean:
    """A mean of quantities: their columns, and their positive weights."""

    cells: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def shares(self) -> Floats:
        """The weights as parts of one, ``[K]``."""
        return np.asarray(self.weights) / math.fsum(self.weights)


def joint_intervals(
    sums: PersonSums, means: Sequence[CellMean], resamples: int, seed: int, *, bounded: bool = True
) -> list[Interval]:
    """Means of rates with their 95 % intervals, each from one draw of people for all of its rates.

    Args:
        sums: of every rate, ``[P, C]``.
        means: which of them each mean is over. Draws are over the people who are in any of these.
        resamples: bootstrap draws.
        seed: names the draws.
        bounded: the quantities are rates in [0, 1]. Otherwise equal values give an exact interval, one person none.

    Returns:
        an interval per mean; all NaN when one of its rates has no trial, for there are no partial means.

    Raises:
        ValueError: no resamples, or a rate outside [0, 1].
    """
    check_bounds(sums, resamples, bounded=bounded)
    drawn = sums.denominator > 0
    by_people: dict[bytes, list[int]] = {}
    for number, mean in enumerate(means):
        by_people.setdefault(drawn[:, mean.cells].any(axis=1).tobytes(), []).append(number)
    found: dict[int, Interval] = {}
    for numbers in by_people.values():
        # Means over the same people share their draws, and every rate is resampled once for all of them.
        cells = sorted({cell for number in numbers for cell in means[number].cells})
        some = sums.select(cells)
        place = {cell: position for position, cell in enumerate(cells)}
        local = [CellMean(tuple(place[c] for c in means[n].cells), means[n].weights) for n in numbers]
        found |= dict(zip(numbers, _intervals(some, local, resamples, seed, bounded), strict=True))
    return [found[number] for number in range(len(means))]


def _intervals(sums: PersonSums, means: Sequence[CellMean], resamples: int, seed: int, bounded: bool) -> list[Interval]:
    """Means over the same people."""
    rates = sums.ratios()
    if not sums.n_identities:
        return [Interval(math.nan, math.nan, math.nan, 0)] * len(means)
    replicates = sums.replicates(resamples, seed)
    of_means = np.stack([replicates[:, mean.cells] @ mean.shares for mean in means], axis=1)
    known = ~np.isnan([rates[list(mean.cells)].sum() for mean in means])
    ends = np.full((2, len(means)), np.nan)
    if known.any():
        ends[:, known] = percentile_interval(of_means[:, known])
    return [
        _interval(sums, mean, rates, (float(low), float(high)), bounded)
        for mean, low, high in zip(means, *ends, strict=True)
    ]


def _interval(sums: PersonSums, mean: CellMean, rates: Floats, ends: tuple[float, float], bounded: bool) -> Interval:
    own: NDArray[np.float64] = rates[list(mean.cells)]
    if np.isnan(own).any():
        return Interval(math.nan, math.nan, math.nan, 0)
    value = math.fsum(own * mean.shares)
    if not bounded and sums.n_identities == 1:
        return Interval(value, math.nan, math.nan, 1)
    low, high = ends
    if bounded and high - low <= COLLAPSED:
        people = (sums.denominator[:, mean.cells] > 0).sum(axis=0)
        single = np.array([wilson(rate * n, n) for rate, n in zip(own, people, strict=True)])
        low, high = (math.fsum(end * mean.shares) for end in single.T)
    return Interval(value, min(low, value), max(high, value), sums.n_identities)
