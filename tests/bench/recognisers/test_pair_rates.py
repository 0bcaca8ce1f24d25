"""Pair accuracy and the ROC curve against counting by hand, explicit resampling and an independent implementation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakbench.bench.recognisers.pair_rates import (
    ScoredPairs,
    area_under_curve,
    best_threshold,
    fold_accuracies,
    folds_by_order,
    pair_rates,
    people_of_pairs,
)
from cloakbench.bench.statistics.intervals import identity_weights
from cloakbench.models.training import evaluate


def scored(seed: int, people: int = 12, per_kind: int = 60, folds: int = 5, digits: int = 2) -> ScoredPairs:
    """Overlapping scores with ties; genuine pairs of all people, impostor pairs of all pairs of people."""
    rng = np.random.default_rng(seed)
    same = np.repeat([True, False], per_kind)
    left = rng.integers(people, size=2 * per_kind)
    right = np.where(same, left, (left + rng.integers(1, people, size=2 * per_kind)) % people)
    score = np.round(np.where(same, 0.5, 0.1) + rng.normal(0, 0.25, size=2 * per_kind), digits)
    return ScoredPairs(score, same, folds_by_order(same, folds), left, right)


def table(pairs: ScoredPairs, resamples: int = 50, **options: object):
    return pair_rates(pairs, resamples, 0, **options).set_index("metric")  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), digits=st.integers(1, 3))
def test_the_best_threshold_is_the_best_of_all(seed: int, digits: int) -> None:
    pairs = scored(seed, per_kind=15, digits=digits)
    chosen = best_threshold(pairs.score, pairs.same)
    right = [((pairs.score > t) == pairs.same).mean() for t in np.linspace(-2, 3, 5001) + 0.00049]
    assert ((pairs.score > chosen) == pairs.same).mean() == pytest.approx(max(right))
    assert not np.isin(chosen, pairs.score).any() or chosen == pairs.score.max()


def test_of_equal_thresholds_the_middle_one_is_taken() -> None:
    score, same = np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])
    assert best_threshold(score, same) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="of one person and of two"):
        best_threshold(score, np.ones(4, dtype=bool))


def test_a_fold_is_decided_by_the_other_folds() -> None:
    """Fold 0 would choose 0.85 and decide all; the others choose 0.35 and get three of four right."""
    score = np.array([0.9, 0.95, 0.2, 0.8] + [0.5, 0.6, 0.1, 0.2] * 2)
    same = np.array([True, True, False, False] * 3)
    fold = np.repeat([0, 1, 2], 4)
    nobody = np.zeros(12, dtype=int)
    accuracies, thresholds = fold_accuracies(ScoredPairs(score, same, fold, nobody, nobody))
    assert thresholds[0] == pytest.approx(0.35)
    assert accuracies[0] == 0.75


def test_accuracy_is_the_mean_over_folds_with_its_standard_error() -> None:
    pairs = scored(1)
    accuracies, _ = fold_accuracies(pairs)
    row = table(pairs).loc["accuracy"]
    assert row["value"] == pytest.approx(np.mean(accuracies))
    spread = np.sqrt(np.sum((accuracies - np.mean(accuracies)) ** 2) / (len(accuracies) - 1))
    assert row["standard_error"] == pytest.approx(spread / np.sqrt(len(accuracies)))
    assert np.isnan(row["low"])


def test_pairs_without_a_score_are_left_out_or_count_as_wrong() -> None:
    pairs = scored(2)
    broken = ScoredPairs(pairs.score.copy(), pairs.same, pairs.fold, pairs.left, pairs.right)
    broken.score[::7] = np.nan
    rates = table(broken)
    usable = broken.usable()
    accuracies, _ = fold_accuracies(usable)
    sizes = [(usable.fold == f).sum() / (pairs.fold == f).sum() for f in np.unique(pairs.fold)]
    assert rates.loc["accuracy", "value"] == pytest.approx(accuracies.mean())
    assert rates.loc["accuracy_failed_wrong", "value"] == pytest.approx((accuracies * sizes).mean())
    assert rates.loc["accuracy", ["n", "n_failed"]].tolist() == [102, 18]
    assert rates.loc["accuracy_failed_wrong", ["n", "n_failed"]].tolist() == [120, 0]
    assert rates.loc["auc", ["n", "n_failed"]].tolist() == [102, 18]
    whole = table(pairs)
    assert whole.loc["accuracy", "value"] == whole.loc["accuracy_failed_wrong", "value"]


def test_a_fold_that_is_lost_as_a_whole_is_all_wrong() -> None:
    pairs = scored(3)
    pairs.score[pairs.fold == 0] = np.nan
    rates = table(pairs)
    assert rates.loc["accuracy_failed_wrong", "value"] == pytest.approx(rates.loc["accuracy", "value"] * 4 / 5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), digits=st.integers(1, 3))
def test_the_curve_agrees_with_counting_pairs_of_pairs(seed: int, digits: int) -> None:
    pairs = scored(seed, digits=digits)
    genuine, impostor = pairs.score[pairs.same], pairs.score[~pairs.same]
    rates = table(pairs, resamples=1, fars=(0.5, 0.1))
    wins = [(g > i) + 0.5 * (g == i) for g in genuine for i in impostor]
    assert rates.loc["auc", "value"] == pytest.approx(np.mean(wins))
    assert area_under_curve(genuine, impostor) == pytest.approx(np.mean(wins))
    for far, label in ((0.5, "5e-1"), (0.1, "1e-1")):
        allowed = [t for t in [*pairs.score, 9] if (impostor > t).mean() <= far]
        assert rates.loc[f"tar_far_{label}", "value"] == pytest.approx((genuine > min(allowed)).mean())
    errors = [((impostor > t).mean(), (genuine <= t).mean()) for t in sorted({*pairs.score, -9, 9})]
    worse = min(max(pair) for pair in errors)
    better = max(min(pair) for pair in errors)
    assert better - 1e-9 <= rates.loc["eer", "value"] <= worse + 1e-9


def test_area_agrees_with_the_one_of_the_zoo_training() -> None:
    rng = np.random.default_rng(0)
    genuine, impostor = np.round(rng.normal(0.5, 0.2, 300), 2), np.round(rng.normal(0.2, 0.2, 500), 2)
    theirs = evaluate.area_under_curve(torch.from_numpy(genuine), torch.from_numpy(impostor))
    assert area_under_curve(genuine, impostor) == pytest.approx(theirs)


def test_intervals_are_those_of_an_explicit_identity_bootstrap() -> None:
    pairs = scored(4, people=8)
    row = table(pairs, resamples=100).loc["auc"]
    replicates = []
    for draw in np.concatenate([*identity_weights(8, 100, 0)]):
        genuine, impostor = [], []
        for score, same, a, b in zip(pairs.score, pairs.same, pairs.left, pairs.right, strict=True):
            (genuine if same else impostor).extend([score] * int(draw[a] if same else draw[a] * draw[b]))
        replicates.append(area_under_curve(np.array(genuine), np.array(impostor)))
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.nanpercentile(replicates, [2.5, 97.5])))
    assert row["n_identities"] == 8


def test_perfect_scores_pretend_no_certainty() -> None:
    pairs = scored(5)
    perfect = ScoredPairs(pairs.same.astype(float), pairs.same, pairs.fold, pairs.left, pairs.right)
    rates = table(perfect)
    assert rates.loc["auc", "value"] == 1
    assert np.isnan(rates.loc["auc", "low"])
    assert rates.loc["eer", ["value", "low"]].tolist() == [0, 0]
    assert 0 < rates.loc["eer", "high"] < 0.5
    assert rates.loc["auc", "note"] == "every draw of people agrees"


def test_too_few_pairs_are_gaps_with_reasons() -> None:
    pairs = scored(6, per_kind=30)
    rates = table(pairs, fars=(0.1, 0.01))
    assert rates.loc["tar_far_1e-1", "note"] == "rests on 3 accepted different pairs"
    few = ScoredPairs(*(column[25:35] for column in (pairs.score, pairs.same, pairs.fold, pairs.left, pairs.right)))
    assert "rests on" not in table(few).loc["auc", "note"]
    assert table(few).loc["accuracy", "status"] == "unavailable", "beside one of its two folds only one kind is left"
    assert rates.loc["tar_far_1e-2", "status"] == "unavailable"
    assert "needs 100" in rates.loc["tar_far_1e-2", "note"]
    only = ScoredPairs(
        *(column[pairs.same] for column in (pairs.score, pairs.same, pairs.fold, pairs.left, pairs.right))
    )
    assert table(only)["value"].isna().all()
    one_fold = ScoredPairs(pairs.score, pairs.same, pairs.fold * 0, pairs.left, pairs.right)
    assert table(one_fold).loc["accuracy", "status"] == "unavailable"
    assert table(one_fold).loc["auc", "status"] == "ok"


def test_folds_by_order_are_tenths_of_either_kind() -> None:
    same = np.array([True] * 25 + [False] * 40)
    fold = folds_by_order(same)
    assert (np.diff(fold[same]) >= 0).all()
    assert (np.diff(fold[~same]) >= 0).all()
    assert np.bincount(fold[~same]).tolist() == [4] * 10
    assert set(np.bincount(fold[same])) == {2, 3}


def test_people_are_folders_linked_by_pairs() -> None:
    left = ["ada/1.png", "ada/1.png", "ben/front/1.png", "cleo/1.png"]
    right = ["ada/2.png", "ben/front/1.png", "ben/side/2.png", "ben/front/3.png"]
    a, b = people_of_pairs(left, right, np.array([True, False, True, False]))
    ada, ben, cleo = a[0], a[2], a[3]
    assert len({ada, ben, cleo}) == 3
    assert (b == [ada, ben, ben, ben]).all()


def test_a_folder_that_holds_several_people_is_no_person() -> None:
    left, right = ["all/1.png", "all/1.png", "all/4.png"], ["all/2.png", "all/3.png", "all/5.png"]
    a, b = people_of_pairs(left, right, np.array([True, False, False]))
    assert a[0] == b[0] == a[1]
    assert len({*a, *b}) == 4
    loose = people_of_pairs(["1.png"], ["2.png"], np.array([False]))
    assert loose[0][0] != loose[1][0]
