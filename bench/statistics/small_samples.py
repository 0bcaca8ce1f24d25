"""Small samples: which rows stand on too few photos to be ranked beside the others, and the front of those that do not.

A costly method is run on part of the photos. Its rate is as true as any, with a wider interval; but the best of many
rows is chosen, and among rows of unequal n the lucky small one is chosen too often. Such rows are marked, take no part
in tie groups and form no Pareto front.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

SMALL_SHARE = 0.5
"""Below this share of the photos of the fullest row of a method, a row is small. Controls cost nothing and have all."""
FEW_PEOPLE = 10
"""Below this many people the percentile interval is too narrow; where nobody has more, all rows are equal in that."""


def is_small(n_photos: ArrayLike, n_identities: ArrayLike, is_method: ArrayLike) -> NDArray[np.bool_]:
    """Which of M rows are small.

    Args:
        n_photos, n_identities: photos and people of each, ``[M]``.
        is_method: bool ``[M]``, False for controls, which set the bar only where there is nothing else.
    """
    photos, people = np.asarray(n_photos, dtype=np.float64), np.asarray(n_identities, dtype=np.float64)
    methods = np.asarray(is_method, dtype=bool)
    of_the_fullest = photos[methods if methods.any() else slice(None)].max(initial=0)
    return (photos < SMALL_SHARE * of_the_fullest) | (people < min(FEW_PEOPLE, people.max(initial=0)))


def pareto_front(first: ArrayLike, second: ArrayLike, eligible: ArrayLike) -> list[int]:
    """Rows that no other eligible row beats in one quantity without losing in the other, ascending in ``first``.

    Args:
        first, second: two quantities ``[M]``, larger is better; a row with a NaN is not eligible.
        eligible: bool ``[M]``, False for small rows and controls.
    """
    x, y = (np.asarray(quantity, dtype=np.float64) for quantity in (first, second))
    rows = np.flatnonzero(np.asarray(eligible, dtype=bool) & ~np.isnan(x) & ~np.isnan(y))
    front = [int(row) for row in rows if not _beaten(x[row], y[row], x[rows], y[rows])]
    return sorted(front, key=lambda row: x[row])


def _beaten(x: float, y: float, others_x: NDArray[np.float64], others_y: NDArray[np.float64]) -> bool:
    at_least = (others_x >= x) & (others_y >= y)
    return bool((at_least & ((others_x > x) | (others_y > y))).any())
