"""Paired comparisons: is one method better than another on the same photos of the same people?

Two methods that protect the same photos fail on the same people, so most of the spread of either rate is common to both
and cancels in their difference. Overlapping intervals of the single rates therefore decide nothing. Here the
difference is resampled itself: one draw of people gives one replicate of both rates.

The interval is the bootstrap's, on the draws of `bench.core.statistics`. The p value is that of a permutation test:
under the null hypothesis it does not matter which of the two methods made a person's photos, so the results of whole
people are swapped between the methods (Fisher's test for paired samples; Good 2005, Permutation, Parametric and
Bootstrap Tests of Hypotheses, chapter 3). It holds its level for any number of people, where a bootstrap p value is
too small under some dozens of them, and up to `_EXACT_PEOPLE` people it is exact, over all swaps. People in whom both
methods agree say nothing and change nothing. The interval and p can disagree at the edge of significance; p decides.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cloakbench.bench.core.random_streams import stream_seed
from cloakbench.bench.statistics.intervals import Floats, percentile_interval, wilson
from cloakbench.bench.statistics.joint_intervals import (
    COLLAPSED,
    PersonSums,
    check_bounds,
    mean_weights,
    weighted_mean,
)

LEVEL = 0.05
"""A comparison is decided when its corrected p value is below this."""

_SWAPS = 9999
"""Random swaps: with the observed one a round 10 000, fine enough for Holm's correction over 500 comparisons."""
_EXACT_PEOPLE = 13
"""2 ** 13 swaps of everybody are fewer than `_SWAPS`."""
_ROUNDING = 1e-12
"""Differences closer than this are equal: the order of a sum must not decide a tie."""


@dataclass(frozen=True)
class Difference:
    """First minus second method: rates in [-1, 1], or the quantity's own unit; NaN when there is nothing to compare."""

    value: float
    low: float
    high: float
    p: float
    """Two-sided, not corrected."""
    n_identities: int
    """People with a photo that both methods protected."""


NO_DIFFERENCE = Difference(math.nan, math.nan, math.nan, math.nan, 0)


def paired_difference(
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike],
    identity: ArrayLike,
    resamples: int,
    seed: int,
    *,
    weights: Sequence[float] | None = None,
    bounded: bool = True,
) -> Difference:
    """Difference of the means of K rates of two methods, over the photos that both have in the same cell.

    Args:
        first, second: numerator and denominator of each photo and cell, both ``[N, K]``, photos in the same rows.
        identity: the person of each photo, ``[N]``.
        resamples: bootstrap draws.
        seed: names the draws and the swaps.
        weights: of the cells in the mean, ``[K]``, positive; equal when left out.
        bounded: the quantities are rates in [0, 1].

    Returns:
        the difference; all NaN when a cell has no photo that both methods have. When all replicates agree, a difference
        of rates has the interval in which up to 1 in so many people (the Wilson bound of none in n) are as different as
        people can be; one person gives no interval of a mean.

    Raises:
        ValueError: shapes differ, a weight is not positive, no resamples, or a rate outside [0, 1].
    """
    both = _on_common_photos(first, second)
    numerator, denominator = (np.concatenate([pair[part] for pair in both], axis=1) for part in (0, 1))
    sums = PersonSums.of(numerator, denominator, identity)
    cells = sums.numerator.shape[1] // 2
    shares = mean_weights(cells, weights)
    check_bounds(sums, bounded, resamples)
    rates = sums.ratios()
    if not cells or np.isnan(rates).any():
        return NO_DIFFERENCE
    contrast = np.concatenate([shares, -shares]) / shares.sum()
    value = weighted_mean(rates[:cells] - rates[cells:], shares)
    p = _swap_test(sums, contrast, seed)
    if not bounded and sums.n_identities == 1:
        return Difference(value, math.nan, math.nan, p, 1)
    low, high = map(float, percentile_interval(sums.replicates(resamples, seed) @ contrast))
    if bounded and high - low <= COLLAPSED:
        unseen = wilson(0, sums.n_identities)[1]
        low, high = value - unseen * (value + 1), value + unseen * (1 - value)
    return Difference(value, min(low, value), max(high, value), p, sums.n_identities)


def holm(p: ArrayLike) -> Floats:
    """p values ``[M]`` corrected for M comparisons (Holm 1979), in their order; NaN is no comparison and stays NaN.

    The chance that any of them is below `LEVEL` by luck is then at most `LEVEL`.
    """
    from statsmodels.stats.multitest import multipletests

    values = np.asarray(p, dtype=np.float64)
    corrected, known = np.full_like(values, np.nan), ~np.isnan(values)
    if known.any():
        corrected[known] = multipletests(values[known], method="holm")[1]
    return corrected


def _on_common_photos(
    first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike]
) -> list[tuple[Floats, Floats]]:
    """Both methods' numbers with no trials left in the rows and cells in which either has none."""
    pairs = [tuple(np.asarray(part, dtype=np.float64) for part in method) for method in (first, second)]
    shapes = {part.shape for pair in pairs for part in pair}
    if len(shapes) > 1:
        raise ValueError(f"both methods need numbers of the same photos and cells, [N, K], got {sorted(shapes)}")
    common = (pairs[0][1] > 0) & (pairs[1][1] > 0)
    return [(np.where(common, top, 0.0), np.where(common, bottom, 0.0)) for top, bottom in pairs]


def _swap_test(sums: PersonSums, contrast: Floats, seed: int) -> float:
    """Share of the swaps in which the difference is at least as large as it is, in either direction."""
    cells = len(contrast) // 2
    total = [part.sum(axis=0) for part in (sums.numerator, sums.denominator)]
    # What a swap of one person moves from the second method to the first, and takes from the second.
    moved = [part[:, cells:] - part[:, :cells] for part in (sums.numerator, sums.denominator)]
    differing = np.any(np.concatenate(moved, axis=1) != 0, axis=1)
    swaps, exact = _swaps(int(differing.sum()), seed)
    top, bottom = (
        whole + np.concatenate([change := swaps @ part[differing], -change], axis=1)
        for whole, part in zip(total, moved, strict=True)
    )
    with np.errstate(invalid="ignore"):
        differences = np.abs((top / bottom) @ contrast)
    observed = abs(float((total[0] / total[1]) @ contrast))
    as_large = int((~(differences < observed - _ROUNDING)).sum())  # a swap that leaves no trials speaks for the null
    return as_large / len(swaps) if exact else (as_large + 1) / (len(swaps) + 1)


def _swaps(people: int, seed: int) -> tuple[Floats, bool]:
    """Who is swapped, ``[R, people]`` of 0 and 1, and whether these are all the swaps there are."""
    if people > _EXACT_PEOPLE:
        rng = np.random.default_rng(stream_seed(seed, "swap by person"))
        return rng.integers(2, size=(_SWAPS, people), dtype=np.uint8).astype(np.float64), False
    return np.array(list(itertools.product((0.0, 1.0), repeat=people))).reshape(2**people, people), True
