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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cloakbench.bench.core.random_streams import stream_seed

CONFIDENCE = 0.95
"""Coverage of every interval in the project."""

_DRAWS_AT_ONCE = 2_000_000
"""Bounds the memory of the resampling weights; part of the definition of the draws, hence no option."""

COLLAPSED = 1e-9
"""Intervals narrower than this have no spread in them but that of rounding."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval; all NaN when there is nothing to average."""

    value: float
    low: float
    high: float
    n_identities: int
    """People with at least one trial."""


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
    sums = PersonSums.of(numerator, denominator, identity)
    check_bounds(sums, resamples, bounded=True)
    top, bottom = np.asarray(numerator), np.asarray(denominator)
    if bool(((bottom > 0) & ((top < 0) | (top > bottom))).any()):
        raise ValueError("a rate needs 0 <= numerator <= denominator in every row")
    return [_wilson_if_collapsed(interval) for interval in _percentiles(sums, resamples, seed)]


def mean_intervals(values: ArrayLike, identity: ArrayLike, resamples: int, seed: int) -> list[Interval]:
    """Means of K quantities ``[N, K]`` over the rows that are not NaN, with their identity bootstrap intervals.

    One person gives no interval; equal values give an exact one.
    """
    values = np.asarray(values, dtype=np.float64)
    sums = PersonSums.of(values, ~np.isnan(values), identity)
    check_bounds(sums, resamples, bounded=False)
    intervals = _percentiles(sums, resamples, seed)
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


def percentile_interval(replicates: Floats) -> tuple[Floats, Floats]:
    """2.5 and 97.5 percentiles over the first axis; NaN replicates (draws without any trial) do not count."""
    tail = 100 * (1 - CONFIDENCE) / 2
    percentile = np.nanpercentile if np.isnan(replicates).any() else np.percentile
    low, high = percentile(replicates, [tail, 100 - tail], axis=0)
    return low, high


def _column(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)[:, None]


def _percentiles(sums: PersonSums, resamples: int, seed: int) -> list[Interval]:
    """Each quantity with the percentiles of its draws; all NaN where nobody has a trial."""
    value, counts = sums.ratios(), (sums.denominator > 0).sum(axis=0)
    low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
    if (drawn := counts > 0).any():
        low[drawn], high[drawn] = percentile_interval(sums.replicates(resamples, seed)[:, drawn])
    return [
        Interval(float(v), float(min(a, v)), float(max(b, v)), int(n))
        for v, a, b, n in zip(value, low, high, counts, strict=True)
    ]


def _wilson_if_collapsed(interval: Interval) -> Interval:
    if interval.n_identities == 0 or interval.high - interval.low > COLLAPSED:
        return interval
    low, high = wilson(interval.value * interval.n_identities, interval.n_identities)
    return Interval(interval.value, low, high, interval.n_identities)
