"""Gaps: an undefined or unavailable quantity is no failure, a lost photo always is."""

from __future__ import annotations

import math

import pytest

from cloakbench.bench.report.gaps import Gap, gap_of


@pytest.mark.parametrize(
    ("status", "value", "n_failed", "kind"),
    [
        ("ok", 0.5, 0, Gap.NONE),
        ("ok", 0.5, math.nan, Gap.NONE),
        ("ok", 0.5, 3, Gap.FAILED),
        ("ok", math.nan, 0, Gap.FAILED),
        ("unavailable", math.nan, 0, Gap.NOT_AVAILABLE),
        ("unavailable", math.nan, 2, Gap.FAILED),
        ("skipped", math.nan, math.nan, Gap.NOT_AVAILABLE),
        ("method_failed", math.nan, 10, Gap.FAILED),
        ("target_failed", math.nan, 0, Gap.FAILED),
        ("missing", math.nan, 0, Gap.FAILED),
    ],
)
def test_gaps_are_told_from_failures(status: str, value: float, n_failed: float, kind: Gap) -> None:
    assert gap_of(status, value, n_failed) is kind
