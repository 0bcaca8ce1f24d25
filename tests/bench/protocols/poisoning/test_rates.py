"""The poisoning protocol against hand computations, and what it does when a training has no answer."""

from __future__ import annotations

import numpy as np
import pytest

from cloakbench.bench.protocols.poisoning.rates import (
    METRICS,
    PSR,
    SEED_SD,
    TRAIN_ACCURACY,
    Training,
    chance_psr,
    poisoning_measurements,
    poisoning_records,
)

LABELS = [0, 0, 1, 1, 2, 2]
PEOPLE = ["ann", "ann", "bob", "bob", "cleo", "cleo"]
PHOTOS = [f"{name}/{number}" for number, name in enumerate(PEOPLE)]


def measured(*answers: Training):
    records = poisoning_records(dict(enumerate(answers)), LABELS, PHOTOS, PEOPLE)
    rates = poisoning_measurements(records, resamples=500, seed=0)
    return records, rates.set_index("metric")


def test_psr_is_the_share_of_wrong_answers_averaged_over_seeds() -> None:
    _, rates = measured(Training([0, 1, 1, 1, 2, 0], 1.0), Training([0, 1, 0, 0, 2, 2], 0.5))
    # Seed 0 errs on photos 1 and 5, seed 1 on 1, 2 and 3: (2 + 3) / 12.
    assert rates.loc[PSR, "value"] == pytest.approx(5 / 12)
    assert rates.loc[SEED_SD, "value"] == pytest.approx(np.std([2 / 6, 3 / 6], ddof=1))
    assert rates.loc[TRAIN_ACCURACY, "value"] == pytest.approx(0.75)
    assert rates.loc[PSR, ["n", "n_failed", "n_identities"]].tolist() == [6, 0, 3]
    assert list(rates.index) == [metric.name for metric in METRICS]


def test_the_interval_resamples_people_and_a_seed_is_no_photo() -> None:
    once = measured(Training([1, 1, 1, 1, 2, 0], 1.0))[1].loc[PSR]
    twice = measured(*[Training([1, 1, 1, 1, 2, 0], 1.0)] * 2)[1].loc[PSR]
    assert once[["value", "low", "high", "n"]].tolist() == twice[["value", "low", "high", "n"]].tolist()
    # Rates of the three people are 1, 0 and 1/2; no draw of people leaves 0 .. 1, and some reach both ends.
    assert (once["low"], once["value"], once["high"]) == pytest.approx((0.0, 0.5, 1.0), abs=0.17)


def test_records_say_what_every_training_said_of_every_photo() -> None:
    records, _ = measured(Training([0, 1, 1, 1, 2, 0], 1.0), Training([0, 0, 1, 1, 2, 2], 1.0))
    assert len(records) == 12
    wrong = records[records["wrong"] == 1]
    assert wrong[["image_id", "seed", "predicted"]].to_numpy().tolist() == [[PHOTOS[1], 0, 1], [PHOTOS[5], 0, 0]]


def test_a_training_that_failed_leaves_a_gap_and_never_a_partial_mean() -> None:
    lost = Training((), status="target_failed", note="FloatingPointError: the loss is nan")
    records, rates = measured(Training([0, 0, 1, 1, 2, 2], 1.0), lost)
    assert rates["value"].isna().all()
    assert (rates["status"] == "target_failed").all()
    assert rates.loc[PSR, "note"] == "1 of 2 trainings failed; FloatingPointError: the loss is nan"
    assert rates.loc[PSR, "n_failed"] == 6
    assert records.loc[records["seed"] == 1, ["predicted", "wrong"]].isna().all(axis=None)


def test_photos_without_a_finite_score_are_failures_of_the_target() -> None:
    records, rates = measured(Training([0, -1, 1, 1, 2, 2], 1.0))
    assert records["status"].tolist() == ["ok", "target_failed", "ok", "ok", "ok", "ok"]
    assert rates.loc[PSR, "n_failed"] == 1
    assert np.isnan(rates.loc[PSR, "value"])


def test_one_seed_has_no_spread() -> None:
    _, rates = measured(Training([0, 0, 1, 1, 2, 2], 1.0))
    assert rates.loc[PSR, "value"] == 0
    assert SEED_SD not in rates.index


def test_chance() -> None:
    assert chance_psr(50) == pytest.approx(0.98)


def test_an_answer_for_other_photos_is_refused() -> None:
    with pytest.raises(ValueError, match="seed 0 answered for"):
        measured(Training([0, 1], 1.0))
