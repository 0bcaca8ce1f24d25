"""Flat curves: families of transforms that move no method's rate at any strength, and so tell nothing apart.

A robustness curve is read for its slope. When it is level for every method, the transform was too weak, or the rates
stood at an end of the scale before it; either way the figure says nothing about robustness and has to say so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

LEVEL_WITHIN = 0.02
"""A curve whose rates stay within two points is level to the eye."""


@dataclass(frozen=True)
class FlatFamily:
    """A family of transforms that moved nothing."""

    family: str
    methods: int
    largest_shift: float
    """Largest minus smallest rate of any method's curve, in [0, `LEVEL_WITHIN`]."""


def flat_families(curves: pd.DataFrame) -> list[FlatFamily]:
    """Families that are flat for every method, in the order in which they occur.

    Args:
        curves: a row per family, method (a label: with its budget and variant) and strength, with ``value``, the rate
            in [0, 1], NaN where there is none. The untransformed photo belongs to every family's curves, controls to
            none: they hardly move under any transform.

    Returns:
        families whose every curve of two or more rates is level; one without such a curve is not judged.
    """
    rates: dict[str, dict[str, list[float]]] = {}
    for family, method, value in zip(curves["family"], curves["method"], curves["value"], strict=True):
        if not math.isnan(value):
            rates.setdefault(family, {}).setdefault(method, []).append(value)
    flat = []
    for family, by_method in rates.items():
        shifts = [max(curve) - min(curve) for curve in by_method.values() if len(curve) > 1]
        if shifts and max(shifts) <= LEVEL_WITHIN:
            flat.append(FlatFamily(family, len(shifts), max(shifts)))
    return flat
