"""Flat curves: families of conditions that move no method's rate at any strength, and so tell nothing apart.

A robustness curve is read for its slope. When it is level for every method, the transform was too weak, or the rates
stood at an end of the scale before it; either way the figure says nothing about robustness and has to say so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

LEVEL_WITHIN = 0.02
"""A curve whose rates stay within two points is level to the eye."""


def flat_families(curves: Mapping[str, Iterable[Sequence[float]]]) -> dict[str, float]:
    """Families that are flat for every method, and the largest shift of any of their curves.

    Args:
        curves: for each family the curve of every method, rates in [0, 1] by strength, NaN where there is none. The
            photo as it was published belongs to every curve; controls give none: they hardly move under anything.

    Returns:
        families whose every curve of two or more rates is level; one without such a curve is not judged.
    """
    flat = {}
    for family, lines in curves.items():
        known = [[value for value in line if not math.isnan(value)] for line in lines]
        shifts = [max(line) - min(line) for line in known if len(line) > 1]
        if shifts and max(shifts) <= LEVEL_WITHIN:
            flat[family] = max(shifts)
    return flat
