"""Krippendorff's alpha against sums by hand and a plain loop over pairs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cloakbench.bench.statistics.agreement import krippendorff_alpha

_ = np.nan


def by_pairs(ratings: np.ndarray) -> float:
    """The definition, pair by pair."""
    units = [[value for value in unit if not np.isnan(value)] for unit in ratings.T]
    units = [unit for unit in units if len(unit) > 1]
    known = [value for unit in units for value in unit]
    within = sum((a - b) ** 2 / (len(unit) - 1) for unit in units for a, b in itertools.permutations(unit, 2)) / len(
        known
    )
    between = sum((a - b) ** 2 for a, b in itertools.permutations(known, 2)) / (len(known) * (len(known) - 1))
    return 1 - within / between


def test_two_raters_and_three_things_by_hand() -> None:
    # Ordered pairs within: (1, 2) and (4, 3) twice each, (5, 5): 4 / 6 numbers.
    # Between: 30 ordered pairs of 1 4 5 2 3 5; 2 (6 * 80 - 20^2) = 160, over 30.
    assert krippendorff_alpha([[1, 4, 5], [2, 3, 5]]) == pytest.approx(1 - (4 / 6) / (160 / 30))


def test_with_gaps_as_pair_by_pair() -> None:
    ratings = np.array([[1, 2, 3, 3, 2, 1, 4, 1, 2, _], [1, 2, 3, 3, 2, 2, 4, 1, 2, 5], [_, 3, 3, 3, 2, 3, 4, 2, 2, 5]])
    assert krippendorff_alpha(ratings) == pytest.approx(by_pairs(ratings))
    ratings[:2, 3] = _  # one rating is left, which tells nothing
    assert krippendorff_alpha(ratings) == pytest.approx(by_pairs(ratings))


def test_full_agreement_is_one_and_chance_is_about_zero() -> None:
    assert krippendorff_alpha([[1, 7, 9], [1, 7, 9]]) == 1
    draws = np.random.default_rng(0).integers(1, 11, (10, 400))
    assert abs(krippendorff_alpha(draws)) < 0.02


@pytest.mark.parametrize("ratings", [[[5, 5], [5, 5]], [[1, _], [_, 2]], np.empty((0, 0))])
def test_where_nothing_can_be_said_it_is_nan(ratings: object) -> None:
    assert np.isnan(krippendorff_alpha(ratings))  # type: ignore[arg-type]
