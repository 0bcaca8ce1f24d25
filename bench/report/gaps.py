"""Gaps: why a number is missing, told apart into what failed and what was never to be had.

A photo that a method or a judge could not handle is a failure, and so is a cell that should be there and is not. A
quantity that is undefined (PSNR of equal photos), that lacks a file nobody is obliged to have (LPIPS without its
weights) or that the plan leaves out is a gap with a reason, and calling it a failure hides the real ones.
"""

from __future__ import annotations

import math
from enum import StrEnum

_OK = "ok"
_NO_FAILURE = frozenset({"unavailable", "skipped"})


class Gap(StrEnum):
    """What kind of gap a measurement is."""

    NONE = "none"
    NOT_AVAILABLE = "not available"
    FAILED = "failed"


def gap_of(status: str, value: float, n_failed: float) -> Gap:
    """The kind of gap of a measurement.

    Args:
        status: of the measurement.
        value: NaN when there is none.
        n_failed: planned photos that failed; NaN counts as none. A value over what is left is still a failure.
    """
    lost = not math.isnan(n_failed) and n_failed > 0
    if status in _NO_FAILURE and not lost:
        return Gap.NOT_AVAILABLE
    if status == _OK and not lost and not math.isnan(value):
        return Gap.NONE
    return Gap.FAILED
