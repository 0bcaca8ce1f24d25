"""Tie groups: the letters a, b, c beside a ranking, read off its pairwise decisions.

Two rows share a letter exactly when the comparison between them was not decided (the compact letter display of Piepho
2004, J. Comput. Graph. Stat. 13(2), who builds it by insertion and absorption, as here). A letter is thus a largest
set of rows of which no two are separated; a row between two sets has the letters of both. Being tied is not
transitive, and letters do not pretend that it is: in ``a, ab, b`` the first and the last are separated.
"""

from __future__ import annotations

import string

import numpy as np
from numpy.typing import ArrayLike


def tie_groups(separated: ArrayLike) -> list[str]:
    """Letters of M rows.

    Args:
        separated: bool ``[M, M]``, symmetric, rows in the order of the ranking; True where two rows were separated.

    Returns:
        M strings such as ``ab``; the best row has an ``a``. After ``z`` come ``A`` to ``Z`` and then ``(53)``.

    Raises:
        ValueError: ``separated`` is no symmetric square, or separates a row from itself.
    """
    apart = np.asarray(separated, dtype=bool)
    if apart.ndim != 2 or not np.array_equal(apart, apart.T) or apart.diagonal().any():
        raise ValueError(f"separated must be a symmetric [M, M] with an empty diagonal, got {apart.shape}")
    groups = {frozenset(range(len(apart)))} if len(apart) else set()
    for one, other in zip(*np.nonzero(np.triu(apart)), strict=True):
        split = {group - {row} for group in groups if {one, other} <= group for row in (one, other)}
        kept = {group for group in groups if not {one, other} <= group}
        groups = kept | {group for group in split if not any(group < rest for rest in kept | split)}
    ordered = sorted(groups, key=sorted)
    return ["".join(_letter(place) for place, group in enumerate(ordered) if row in group) for row in range(len(apart))]


def _letter(place: int) -> str:
    return string.ascii_letters[place] if place < len(string.ascii_letters) else f"({place + 1})"
