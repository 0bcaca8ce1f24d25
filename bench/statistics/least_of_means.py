"""The least of several means, with one joint interval: how well somebody fares against the attacker who does best.

The means are over the same people, so one draw of people gives one replicate of all of them and of the least, and the
percentiles of that are its interval (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13). The
attacker is chosen anew in every draw, so the interval holds the uncertainty of who is worst. The least of several
estimates lies below the least of what they estimate, the more so the more alike they are: it errs on the careful side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cloakbench.bench.statistics.intervals import (
    COLLAPSED,
    Interval,
    PersonSums,
    check_bounds,
    percentile_interval,
    wilson,
)
from cloakbench.bench.statistics.joint_intervals import CellMean


def least_of_means(sums: PersonSums, means: Sequence[CellMean], resamples: int, seed: int) -> tuple[Interval, int]:
    """The least of some means of rates with its 95 % interval, and which of them it is; the first of equal ones.

    Where all replicates agree, the interval is the mean of the Wilson intervals of its rates with people as trials.

    Args:
        sums: of every rate, ``[P, C]``.
        means: which of them each mean is over.
        resamples, seed: of the bootstrap.

    Raises:
        ValueError: there is no mean, a rate outside [0, 1], or one without a trial: there is no partial minimum.
    """
    check_bounds(sums, resamples, bounded=True)
    rates = sums.ratios()
    if not means or np.isnan(rates).any():
        raise ValueError("the least of several means needs at least one, and a trial for each of their rates")
    values = [math.fsum(rates[list(mean.cells)] * mean.shares) for mean in means]
    first = int(np.argmin(values))
    drawn = sums.replicates(resamples, seed)
    least = np.stack([drawn[:, mean.cells] @ mean.shares for mean in means]).min(axis=0)
    low, high = (float(end) for end in percentile_interval(least))
    if high - low <= COLLAPSED:
        own = list(means[first].cells)
        people = (sums.denominator[:, own] > 0).sum(axis=0)
        single = np.array([wilson(rate * n, n) for rate, n in zip(rates[own], people, strict=True)])
        low, high = (math.fsum(end * means[first].shares) for end in single.T)
    value = values[first]
    return Interval(value, min(low, value), max(high, value), sums.n_identities), first
