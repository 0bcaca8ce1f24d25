"""Families of conditions: from mild to strong along their axis, in the order of the experiment."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from cloakbench.bench.protocols.recognition.conditions import Family, families_of
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.results import CONDITION_COLUMNS, MEASUREMENT_COLUMNS, Results


def families(*conditions: tuple[str, str, float, str]) -> list[Family]:
    """Families of conditions given as label, family, strength and order."""
    rows = [
        ("identification", label, family.title(), family, number, "axis", order)
        for label, family, number, order in conditions
    ]
    none = pd.DataFrame()
    measured = pd.DataFrame([dict.fromkeys(MEASUREMENT_COLUMNS, "") | {"status": "skipped"} for _ in conditions])
    measured = measured.assign(
        protocol="identification",
        metric="rate",
        condition=[label for label, *_ in conditions],
        **dict.fromkeys(("value", "epsilon_255", "n", "n_failed", "n_identities"), math.nan),
    )
    known = pd.DataFrame(rows, columns=list(CONDITION_COLUMNS))
    results = Results("r", "d", "", measured, none, none, none, none, conditions=known)
    return families_of(Measured(results), "rate")


def labels(family: Family) -> list[str]:
    return [label for label, _ in family.members]


def test_they_run_from_mild_to_strong_in_the_order_of_the_experiment() -> None:
    blur, jpeg = families(
        ("blur_2", "blur", 2.0, "up"),
        ("jpeg_50", "jpeg", 50.0, "down"),
        ("jpeg_90", "jpeg", 90.0, "down"),
        ("blur_0.5", "blur", 0.5, "up"),
    )
    assert labels(blur) == ["none", "blur_0.5", "blur_2"]
    assert labels(jpeg) == ["none", "jpeg_90", "jpeg_50"]
    assert jpeg.members[1] == ("jpeg_90", "90")


@pytest.mark.parametrize(
    ("strengths", "wanted"), [((0.8, 1.2), ["x_0.8", "none", "x_1.2"]), ((-20.0, 20.0), ["x_-20", "none", "x_20"])]
)
def test_a_two_sided_axis_has_the_photo_as_it_was_in_the_middle(
    strengths: tuple[float, ...], wanted: list[str]
) -> None:
    [family] = families(*((f"x_{number:g}", "x", number, "two_sided") for number in strengths))
    assert labels(family) == wanted


def test_a_condition_without_a_strength_follows_the_photo_as_it_was() -> None:
    [family] = families(("platform", "platform", math.nan, "up"))
    assert family.members == (("none", "none"), ("platform", "platform"))
