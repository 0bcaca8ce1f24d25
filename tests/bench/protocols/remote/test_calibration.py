"""Services that publish no false accept rate are calibrated on impostor pairs, where the budget allows it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from emulators.baidu import BaiduEmulator
from emulators.remote_runs import Words, ran, rates, tables

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.status import OK, UNAVAILABLE
from cloakbench.bench.protocols.remote.impostor_thresholds import Impostors, publishes_rates, thresholds_of
from cloakbench.datasets.base import FaceSet
from cloakbench.models.pictures import PictureLimits
from cloakbench.models.services import COMPARE, ServiceCard, Thresholds

PAIRS = 60
CALIBRATED = (
    "~services.facepp",
    "+service@services.baidu=baidu",
    "protocols.remote.services=[baidu]",
    "protocols.remote.operations=[compare]",
    "protocols.remote.fars=[0.2,0.001]",
    f"protocols.remote.impostor_pairs={PAIRS}",
    "dataset.impostor_identities=12",
    "services.baidu.line.calls_per_second=1000",
    "+services.baidu.line.price_per_call.compare=0.01",
    "remote.calibrate=true",
)


def faces_of(photos: dict[str, int]) -> FaceSet:
    people = [person for person, count in photos.items() for _ in range(count)]
    names = [f"{person}{number}" for person, count in photos.items() for number in range(count)]
    return FaceSet(torch.zeros(len(people), 3, 8, 8, dtype=torch.uint8), tuple(names), tuple(people))


def test_pairs_are_of_different_people_each_once_and_everybody_as_often() -> None:
    faces = faces_of({"a": 2, "b": 2, "c": 1, "d": 2, "e": 2})
    every = Impostors.of(faces, 1000)
    assert len(set(every.pairs)) == len(every)
    assert all(faces.identity[one] != faces.identity[other] for one, other in every.pairs)
    first = Impostors.of(faces, 10)
    assert first.pairs == every.pairs[:10]
    assert np.bincount(first.people().ravel()).tolist() == [4] * 5
    assert len(Impostors.of(faces_of({"a": 3}), 10)) == 0


def test_a_threshold_is_the_smallest_score_that_at_most_so_many_impostors_reach() -> None:
    draw = np.random.default_rng(0)
    scores = draw.normal(50, 10, 400).round(1)  # services round: equal scores are accepted together or not at all
    people = draw.integers(0, 20, (400, 2))
    table = thresholds_of(scores, people, [0.1, 0.05, 0.01], 200, 0).set_index("far")
    for far in (0.1, 0.05):
        threshold = table.loc[far, "threshold"]
        lower = max(score for score in scores if score < threshold)
        assert (scores >= threshold).mean() <= far < (scores >= lower).mean()
        assert table.loc[far, "low"] <= threshold <= table.loc[far, "high"]
    assert table.loc[0.01, "status"] == UNAVAILABLE and "needs 1000" in table.loc[0.01, "note"]
    assert table.loc[0.1, "status"] == OK and table.loc[0.1, "n_pairs"] == 400


def test_pairs_without_a_score_are_left_out_and_counted() -> None:
    scores = np.r_[np.full(50, np.nan), np.linspace(0, 1, 100)]
    people = np.stack([np.arange(150) % 7, np.arange(150) % 11 + 7], axis=1)
    [row] = thresholds_of(scores, people, [0.1], 50, 0).to_dict("records")
    assert row["n_pairs"] == 100 and row["note"] == "50 pairs without a score left out"


@pytest.mark.parametrize(
    ("known", "publishes"),
    [
        ({}, False),
        ({COMPARE: Thresholds(recommended=80.0)}, False),
        ({COMPARE: Thresholds({1e-3: 40.0})}, True),
        ({COMPARE: Thresholds(source="answer")}, True),
    ],
)
def test_a_service_with_published_rates_is_not_calibrated(known: dict[str, Thresholds], publishes: bool) -> None:
    limits = PictureLimits()
    card = ServiceCard("s", "S", "h", "1", frozenset({COMPARE}), limits, 1, "", "2026-11-27", thresholds=known)
    assert publishes_rates(card) == publishes


@pytest.fixture
def baidu(monkeypatch: pytest.MonkeyPatch, words: Words) -> tuple[BaiduEmulator, list[str]]:
    emulator = BaiduEmulator()
    monkeypatch.setenv("CLOAKBENCH_BAIDU_KEY", emulator.key)
    monkeypatch.setenv("CLOAKBENCH_BAIDU_SECRET", emulator.secret)
    return emulator, [*words(*CALIBRATED)]


@pytest.mark.slow
def test_rates_stand_at_calibrated_thresholds_and_are_asked_for_once(
    baidu: tuple[BaiduEmulator, list[str]],
) -> None:
    emulator, words = baidu
    heard: list[float] = []
    score = emulator.score
    emulator.score = lambda a, b: heard.append(score(a, b)) or heard[-1]  # type: ignore[func-returns-value]
    with emulator.running() as url:
        here = f"services.baidu.line.base_url={url}"
        outcome = ran([*words, here])
        assert outcome.problems == []
        assert emulator.calls["match"] == PAIRS + 54
        calls, printed = emulator.total, tables(outcome)
        assert tables(ran([*words, here])) == printed and emulator.total == calls
    threshold = np.sort(np.round([100 * one for one in heard[:PAIRS]], 6))[::-1][int(0.2 * PAIRS)]
    told = outcome.results.setup["thresholds_of_baidu"]
    assert told.startswith(f"{threshold:.2f} [") and told.endswith("at FAR 0.2; from 60 impostor pairs of 12 people")
    records = outcome.results.records["remote"]
    assert np.allclose(records["threshold_calibrated_far_2e-1"].dropna(), threshold)
    dodged = rates(outcome, "remote_dodging_calibrated_far_2e-1")
    assert set(dodged) == {"identity", "random_sign", "pgd"}
    own = records.loc[records["method"] == "pgd"]
    assert dodged["pgd"] == (own["score"] <= threshold).mean()
    assert np.isnan(rates(outcome, "remote_dodging_calibrated_far_1e-3")["pgd"])


@pytest.mark.parametrize("limit", ["remote.max_calls=59", "remote.max_cost=0.59"])
def test_a_calibration_over_the_budget_is_refused_in_one_line(
    baidu: tuple[BaiduEmulator, list[str]], limit: str
) -> None:
    emulator, words = baidu
    with emulator.running() as url, pytest.raises(ConfigError, match=r"remote\.calibrate compares 60 impostor") as one:
        ran([*words, f"services.baidu.line.base_url={url}", limit])
    assert limit in str(one.value) and "\n" not in str(one.value) and emulator.total == 0


def test_a_calibration_without_impostors_is_refused(baidu: tuple[BaiduEmulator, list[str]]) -> None:
    emulator, words = baidu
    with emulator.running() as url, pytest.raises(ConfigError, match="needs photos of impostors, and data set"):
        ran([*words, "dataset.impostor_identities=0", f"services.baidu.line.base_url={url}"])
