"""Paired comparisons: against scipy's permutation test and bootstrap, statsmodels' Holm, and by their error rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy.stats import bootstrap, permutation_test
from statsmodels.stats.multitest import multipletests

from cloakbench.bench.statistics.intervals import ratio_interval, wilson
from cloakbench.bench.statistics.paired_comparison import Difference, holm, paired_differences

PEOPLE, PHOTOS = 50, 10


def paired_difference(
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike],
    identity: ArrayLike,
    resamples: int,
    seed: int,
    weights: Sequence[float] | None = None,
    *,
    bounded: bool = True,
) -> Difference:
    """The only pair of two methods."""
    shares = weights or [1.0] * np.shape(first[0])[1]
    [found] = paired_differences([first, second], identity, shares, resamples, seed, bounded=bounded)
    return found


def planted(seed: int = 0, gain: float = 0.06) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two methods that fail on the same people; the first also protects a share ``gain`` of the rest."""
    rng = np.random.default_rng(seed)
    identity = np.repeat(np.arange(PEOPLE), PHOTOS)
    second = (rng.random(PEOPLE * PHOTOS) < rng.beta(0.6, 0.6, PEOPLE)[identity]).astype(float)
    first = np.where(rng.random(len(second)) < gain, 1.0, second)
    return first[:, None], second[:, None], identity


def test_planted_difference_is_found_where_the_single_intervals_overlap() -> None:
    first, second, identity = planted()
    one = np.ones_like(first)
    a, b = (ratio_interval(events[:, 0], one[:, 0], identity, 1000, seed=0) for events in (first, second))
    assert a.low < b.value < a.high
    assert b.low < a.value < b.high
    found = paired_difference((first, one), (second, one), identity, 1000, seed=0)
    assert found.value == pytest.approx(a.value - b.value)
    assert found.low > 0
    assert found.p < 0.001


def test_two_draws_of_one_method_are_not_told_apart() -> None:
    rng = np.random.default_rng(1)
    identity, one = np.repeat(np.arange(PEOPLE), PHOTOS), np.ones((PEOPLE * PHOTOS, 1))
    wrong, repeats = 0, 150
    for repeat in range(repeats):
        chance = rng.beta(0.6, 0.6, PEOPLE)[identity][:, None]
        first, second = ((rng.random(chance.shape) < chance).astype(float) for _ in range(2))
        wrong += paired_difference((first, one), (second, one), identity, 10, seed=repeat).p < 0.05
    assert wrong / repeats < 0.09


@pytest.mark.parametrize("people", [6, 10])
def test_p_of_few_people_is_the_exact_one_of_scipy(people: int) -> None:
    rng = np.random.default_rng(people)
    first, second = rng.integers(0, 5, (2, people)).astype(float)
    first += 1
    theirs = permutation_test(
        (first, second), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True
    ).pvalue
    trials = np.full((people, 1), 5.0)
    ours = paired_difference((first[:, None], trials), (second[:, None], trials), range(people), 10, seed=0)
    assert ours.p == pytest.approx(theirs)


def test_p_of_many_people_agrees_with_scipy() -> None:
    rng = np.random.default_rng(7)
    _, base, identity = planted()
    first, second = (np.where(rng.random(base.shape) < gain, 1.0, base) for gain in (0.08, 0.05))
    by_person = [np.bincount(identity, events[:, 0]) for events in (first, second)]
    theirs = permutation_test(
        tuple(by_person),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(0),
    ).pvalue
    one = np.ones_like(first)
    ours = paired_difference((first, one), (second, one), identity, 10, seed=0)
    assert 0.001 < ours.p < 0.2
    assert ours.p == pytest.approx(theirs, abs=0.015)


def test_interval_agrees_with_the_paired_bootstrap_of_scipy() -> None:
    first, second, identity = planted()
    rates = [np.bincount(identity, events[:, 0]) / PHOTOS for events in (first, second)]
    theirs = bootstrap(
        tuple(rates),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        paired=True,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    one = np.ones_like(first)
    ours = paired_difference((first, one), (second, one), identity, 20_000, seed=0)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.002)


def test_only_photos_that_both_have_are_compared() -> None:
    first, second, identity = planted()
    trials_first, trials_second = np.ones_like(first), np.ones_like(first)
    trials_first[::2] = 0
    trials_second[1:100] = 0
    both = (trials_first > 0) & (trials_second > 0)
    found = paired_difference((first, trials_first), (second, trials_second), identity, 100, seed=0)
    assert found.value == pytest.approx(first[both].mean() - second[both].mean())
    assert found.n_identities == len(set(identity[both[:, 0]]))


def test_mean_over_judges_is_compared_with_its_weights() -> None:
    parts = [planted(seed) for seed in range(3)]
    first, second = (np.concatenate([part[i] for part in parts], axis=1) for i in (0, 1))
    one = np.ones_like(first)
    found = paired_difference((first, one), (second, one), parts[0][2], 100, seed=0, weights=[1, 1, 2])
    gains = (first - second).mean(axis=0)
    assert found.value == pytest.approx((gains[0] + gains[1] + 2 * gains[2]) / 4)


def test_exchanging_the_methods_mirrors_the_comparison() -> None:
    first, second, identity = planted(gain=0.015)
    one = np.ones_like(first)
    there = paired_difference((first, one), (second, one), identity, 500, seed=0)
    back = paired_difference((second, one), (first, one), identity, 500, seed=0)
    assert (back.value, back.low, back.high, back.p) == pytest.approx((-there.value, -there.high, -there.low, there.p))


def test_equal_methods_differ_by_nothing_up_to_one_in_so_many_people() -> None:
    first, _, identity = planted()
    one = np.ones_like(first)
    found = paired_difference((first, one), (first, one), identity, 100, seed=0)
    unseen = wilson(0, PEOPLE)[1]
    assert (found.value, found.p) == (0.0, 1.0)
    assert (found.low, found.high) == pytest.approx((-unseen, unseen))


def test_values_beyond_rates_are_compared_too() -> None:
    rng = np.random.default_rng(2)
    first = rng.normal(38, 1, (40, 1))
    one = np.ones_like(first)
    found = paired_difference((first + 0.1, one), (first, one), range(40), 100, seed=0, bounded=False)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))
    assert found.p < 0.001


def test_nothing_in_common_is_no_comparison() -> None:
    first, second, identity = planted()
    found = paired_difference((first, np.ones_like(first)), (second, np.zeros_like(first)), identity, 100, seed=0)
    assert np.isnan([found.value, found.low, found.high, found.p]).all()


def test_pairs_compared_together_are_those_compared_alone() -> None:
    parts = [planted(seed=0, gain=gain) for gain in (0.0, 0.03, 0.06)]
    identity, one = parts[0][2], np.ones_like(parts[0][0])
    fewer = one.copy()
    fewer[::7] = 0  # a method that lost photos
    methods = [(parts[0][0], one), (parts[1][0], fewer), (parts[2][0], one)]
    together = paired_differences(methods, identity, [1.0], 200, seed=0)
    for found, (a, b) in zip(together, [(0, 1), (0, 2), (1, 2)], strict=True):
        assert found == paired_difference(methods[a], methods[b], identity, 200, seed=0)
    assert [found.n_photos for found in together] == [int(fewer.sum()), len(one), int(fewer.sum())]


def test_photos_with_other_numbers_of_trials_are_not_compared() -> None:
    first, second, identity = planted()
    one, two = np.ones_like(first), np.ones_like(first)
    two[:50] = 3
    found = paired_difference((first, one), (second, two), identity, 100, seed=0)
    assert found.value == pytest.approx((first - second)[50:].mean())


def test_different_shapes_are_refused() -> None:
    one = np.ones((4, 2))
    with pytest.raises(ValueError, match="same photos and cells"):
        paired_difference((one, one), (one[:3], one[:3]), range(4), 10, seed=0)


def test_holm_is_that_of_the_library_and_leaves_gaps_alone() -> None:
    p = np.array([0.04, np.nan, 0.001, 0.03, 0.2])
    known = ~np.isnan(p)
    assert holm(p)[known] == pytest.approx(multipletests(p[known], method="holm")[1])
    assert holm(p)[known] == pytest.approx([0.09, 0.004, 0.09, 0.2])  # by hand: 3 x 0.03 also holds for 0.04
    assert np.isnan(holm(p)[1])
    assert len(holm([])) == 0


def test_a_plain_difference_is_told_apart_among_a_thousand_pairs() -> None:
    rng = np.random.default_rng(0)
    people, methods = 40, 46
    trials = np.ones((people, 1))
    events = [(rng.random((people, 1)) < (0.05 if one == 0 else 0.9)).astype(float) for one in range(methods)]
    found = paired_differences([(one, trials) for one in events], np.arange(people), [1.0], 50, 0)
    assert len(found) == 1035
    of_the_first = holm([one.p for one in found])[: methods - 1]
    assert (of_the_first < 0.05).all()
