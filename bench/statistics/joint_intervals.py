"""Joint intervals: a mean over several judges, resampled over the people whom all of its rates share.

The rates of one method against K judges are about the same people: whoever is drawn twice counts twice against every
judge. One draw of people therefore gives one replicate of the whole mean, and their percentiles are its interval
(Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 6 and 13). Averaging the ends of K intervals
instead is right only when the rates rise and fall together, and too wide otherwise. The draws are those of
`bench.core.statistics`, so the joint interval of a single rate is its `ratio_interval`.

When all replicates agree, nobody differs from anybody, and the percentiles would pretend certainty. The fallback is the
mean of the Wilson intervals of the single rates with their people as trials. It is what K rates have that move
together, the widest case, so K judges of the same people are never counted as K independent samples; a mean of rates
that are all 0 or all 1 gets the Wilson interval of the people, and rates without spread at both ends of the scale do
not get the wide one of a rate of one half.
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

    def ratios(self, weights: NDArray[np.int64] | None = None) -> Floats:
        """``[K]``, or ``[R, K]`` for draws ``weights`` ``[R, P]``; NaN where there is no trial."""
        drawn = np.ones(self.n_identities, dtype=np.int64) if weights is None else weights
        with np.errstate(invalid="ignore"):
            return (drawn @ self.numerator) / (drawn @ self.denominator)

    def replicates(self, resamples: int, seed: int) -> Floats:
        """`ratios` of every draw of people, ``[resamples, K]``."""
        blocks = identity_weights(self.n_identities, resamples, seed)
        return np.concatenate([self.ratios(block) for block in blocks])


def joint_interval(
    numerator: ArrayLike,
    denominator: ArrayLike,
    identity: ArrayLike,
    resamples: int,
    seed: int,
    *,
    weights: Sequence[float] | None = None,
    bounded: bool = True,
) -> Interval:
    """The mean of K rates, each a ratio of sums, with its 95 % interval from one draw of people for all of them.

    Args:
        numerator: events of each row and rate, ``[N, K]``.
        denominator: trials of each row and rate, ``[N, K]``. Rates over other people have zeros in each other's rows
            (`side_by_side` lays them out); draws are over all people.
        identity: the person of each row, ``[N]``.
        resamples: bootstrap draws.
        seed: names the draws.
        weights: of the rates in the mean, ``[K]``, positive; equal when left out.
        bounded: the quantities are rates in [0, 1]. Otherwise equal values give an exact interval, one person none.

    Returns:
        the interval; all NaN when one of the rates has no trial, for there are no partial means.

    Raises:
        ValueError: shapes differ, a weight is not positive, no resamples, or a rate outside [0, 1].
    """
    sums = PersonSums.of(numerator, denominator, identity)
    shares = mean_weights(sums.numerator.shape[1], weights)
    check_bounds(sums, bounded, resamples)
    rates = sums.ratios()
    if np.isnan(rates).any() or not len(rates):
        return Interval(math.nan, math.nan, math.nan, 0)
    value = weighted_mean(rates, shares)
    if not bounded and sums.n_identities == 1:
        return Interval(value, math.nan, math.nan, 1)
    low, high = map(float, percentile_interval(sums.replicates(resamples, seed) @ (shares / shares.sum())))
    if bounded and high - low <= COLLAPSED:
        people = (sums.denominator > 0).sum(axis=0)
        ends = np.array([wilson(rate * n, n) for rate, n in zip(rates, people, strict=True)])
        low, high = (weighted_mean(end, shares) for end in ends.T)
    return Interval(value, min(low, value), max(high, value), sums.n_identities)


def side_by_side(
    cells: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike]],
) -> tuple[Floats, Floats, NDArray[np.generic]]:
    """K cells (numerator, denominator, identity), each over its own rows, as the first arguments of `joint_interval`.

    People are matched by name, so cells may share all of them, some or none.
    """
    identity = np.concatenate([np.asarray(people) for _, _, people in cells])
    numerator, denominator = (np.zeros((len(identity), len(cells))) for _ in range(2))
    start = 0
    for number, (top, bottom, people) in enumerate(cells):
        rows = slice(start, start + len(np.asarray(people)))
        numerator[rows, number], denominator[rows, number] = np.asarray(top), np.asarray(bottom)
        start = rows.stop
    return numerator, denominator, identity


def mean_weights(count: int, weights: Sequence[float] | None) -> Floats:
    """Weights of a mean of ``count`` rates; ones when none are given.

    Raises:
        ValueError: another number of weights, or one that is not positive.
    """
    shares = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    if shares.shape != (count,) or not (shares > 0).all():
        raise ValueError(f"a mean of {count} rates needs {count} positive weights, got {shares.tolist()}")
    return shares


def weighted_mean(values: Floats, weights: Floats) -> float:
    """Mean of ``[K]`` values, summed without loss."""
    return math.fsum(values * weights) / math.fsum(weights)


def check_bounds(sums: PersonSums, bounded: bool, resamples: int) -> None:
    """Refuse what has no interval.

    Raises:
        ValueError: fewer than one resample, or ``bounded`` sums of a rate outside [0, 1].
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    if bounded and bool(((sums.numerator < 0) | (sums.numerator > sums.denominator)).any()):
        raise ValueError("a rate needs 0 <= numerator <= denominator for every person")
