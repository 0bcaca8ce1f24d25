"""Interval text: ends, real minus signs, no value where there is none."""

from __future__ import annotations

import math

import pytest

from cloakbench.bench.report.interval_text import interval_text, number_text, p_text
from cloakbench.bench.report.table import Number


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.0, 0.0, 27.75, "0.0 [0.0, 27.8]"),
        (100.0, 92.9, 100.0, "100.0 [92.9, 100.0]"),
        (-3.14, -6.0, -0.04, "−3.1 [−6.0, 0.0]"),
        (35.0, math.nan, math.nan, "35.0"),
        (math.nan, 0.0, 1.0, "–"),
        (math.inf, math.nan, math.nan, "∞"),
        (-math.inf, math.nan, math.nan, "−∞"),
    ],
)
def test_a_number_is_printed_with_the_ends_of_its_interval(value: float, low: float, high: float, text: str) -> None:
    assert Number(value, low, high).words() == text
    assert "±" not in text


def test_decimals_are_those_asked_for() -> None:
    assert interval_text(0.12345, 0.9, digits=3) == "[0.123, 0.900]"
    assert number_text(-0.0004, digits=3) == "0.000"


@pytest.mark.parametrize(("p", "text"), [(0.0001, "< 0.001"), (0.0123, "0.012"), (1.0, "1.000"), (math.nan, "–")])
def test_p_values_are_never_printed_as_zero(p: float, text: str) -> None:
    assert p_text(p) == text
