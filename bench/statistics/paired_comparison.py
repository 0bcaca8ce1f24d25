"""Paired comparisons: is one method better than another on the same photos of the same people?

Two methods that protect the same photos fail on the same people, so most of the spread of either rate is common to both
and cancels in their difference. Overlapping intervals of the single rates therefore decide nothing. Here the
difference is resampled itself: one draw of people gives one replicate of both rates.

The interval is the bootstrap's, on the draws of `intervals`. The p value is that of a permutation test: under the null
hypothesis it does not matter which of the two methods made a person's photos, so the results of whole people are
swapped between the methods (Fisher's test for paired samples; Good 2005, Permutation, Parametric and Bootstrap Tests of
Hypotheses, chapter 3). It holds its level for any number of people, where a bootstrap p value is too small under some
dozens of them, and up to `_EXACT_PEOPLE` people it is exact, over all swaps. People in whom both methods agree say
nothing and change nothing. The interval and p can disagree at the edge of significance; p decides.

Both methods count the same trials of a photo, so that a swap moves events and no trials, a difference is a sum over
people, and a swap changes the signs of terms: one matrix product serves all pairs of a ranking.
"""

from __future__ import annotations

import gc
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cloakbench.bench.core.random_streams import stream_seed
from cloakbench.bench.statistics.intervals import (
    COLLAPSED,
    Floats,
    PersonSums,
    check_bounds,
    percentile_interval,
    wilson,
)

LEVEL = 0.05
"""A comparison is decided when its corrected p value is below this."""

_SWAPS = 10_000
"""Swaps of a test, the observed one among them, drawn so many at once."""
_SWAPS_OF_A_PAIR = 100
"""At least so many swaps for each pair of a ranking: the smallest p, corrected for all of them, is a hundredth."""
_EXACT_PEOPLE = 13
"""2 ** 13 swaps of everybody are fewer than `_SWAPS`."""
_ROUNDING = 1e-12
"""Differences closer than this are equal: the order of a sum must not decide a tie."""

Pair = tuple[int, int]


@dataclass(frozen=True)
class Difference:
    """First minus second method: rates in [-1, 1], or the quantity's own unit; NaN when there is nothing to compare."""

    value: float
    low: float
    high: float
    p: float
    """Two-sided, not corrected."""
    n_photos: int
    """Photos that both methods have in the cell with the fewest of them."""
    n_identities: int
    """People with such a photo."""


NO_DIFFERENCE = Difference(math.nan, math.nan, math.nan, math.nan, 0, 0)


def paired_differences(
    methods: Sequence[tuple[ArrayLike, ArrayLike]],
    identity: ArrayLike,
    weights: Sequence[float],
    resamples: int,
    seed: int,
    *,
    bounded: bool = True,
) -> list[Difference]:
    """Differences of the means of K rates between all pairs of M methods.

    Args:
        methods: events and trials of each photo and cell, ``[N, K]`` each, photos in the same rows.
        identity: the person of each photo, ``[N]``.
        weights: of the cells in the mean, ``[K]``, positive.
        resamples: bootstrap draws.
        seed: names the draws and the swaps.
        bounded: the quantities are rates in [0, 1].

    Returns:
        a difference per pair in the order of ``itertools.combinations``, over the photos that both have in the same
        cell with equal numbers of trials; all NaN when a cell has no such photo. When all replicates agree, a
        difference of rates has the interval in which up to 1 in so many people (the Wilson bound of none in n) are as
        different as people can be; one person gives no interval of a mean.

    Raises:
        ValueError: shapes differ, no resamples, or a rate outside [0, 1].
    """
    numbers = [tuple(np.asarray(part, dtype=np.float64) for part in method) for method in methods]
    shapes = {part.shape for pair in numbers for part in pair}
    if len(shapes) > 1:
        raise ValueError(f"all methods need numbers of the same photos and cells, [N, K], got {sorted(shapes)}")
    same_trials: dict[bytes, list[int]] = {}
    for number, (_, trials) in enumerate(numbers):
        same_trials.setdefault(trials.tobytes(), []).append(number)
    found: dict[Pair, Difference] = {}
    swaps = max(_SWAPS, _SWAPS_OF_A_PAIR * math.comb(len(numbers), 2))
    for one, other in itertools.combinations_with_replacement(same_trials.values(), 2):
        pairs = [(min(pair), max(pair)) for pair in itertools.product(one, other) if pair[0] != pair[1]]
        pairs = sorted(set(pairs))
        if pairs:
            trials = [numbers[group[0]][1] for group in (one, other)]
            common = np.where(trials[0] == trials[1], trials[0], 0.0)
            events = {place: numbers[place][0] for pair in pairs for place in pair}
            found |= _compare(pairs, events, common, np.asarray(identity), weights, resamples, seed, swaps, bounded)
    return [found[pair] for pair in itertools.combinations(range(len(numbers)), 2)]


def holm(p: ArrayLike) -> Floats:
    """p values ``[M]`` corrected for M comparisons (Holm 1979), in their order; NaN is no comparison and stays NaN.

    The chance that any of them is below `LEVEL` by luck is then at most `LEVEL`.
    """
    from statsmodels.stats.multitest import multipletests

    values = np.asarray(p, dtype=np.float64)
    corrected, known = np.full_like(values, np.nan), ~np.isnan(values)
    if known.any():
        gc.freeze()  # the library collects garbage at every call, which takes 1000 times as long as what it computes
        try:
            corrected[known] = multipletests(values[known], method="holm")[1]
        finally:
            gc.unfreeze()
    return corrected


def _compare(
    pairs: Sequence[Pair],
    events: dict[int, Floats],
    common: Floats,
    identity: np.ndarray,
    weights: Sequence[float],
    resamples: int,
    seed: int,
    swaps: int,
    bounded: bool,
) -> dict[Pair, Difference]:
    """Pairs of methods that have the same photos in common: trials ``common`` ``[N, K]``."""
    if not common.any(axis=0).all():
        return dict.fromkeys(pairs, NO_DIFFERENCE)
    row = {method: number for number, method in enumerate(events)}
    sums = PersonSums.of(np.concatenate(list(events.values()), axis=1), np.tile(common, len(row)), identity)
    check_bounds(sums, resamples, bounded=bounded)
    shares = np.asarray(weights, dtype=np.float64) / math.fsum(weights)
    by_cell = (len(row), len(shares))
    first, second = ([row[pair[side]] for pair in pairs] for side in (0, 1))
    # What each person adds to each method's mean, [P, M].
    parts = (sums.numerator / sums.denominator.sum(axis=0)).reshape(-1, *by_cell) @ shares
    means = sums.replicates(resamples, seed).reshape(-1, *by_cell) @ shares
    low, high = percentile_interval(means[:, first] - means[:, second])
    differences = parts[:, first] - parts[:, second]
    photos = int((common > 0).sum(axis=0).min())
    p = _swap_test(differences, seed, swaps)
    return {
        pair: _difference(differences[:, place].sum(), low[place], high[place], p[place], photos, bounded, len(parts))
        for place, pair in enumerate(pairs)
    }


def _difference(
    value: float, low: float, high: float, p: float, n_photos: int, bounded: bool, n_identities: int
) -> Difference:
    value, low, high = float(value), float(low), float(high)
    if not bounded and n_identities == 1:
        return Difference(value, math.nan, math.nan, float(p), n_photos, 1)
    if bounded and high - low <= COLLAPSED:
        unseen = wilson(0, n_identities)[1]
        low, high = value - unseen * (value + 1), value + unseen * (1 - value)
    return Difference(value, min(low, value), max(high, value), float(p), n_photos, n_identities)


def _swap_test(differences: Floats, seed: int, swaps: int) -> Floats:
    """Share of the swaps in which a difference is at least as large as it is, in either direction, ``[Q]``.

    Args:
        differences: what each person adds to each of Q differences, ``[P, Q]``.
        seed: names the swaps.
        swaps: how many, the observed one among them.
    """
    differs = np.abs(differences) > _ROUNDING * 1e-3
    observed = np.abs(differences.sum(axis=0)) - _ROUNDING
    rng = np.random.default_rng(stream_seed(seed, "swap by person"))
    as_large = np.ones(differences.shape[1])
    for start in range(1, swaps, _SWAPS):
        signs = 1.0 - 2.0 * rng.integers(2, size=(min(_SWAPS, swaps - start), len(differences)), dtype=np.uint8)
        as_large += (np.abs(signs @ differences) >= observed).sum(axis=0)
    p = as_large / swaps
    for pair in np.flatnonzero(differs.sum(axis=0) <= _EXACT_PEOPLE):
        some = differences[differs[:, pair], pair]
        every = np.array(list(itertools.product((1.0, -1.0), repeat=len(some)))).reshape(2 ** len(some), len(some))
        p[pair] = (np.abs(every @ some) >= observed[pair]).mean()
    return p
