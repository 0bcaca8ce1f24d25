"""Intervals: against scipy, against an explicit resampling loop, and by their coverage on clustered data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from cloakbench.bench.statistics.intervals import (
    identity_weights,
    mean_intervals,
    ratio_interval,
    ratio_intervals,
    wilson,
)


def clustered(rng: np.random.Generator, people: int, trials: int, spread: float) -> np.ndarray:
    """Successes of each person; a small ``spread`` makes a person's trials agree. The expected rate is 0.7."""
    return rng.binomial(trials, rng.beta(0.7 * spread, 0.3 * spread, people))


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (3, 17), (450, 500), (1, 1)])
def test_wilson_agrees_with_scipy(successes: int, trials: int) -> None:
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_without_trials_is_no_number() -> None:
    assert np.isnan(wilson(0, 0)).all()


def test_interval_is_the_percentiles_of_an_explicit_resampling_loop() -> None:
    rng = np.random.default_rng(3)
    identity = rng.integers(12, size=80)
    trials = rng.integers(1, 9, size=80)
    events = rng.binomial(trials, 0.4)
    rates = []
    for draw in np.concatenate([*identity_weights(12, 200, seed=5)]):
        rows = np.repeat(np.arange(80), draw[identity])
        rates.append(events[rows].sum() / trials[rows].sum())
    interval = ratio_interval(events, trials, identity, resamples=200, seed=5)
    assert interval.value == pytest.approx(events.sum() / trials.sum())
    assert (interval.low, interval.high) == pytest.approx(tuple(np.percentile(rates, [2.5, 97.5])))
    assert interval.n_identities == 12


def test_weights_draw_as_many_people_as_there_are() -> None:
    weights = np.concatenate([*identity_weights(7, 3000, seed=0)])
    assert weights.shape == (3000, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(7), abs=0.08)
    assert weights.var(axis=0) == pytest.approx(np.full(7, 6 / 7), abs=0.1)


def test_large_populations_are_drawn_in_blocks_with_every_draw_present() -> None:
    blocks = [*identity_weights(50_000, 100, seed=1)]
    assert len(blocks) > 1
    assert sum(len(block) for block in blocks) == 100


def test_coverage_on_clustered_trials_is_nominal_and_that_of_independent_trials_is_not() -> None:
    """50 people, 10 correlated trials each: at a correlation of 1/2 the 500 trials are worth 91 independent ones."""
    rng = np.random.default_rng(11)
    identity, ours, naive, repeats = np.arange(50), 0, 0, 300
    for repeat in range(repeats):
        events = clustered(rng, people=50, trials=10, spread=1.0)
        interval = ratio_interval(events, np.full(50, 10), identity, resamples=400, seed=repeat)
        ours += interval.low <= 0.7 <= interval.high
        low, high = wilson(events.sum(), 500)
        naive += low <= 0.7 <= high
    assert 0.90 <= ours / repeats <= 0.99
    assert naive / repeats < 0.80


def test_equal_seeds_give_equal_intervals_whatever_the_order_of_rows() -> None:
    rng = np.random.default_rng(0)
    identity, events = rng.integers(20, size=100), rng.integers(2, size=100)
    order = rng.permutation(100)
    first = ratio_interval(events, np.ones(100), identity, 100, seed=1)
    assert ratio_interval(events[order], np.ones(100), identity[order], 100, seed=1) == first
    assert ratio_interval(events, np.ones(100), identity, 100, seed=2) != first


@pytest.mark.parametrize("rate", [0, 1])
def test_unanimous_people_do_not_pretend_certainty(rate: int) -> None:
    interval = ratio_interval(np.full(50, rate), np.ones(50), np.repeat(np.arange(10), 5), 100, seed=0)
    expected = binomtest(10 * rate, 10).proportion_ci(method="wilson")
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_one_person_gives_a_wide_interval_for_a_rate_and_none_for_a_mean() -> None:
    rate = ratio_interval([1, 1, 0, 1], np.ones(4), np.zeros(4), 100, seed=0)
    assert rate.value == 0.75
    assert rate.high - rate.low > 0.7
    [mean] = mean_intervals([[1.0], [2.0]], [0, 0], 100, seed=0)
    assert mean.value == 1.5
    assert np.isnan([mean.low, mean.high]).all()


def test_nobody_gives_no_number() -> None:
    for interval in (ratio_interval([], [], [], 10, 0), ratio_interval([np.nan], [0], ["a"], 10, 0)):
        assert np.isnan([interval.value, interval.low, interval.high]).all()
        assert interval.n_identities == 0


def test_people_without_trials_do_not_change_the_rate_or_its_interval() -> None:
    rng = np.random.default_rng(4)
    events, identity = rng.integers(2, size=60), np.repeat(np.arange(12), 5)
    plain = ratio_interval(events, np.ones(60), identity, 200, seed=0)
    padded = ratio_interval(
        np.append(events, [np.nan] * 3), np.append(np.ones(60), np.zeros(3)), np.append(identity, [90, 91, 92]), 200, 0
    )
    assert padded == plain


def test_columns_are_independent_rates() -> None:
    rng = np.random.default_rng(6)
    trials = rng.integers(1, 4, size=(40, 2))
    events = rng.binomial(trials, 0.5)
    identity = np.repeat(np.arange(8), 5)
    both = ratio_intervals(events, trials, identity, 100, seed=0)
    assert both == [ratio_interval(events[:, k], trials[:, k], identity, 100, seed=0) for k in (0, 1)]


def test_mean_skips_missing_values_and_a_constant_is_exact() -> None:
    [mean] = mean_intervals([[8.0], [np.nan], [8.0], [8.0]], ["a", "a", "b", "c"], 100, seed=0)
    assert (mean.value, mean.low, mean.high, mean.n_identities) == (8.0, 8.0, 8.0, 3)


@pytest.mark.parametrize(
    ("events", "trials", "identity", "resamples", "message"),
    [
        ([2], [1], [0], 10, "numerator <= denominator"),
        ([np.nan], [1], [0], 10, "not finite"),
        ([1], [1, 1], [0], 10, "must both be"),
        ([1, 1], [1, 1], [0], 10, "N = 1"),
        ([1], [1], [0], 0, "resamples"),
    ],
)
def test_nonsense_is_refused(events: list, trials: list, identity: list, resamples: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ratio_interval(events, trials, identity, resamples, seed=0)
