"""Sizes of budgets and texts of variants: one spelling, one order, and back."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cloakbench.bench.core.axes import (
    NO_BUDGET,
    BudgetSize,
    in_order,
    row_name,
    split_row_name,
    value_text,
    variant_settings,
    variant_text,
)


@pytest.mark.parametrize("nothing", [None, math.nan, "", np.float64("nan"), "nan"])
def test_no_budget_is_one_thing_however_it_was_written(nothing: Any) -> None:
    assert BudgetSize.of(nothing) == NO_BUDGET and not BudgetSize.of(nothing)
    assert (NO_BUDGET.text, NO_BUDGET.title, math.isnan(NO_BUDGET.number)) == ("–", "no budget", True)


def test_a_budget_survives_a_column_of_a_file_and_a_budget_of_zero_is_one() -> None:
    sizes = [BudgetSize(8.0), NO_BUDGET, BudgetSize(0.0), BudgetSize(0.5)]
    column = pd.Series([size.number for size in sizes])
    assert [BudgetSize.of(value) for value in column] == sizes
    assert [BudgetSize.of(text) for text in ("8", "", "0", "0.5")] == sizes
    assert sorted(sizes) == [NO_BUDGET, BudgetSize(0.0), BudgetSize(0.5), BudgetSize(8.0)]
    assert max(sizes) == BudgetSize(8.0) and BudgetSize(0.0)
    assert [size.title for size in sizes] == ["8/255", "no budget", "0/255", "0.5/255"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"steps": 10, "step_255": 1.5},
        {"objective.warmup_steps": 5, "random_start": True, "dfanet": None},
        {"word": "own", "digits": "10", "yes": "true", "blank": "", "spaces": "a  b", "sentence": "a, b=c (d)"},
        {"list": [1, 2], "words": ["a, steps=2", "b"], "block": {"x": 1, "_target_": "a.B"}},
        {"small": 1e-7, "third": 1 / 3, "near": 0.1234567, "large": 1e300},
    ],
)
def test_the_text_of_a_variant_gives_its_settings_back(settings: dict[str, Any]) -> None:
    text = variant_text(settings)
    assert variant_settings(text) == json.loads(json.dumps(settings))
    assert variant_text(variant_settings(text)) == text
    assert split_row_name(row_name("pgd", text)) == ("pgd", text)


def test_order_and_spelling_of_settings_do_not_matter() -> None:
    assert variant_text({"steps": 10, "decay": 1.0}) == variant_text({"decay": 1, "steps": 10.0}) == "decay=1, steps=10"
    assert value_text(1) != value_text(True) != value_text("true")
    assert value_text(0.1234567) != value_text(0.1234568)


def test_names_with_brackets_are_no_variants() -> None:
    assert split_row_name("mine (low)") == ("mine (low)", "")
    assert split_row_name("mine (low) (steps=2)") == ("mine (low)", "steps=2")


def test_variants_come_behind_their_method_and_by_their_numbers() -> None:
    texts = ["steps=10", "step=0.5", "", "steps=2", "step=0.25", "steps=2"]
    assert in_order(texts) == ["", "step=0.25", "step=0.5", "steps=2", "steps=10"]
