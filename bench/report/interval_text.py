"""Interval text: how a number with an interval is printed, everywhere the same.

Intervals are printed as their two ends. Half a width behind ``±`` says that the interval is symmetric and may leave the
scale, and near an end of the scale both are wrong: 0 of 50 people is 0 to 7 per cent, not 0 ±3.6.
"""

from __future__ import annotations

import math

GAP = "–"
_MINUS = "\N{MINUS SIGN}"


def interval_text(low: float, high: float, digits: int = 1) -> str:
    """``[56.7, 70.0]``; nothing when an end is missing.

    Args:
        low, high: ends, in the unit that is printed.
        digits: decimals.
    """
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"[{number_text(low, digits)}, {number_text(high, digits)}]"


def number_text(value: float, digits: int = 1) -> str:
    """A number with a minus sign that is one, and no minus before what rounds to zero."""
    if math.isinf(value):
        return "∞" if value > 0 else f"{_MINUS}∞"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", _MINUS)


def p_text(p: float) -> str:
    """``0.012``, or ``< 0.001``; a dash when nothing was compared."""
    if math.isnan(p):
        return GAP
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
