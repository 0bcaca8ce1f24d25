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
from numpy.typing import ArrayLike, NDArray

from cloakbench.bench.statistics.intervals import Floats, Interval, identity_weights, percentile_interval, wilson

COLLAPSED = 1e-9
"""Intervals narrower than this have no spread in them but that of rounding."""


@dataclass(frozen=True)
class PersonSums:
    """Numerators and denominators of K quantities, summed by person: both ``[P, K]``.

    People without any trial are left out. A rate has its events and trials here, a mean its values and ones.
    """

    numerator: Floats
    denominator: Floats

    @classmethod
    def of(cls, numerator: ArrayLike, denominator: ArrayLike, identity: ArrayLike) -> PersonSums:
        """Sums of rows ``[N, K]`` over the people ``identity`` ``[N]``; rows without trials may hold NaN.

        Raises:
            ValueError: shapes differ, or a row with trials holds a value that is not finite.
        """
        top, bottom = (np.asarray(part, dtype=np.float64) for part in (numerator, denominator))
        people, person = np.unique(np.asarray(identity), return_inverse=True)
        if top.ndim != 2 or top.shape != bottom.shape or len(top) != len(person):
            raise ValueError(
                f"numerator {top.shape} and denominator {bottom.shape} must both be [N, K] with N = {len(person)}"
            )
        top = np.where(bottom > 0, top, 0.0)
        if not (np.isfinite(top).all() and np.isfinite(bottom).all()):
            raise ValueError("a row with trials holds a value that is not finite")
        sums = np.zeros((2, len(people), top.shape[1]))
        np.add.at(sums[0], person, top)
        np.add.at(sums[1], person, bottom)
        drawn = sums[1].any(axis=1)
        return cls(sums[0, drawn], sums[1, drawn])

    @property
    def n_identities(self) -> int:
        """People with a trial in any of the quantities; a draw has as many."""
        return len(self.denominator)

    def select(self, cells: Sequence[int]) -> PersonSums:
        """Some of the quantities, over the people who have a trial in any of them."""
        people = self.denominator[:, cells].any(axis=1)
        return PersonSums(self.numerator[people][:, cells], self.denominator[people][:, cells])

    def ratios(self) -> Floats:
        """The quantities, ``[K]``; NaN where there is no trial."""
        with np.errstate(invalid="ignore"):
            return self.numerator.sum(axis=0) / self.denominator.sum(axis=0)

    def replicates(self, resamples: int, seed: int) -> Floats:
        """The quantities in every draw of people, ``[resamples, K]``; NaN in a draw without trials."""
        replicates = []
        with np.errstate(invalid="ignore"):
            for block in identity_weights(self.n_identities, resamples, seed):
                drawn = block.astype(np.float64)
                replicates.append((drawn @ self.numerator) / (drawn @ self.denominator))
        return np.concatenate(replicates)


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


def check_bounds(sums: PersonSums, resamples: int, *, bounded: bool) -> None:
    """Refuse what has no interval.

    Raises:
        ValueError: fewer than one resample, or ``bounded`` sums of a rate outside [0, 1].
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    slack = 1e-9 * sums.denominator  # events may be shares, whose sums round
    if bounded and bool(((sums.numerator < 0) | (sums.numerator > sums.denominator + slack)).any()):
        raise ValueError("a rate needs 0 <= numerator <= denominator for every person")


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
