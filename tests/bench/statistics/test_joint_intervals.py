"""Joint intervals: against scipy's bootstrap, against an explicit loop, and where the mean of ends goes wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy.stats import bootstrap

from cloakbench.bench.statistics.intervals import (
    Interval,
    PersonSums,
    identity_weights,
    ratio_interval,
    ratio_intervals,
    wilson,
)
from cloakbench.bench.statistics.joint_intervals import CellMean, joint_intervals


def joint_interval(
    numerator: ArrayLike,
    denominator: ArrayLike,
    identity: ArrayLike,
    resamples: int,
    seed: int,
    weights: Sequence[float] | None = None,
    *,
    bounded: bool = True,
) -> Interval:
    """The interval of one mean over all rates."""
    sums = PersonSums.of(numerator, denominator, identity)
    cells = tuple(range(sums.numerator.shape[1]))
    mean = CellMean(cells, tuple(weights or [1.0] * len(cells)))
    [interval] = joint_intervals(sums, [mean], resamples, seed, bounded=bounded)
    return interval


def judged(seed: int, people: int = 40, judges: int = 6, photos: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Events, trials and people of photos whose judges fail independently of each other."""
    rng = np.random.default_rng(seed)
    identity = np.repeat(np.arange(people), photos)
    chance = rng.beta(1.2, 0.8, (people, judges))
    return rng.binomial(1, chance[identity]).astype(float), np.ones((people * photos, judges)), identity


def test_interval_of_one_rate_is_that_of_the_single_rate() -> None:
    for events in (judged(0, judges=1)[0], np.zeros((200, 1)), np.ones((200, 1))):
        _, trials, identity = judged(0, judges=1)
        single = ratio_interval(events[:, 0], trials[:, 0], identity, 300, seed=4)
        assert joint_interval(events, trials, identity, 300, seed=4) == single


def test_interval_is_the_percentiles_of_means_over_an_explicit_resampling_loop() -> None:
    events, trials, identity = judged(1, people=12, judges=3)
    trials[7:19, 1] = 0  # a judge that answered for other photos
    rates = []
    for draw in np.concatenate([*identity_weights(12, 150, seed=5)]):
        rows = np.repeat(np.arange(len(events)), draw[identity])
        rates.append(np.mean((events * (trials > 0))[rows].sum(axis=0) / trials[rows].sum(axis=0)))
    interval = joint_interval(events, trials, identity, 150, seed=5)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.percentile(rates, [2.5, 97.5])))
    assert interval.n_identities == 12


def test_interval_agrees_with_the_percentile_bootstrap_of_scipy() -> None:
    events, trials, identity = judged(2)
    by_person = ((sums := PersonSums.of(events, trials, identity)).numerator / sums.denominator).mean(axis=1)
    theirs = bootstrap(
        (by_person,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    ours = joint_interval(events, trials, identity, 20_000, seed=1)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.003)


def test_interval_is_narrower_than_the_mean_of_ends_where_judges_disagree_and_equal_where_they_agree() -> None:
    events, trials, identity = judged(3)
    ends = ratio_intervals(events, trials, identity, 2000, seed=0)
    joint = joint_interval(events, trials, identity, 2000, seed=0)
    assert joint.high - joint.low < 0.6 * np.mean([end.high - end.low for end in ends])
    same = np.repeat(events[:, :1], 6, axis=1)
    joint = joint_interval(same, trials, identity, 2000, seed=0)
    assert (joint.low, joint.high) == pytest.approx((ends[0].low, ends[0].high))


def test_joint_interval_covers_the_mean_of_correlated_judges() -> None:
    covered, repeats = 0, 200
    for repeat in range(repeats):
        events, trials, identity = judged(100 + repeat)
        interval = joint_interval(events, trials, identity, 300, seed=repeat)
        covered += interval.low <= 0.6 <= interval.high
    assert 0.90 <= covered / repeats <= 0.99


def test_cells_over_other_people_are_drawn_over_all_of_them() -> None:
    rng = np.random.default_rng(8)
    cells = [
        (rng.integers(2, size=n).astype(float), np.ones(n), [f"p{i}" for i in range(first, first + n)])
        for first, n in ((0, 20), (15, 25), (60, 10))
    ]
    rows = np.repeat(range(3), [len(events) for events, _, _ in cells])
    trials = (rows[:, None] == range(3)).astype(float)
    events = np.concatenate([events for events, _, _ in cells])[:, None] * trials
    interval = joint_interval(events, trials, np.concatenate([people for _, _, people in cells]), 4000, seed=0)
    assert interval.n_identities == 50
    assert interval.value == pytest.approx(np.mean([events.mean() for events, _, _ in cells]))
    apart = [events.mean() * (1 - events.mean()) / len(events) for events, _, _ in (cells[0], cells[2])]
    assert interval.high - interval.low > 2 * 1.96 * np.sqrt(sum(apart)) / 3  # at least the spread of the two apart


def test_weights_give_the_mean_of_means() -> None:
    events, trials, identity = judged(4, judges=3)
    rates = events.mean(axis=0)
    interval = joint_interval(events, trials, identity, 100, seed=0, weights=[0.5, 0.5, 1])
    assert interval.value == pytest.approx((rates[:2].mean() + rates[2]) / 2)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_mean_of_rates_without_spread_has_the_wilson_interval_of_the_people(rate: float) -> None:
    identity = np.repeat(np.arange(50), 4)
    interval = joint_interval(np.full((200, 8), rate), np.ones((200, 8)), identity, 200, seed=0)
    assert (interval.low, interval.high) == pytest.approx(wilson(50 * rate, 50))


def test_rates_at_both_ends_do_not_get_the_interval_of_one_half() -> None:
    identity = np.arange(50)
    events = np.concatenate([np.zeros((50, 2)), np.ones((50, 2))], axis=1)
    interval = joint_interval(events, np.ones((50, 4)), identity, 200, seed=0)
    none_of_50 = wilson(0, 50)[1]
    assert (interval.low, interval.high) == pytest.approx((0.5 - none_of_50 / 2, 0.5 + none_of_50 / 2))


def test_mean_with_a_missing_term_is_missing() -> None:
    events, trials, identity = judged(5)
    trials[:, 2] = 0
    assert np.isnan(joint_interval(events, trials, identity, 100, seed=0).value)


def test_means_of_values_may_leave_the_unit_interval_and_equal_values_are_exact() -> None:
    identity = np.repeat(np.arange(10), 3)
    values = np.random.default_rng(0).normal(35, 2, (30, 2))
    interval = joint_interval(values, np.ones((30, 2)), identity, 400, seed=0, bounded=False)
    assert interval.low < values.mean() < interval.high
    exact = joint_interval(np.full((30, 2), 8.0), np.ones((30, 2)), identity, 100, seed=0, bounded=False)
    assert (exact.low, exact.value, exact.high) == (8.0, 8.0, 8.0)
    alone = joint_interval(values, np.ones((30, 2)), np.zeros(30), 100, seed=0, bounded=False)
    assert np.isnan(alone.low)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"numerator": np.full((4, 2), 2.0)}, "0 <= numerator <= denominator"),
        ({"numerator": np.ones((4, 3))}, r"both be \[N, K\]"),
        ({"numerator": np.full((4, 2), np.inf)}, "not finite"),
        ({"resamples": 0}, "resamples"),
    ],
)
def test_bad_input_is_refused(changed: dict[str, object], message: str) -> None:
    given = {"numerator": np.ones((4, 2)), "denominator": np.ones((4, 2)), "identity": range(4), "resamples": 9}
    with pytest.raises(ValueError, match=message):
        joint_interval(**(given | {"seed": 0} | changed))  # type: ignore[arg-type]


def test_means_worked_out_together_are_those_worked_out_alone() -> None:
    events, trials, identity = judged(6, people=20, judges=4)
    trials[:40, 3] = 0  # a costly method, on fewer people
    sums = PersonSums.of(events, trials, identity)
    means = [CellMean((0, 1), (1, 1)), CellMean((0, 1, 2), (1, 1, 2)), CellMean((3,), (1,))]
    together = joint_intervals(sums, means, 200, seed=3)
    assert together == [joint_intervals(sums, [mean], 200, seed=3)[0] for mean in means]
    assert [one.n_identities for one in together] == [20, 20, 12]
