"""95 % intervals whose resampling unit is the person.

Photos of one person succeed or fail together, so photos (and still more pairs of photos) are not independent trials.
The identity bootstrap draws whole people with replacement and recomputes the rate as a ratio of sums; its 2.5 and
97.5 percentiles are the interval (Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13). Equal seeds
and equal numbers of people give equal draws, so methods are compared on the same resamples.

When every person has the same rate, all resamples agree and the percentile interval collapses to a point that would
pretend certainty. A rate then gets the Wilson interval with the people as trials. Under about ten people the
percentile interval is known to be too narrow; ``n_identities`` stands beside every rate for that reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cloakbench.bench.core.random_streams import stream_seed

CONFIDENCE = 0.95
"""Coverage of every interval in the project."""

_DRAWS_AT_ONCE = 2_000_000
"""Bounds the memory of the resampling weights; part of the definition of the draws, hence no option."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval; all NaN when there is nothing to average."""

    value: float
    low: float
    high: float
    n_identities: int
    """People with at least one trial."""


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """95 % Wilson score interval of a rate over independent trials (Wilson 1927); NaN without trials."""
    if trials <= 0:
        return float("nan"), float("nan")
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    rate = successes / trials
    centre = rate + z * z / (2 * trials)
    half = z * np.sqrt(rate * (1 - rate) / trials + (z / (2 * trials)) ** 2)
    scale = 1 + z * z / trials
    low = 0.0 if successes <= 0 else max(0.0, (centre - half) / scale)  # exactly, where rounding would leave 1e-18
    high = 1.0 if successes >= trials else min(1.0, (centre + half) / scale)
    return float(low), float(high)


def ratio_interval(
    numerator: ArrayLike, denominator: ArrayLike, identity: ArrayLike, resamples: int, seed: int
) -> Interval:
    """The rate ``sum(numerator) / sum(denominator)`` with its identity bootstrap interval.

    Args:
        numerator: events of each row, ``[N]``, at most the row's denominator.
        denominator: trials of each row, ``[N]``; a row without trials may hold NaN as its numerator.
        identity: the person of each row, ``[N]``.
        resamples: bootstrap draws.
        seed: names the draws.
    """
    [interval] = ratio_intervals(_column(numerator), _column(denominator), identity, resamples, seed)
    return interval


def ratio_intervals(
    numerator: ArrayLike, denominator: ArrayLike, identity: ArrayLike, resamples: int, seed: int
) -> list[Interval]:
    """`ratio_interval` of K rates over the same rows, ``[N, K]``, on the same draws of people.

    Raises:
        ValueError: shapes differ, a row with trials has a numerator outside 0 .. its denominator, or no resamples.
    """
    numerator, denominator = _trials(numerator, denominator)
    if np.any((numerator < 0) | (numerator > denominator)):
        raise ValueError("a rate needs 0 <= numerator <= denominator in every row")
    intervals = _bootstrap(numerator, denominator, identity, resamples, seed)
    return [_wilson_if_collapsed(interval) for interval in intervals]


def mean_intervals(values: ArrayLike, identity: ArrayLike, resamples: int, seed: int) -> list[Interval]:
    """Means of K quantities ``[N, K]`` over the rows that are not NaN, with their identity bootstrap intervals.

    One person gives no interval; equal values give an exact one.
    """
    values = np.asarray(values, dtype=np.float64)
    intervals = _bootstrap(*_trials(values, ~np.isnan(values)), identity, resamples, seed)
    return [i if i.n_identities > 1 else Interval(i.value, np.nan, np.nan, i.n_identities) for i in intervals]


def identity_weights(n_identities: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each person is drawn: blocks of ``[R, n_identities]`` whose rows add up to ``resamples``, one at a time
    as all of them may be larger than memory."""
    rng = np.random.default_rng(stream_seed(seed, "identity bootstrap"))
    block = max(1, _DRAWS_AT_ONCE // max(1, n_identities))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        draws = rng.integers(n_identities, size=(rows, n_identities))
        draws += n_identities * np.arange(rows)[:, None]
        yield np.bincount(draws.ravel(), minlength=draws.size).reshape(rows, n_identities)


def percentile_interval(replicates: Floats) -> tuple[Floats, Floats]:
    """2.5 and 97.5 percentiles over the first axis; NaN replicates (draws without any trial) do not count."""
    tail = 100 * (1 - CONFIDENCE) / 2
    percentile = np.nanpercentile if np.isnan(replicates).any() else np.percentile
    low, high = percentile(replicates, [tail, 100 - tail], axis=0)
    return low, high


def _column(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)[:, None]


def _trials(numerator: ArrayLike, denominator: ArrayLike) -> tuple[Floats, Floats]:
    """Both as float64 ``[N, K]``; numerators of rows without trials become 0."""
    numerator, denominator = (np.asarray(part, dtype=np.float64) for part in (numerator, denominator))
    if numerator.ndim != 2 or numerator.shape != denominator.shape:
        raise ValueError(f"numerator {numerator.shape} and denominator {denominator.shape} must both be [N, K]")
    numerator = np.where(denominator > 0, numerator, 0.0)
    if not np.isfinite(numerator).all() or not np.isfinite(denominator).all():
        raise ValueError("a row with trials holds a value that is not finite")
    return numerator, denominator


def _bootstrap(
    numerator: Floats, denominator: Floats, identity: ArrayLike, resamples: int, seed: int
) -> list[Interval]:
    """Percentile intervals of ``sum(numerator) / sum(denominator)`` per column."""
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    people, person = np.unique(np.asarray(identity), return_inverse=True)
    if len(person) != len(numerator):
        raise ValueError(f"{len(person)} identities for {len(numerator)} rows")
    # A person without a single trial is no part of the population that the rate speaks of.
    top, bottom = (_sum_by(person, len(people), column) for column in (numerator, denominator))
    keep = bottom.any(axis=1)
    top, bottom = top[keep], bottom[keep]
    counts = (bottom > 0).sum(axis=0)
    if not len(top):
        return [Interval(np.nan, np.nan, np.nan, 0)] * numerator.shape[1]

    with np.errstate(invalid="ignore"):  # 0 / 0, a draw without trials, is NaN and does not count
        value = top.sum(axis=0) / bottom.sum(axis=0)
        weights = identity_weights(len(top), resamples, seed)
        replicates = np.concatenate([(block @ top) / (block @ bottom) for block in weights])
    low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
    drawn = counts > 0
    low[drawn], high[drawn] = percentile_interval(replicates[:, drawn])
    return [
        Interval(float(v), float(min(a, v)), float(max(b, v)), int(n))
        for v, a, b, n in zip(value, low, high, counts, strict=True)
    ]


def _sum_by(group: NDArray[np.intp], groups: int, values: Floats) -> Floats:
    total = np.zeros((groups, values.shape[1]))
    np.add.at(total, group, values)
    return total


def _wilson_if_collapsed(interval: Interval) -> Interval:
    if interval.n_identities == 0 or interval.high - interval.low > 1e-9:
        return interval
    low, high = wilson(interval.value * interval.n_identities, interval.n_identities)
    return Interval(interval.value, low, high, interval.n_identities)
