"""Agreement of raters: Krippendorff's alpha for numbers on an interval scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def krippendorff_alpha(ratings: ArrayLike) -> float:
    """``1 - D_o / D_e`` with squared differences: 1 where all agree, 0 where they agree no more than by chance.

    ``D_o`` is the mean squared difference of two ratings of one thing, each thing weighing as many ratings as it has;
    ``D_e`` that of any two ratings. Things with one rating count in neither.

    Source: Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, with the interval metric.

    Args:
        ratings: ``[raters, things]``, NaN for what somebody did not rate.

    Returns:
        NaN where no thing has two ratings, or all ratings are equal.
    """
    values = np.asarray(ratings, dtype=np.float64)
    values = values[:, (~np.isnan(values)).sum(axis=0) > 1]
    counts = (~np.isnan(values)).sum(axis=0)
    total = int(counts.sum())
    if total == 0:
        return float("nan")
    # Over all ordered pairs of m numbers the squared differences sum to 2 m times their squared deviations.
    within = float((2 * counts * np.nanvar(values, axis=0) * counts / (counts - 1)).sum()) / total
    known = values[~np.isnan(values)]
    between = 2 * float(known.var()) * total / (total - 1)
    return 1 - within / between if between > 0 else float("nan")
