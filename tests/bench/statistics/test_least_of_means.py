"""The least of several means: against an explicit loop over draws; it never lies above any of them."""

from __future__ import annotations

import numpy as np
import pytest

from cloakbench.bench.statistics.intervals import PersonSums, identity_weights, wilson
from cloakbench.bench.statistics.joint_intervals import CellMean, joint_intervals
from cloakbench.bench.statistics.least_of_means import least_of_means

PLAN = [CellMean((0, 1), (1.0, 1.0)), CellMean((2, 3), (1.0, 1.0)), CellMean((4, 5), (1.0, 3.0))]


def sums(seed: int = 0, people: int = 20, photos: int = 4) -> PersonSums:
    rng = np.random.default_rng(seed)
    chance = rng.beta(2, 2, (people, 6))
    return PersonSums(rng.binomial(photos, chance).astype(float), np.full((people, 6), float(photos)))


def test_value_and_interval_are_those_of_a_loop_that_chooses_the_attacker_in_every_draw() -> None:
    some = sums()
    interval, which = least_of_means(some, PLAN, 200, 7)
    rates = some.numerator.sum(axis=0) / some.denominator.sum(axis=0)
    means = [rates[:2].mean(), rates[2:4].mean(), (rates[4] + 3 * rates[5]) / 4]
    assert (interval.value, which) == (pytest.approx(min(means)), int(np.argmin(means)))
    least = []
    for block in identity_weights(20, 200, 7):
        for drawn in block:
            one = (drawn @ some.numerator) / (drawn @ some.denominator)
            least.append(min(one[:2].mean(), one[2:4].mean(), (one[4] + 3 * one[5]) / 4))
    low, high = np.percentile(least, [2.5, 97.5])
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(max(high, interval.value)))
    assert interval.n_identities == 20


def test_it_is_below_each_mean_and_of_one_mean_it_is_that_mean() -> None:
    some = sums(1)
    interval, _ = least_of_means(some, PLAN, 100, 0)
    singles = joint_intervals(some, PLAN, 100, 0)
    assert all(interval.value <= one.value and interval.high <= one.high + 1e-12 for one in singles)
    alone, which = least_of_means(some, PLAN[1:2], 100, 0)
    assert which == 0 and alone == singles[1]


def test_equal_people_get_a_wilson_interval_and_a_missing_attack_no_minimum() -> None:
    nobody = PersonSums(np.zeros((8, 2)), np.ones((8, 2)))
    interval, _ = least_of_means(nobody, [CellMean((0,), (1.0,)), CellMean((1,), (1.0,))], 50, 0)
    assert (interval.low, interval.high) == pytest.approx(wilson(0, 8))
    gone = PersonSums(np.zeros((8, 2)), np.stack([np.ones(8), np.zeros(8)], axis=1))
    with pytest.raises(ValueError, match="a trial for each"):
        least_of_means(gone, [CellMean((0,), (1.0,)), CellMean((1,), (1.0,))], 50, 0)
