"""Thresholds against sorted lists and explicit resampling; dodging and impersonation against loops over pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cloakbench.bench.protocols import verification
from cloakbench.bench.protocols.base import Responses
from cloakbench.bench.protocols.verification import Verification, calibrate, far_label
from cloakbench.bench.statistics import identity_weights


def faces(seed: int, people: int, photos: int, dimension: int = 16, noise: float = 0.6) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    identity = torch.arange(people).repeat_interleave(photos)
    centres = torch.randn(people, dimension, generator=draw)
    points = centres[identity] + noise * torch.randn(people * photos, dimension, generator=draw)
    return F.normalize(points, dim=1), identity


def impostor_scores(embeddings: Tensor, identity: Tensor) -> list[tuple[float, int, int]]:
    """(cosine, person, person) of all pairs of different people, by a double loop."""
    return [
        (float((embeddings[i].double() @ embeddings[j].double()).float()), int(identity[i]), int(identity[j]))
        for i in range(len(identity))
        for j in range(i)
        if identity[i] != identity[j]
    ]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), people=st.integers(6, 9), far=st.sampled_from([0.05, 0.1, 0.3]))
def test_threshold_is_the_smallest_that_keeps_the_rate(seed: int, people: int, far: float) -> None:
    embeddings, identity = faces(seed, people, 4)
    [row] = calibrate(embeddings, identity, [far], resamples=20).to_dict("records")
    scores = np.array([score for score, _, _ in impostor_scores(embeddings, identity)])
    assert row["n_pairs"] == len(scores)
    assert (scores > row["threshold"]).mean() <= far
    below = scores[scores < row["threshold"]].max()
    assert (scores > below).mean() > far
    assert row["low"] <= row["threshold"] <= row["high"]


def test_equal_scores_stay_on_one_side() -> None:
    """All impostor pairs score 0: only a threshold that accepts none of them keeps the rate."""
    embeddings = torch.eye(8).repeat_interleave(3, dim=0)
    table = calibrate(embeddings, torch.arange(8).repeat_interleave(3), [0.1, 0.2], resamples=10)
    assert table["threshold"].tolist() == [0, 0]


def test_rounding_of_the_rate_does_not_lose_a_pair() -> None:
    """0.29 * 100 is just below 29 in binary, 0.55 * 100 just above 55; both must allow the whole number of pairs."""
    angles = torch.linspace(0.1, 1.5, 100)
    embeddings = torch.cat([torch.tensor([[1.0, 0.0]]), torch.stack([angles.cos(), angles.sin()], dim=1)])
    identity = torch.tensor([0] + [1] * 100)
    scores = embeddings[1:, 0].sort(descending=True).values
    for far, allowed in [(0.29, 29), (0.57, 57), (0.55, 55)]:
        [threshold] = calibrate(embeddings, identity, [far], resamples=10)["threshold"]
        assert threshold == pytest.approx(float(scores[allowed]), abs=1e-7)


def test_interval_is_that_of_an_explicit_identity_bootstrap() -> None:
    embeddings, identity = faces(3, people=12, photos=5)
    pairs = sorted(impostor_scores(embeddings, identity), reverse=True)
    scores = np.array([score for score, _, _ in pairs])
    far, thresholds = 0.1, []
    for draw in np.concatenate(identity_weights(12, 200, seed=9)):
        weight = np.array([draw[a] * draw[b] for _, a, b in pairs])
        thresholds.append(scores[np.argmax(np.cumsum(weight) > far * weight.sum())])
    [row] = calibrate(embeddings, identity, [far], resamples=200, seed=9).to_dict("records")
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.percentile(thresholds, [2.5, 97.5])), abs=1e-6)


def test_thinning_the_tail_hardly_moves_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, identity = faces(4, people=40, photos=5)
    full = calibrate(embeddings, identity, [0.1], resamples=300)
    monkeypatch.setattr(verification, "_TAIL_PAIRS", 4000)
    thinned = calibrate(embeddings, identity, [0.1], resamples=300)
    width = float((full["high"] - full["low"]).iloc[0])
    for end in ("low", "high"):
        assert abs(thinned[end][0] - full[end][0]) < 0.1 * width


def test_interval_is_wider_than_that_of_independent_pairs() -> None:
    """19 900 pairs of 200 photos say less than 19 900 independent ones would."""
    embeddings, identity = faces(5, people=40, photos=5, noise=0.2)
    [row] = calibrate(embeddings, identity, [0.1], resamples=300).to_dict("records")
    scores = np.array([score for score, _, _ in impostor_scores(embeddings, identity)])
    rng = np.random.default_rng(0)
    naive = [np.quantile(rng.choice(scores, len(scores)), 0.9) for _ in range(200)]
    low, high = np.percentile(naive, [2.5, 97.5])
    assert row["high"] - row["low"] > 3 * (high - low)


def test_too_few_pairs_are_a_gap_with_the_number_needed() -> None:
    table = calibrate(*faces(0, 6, 3), fars=[0.1, 0.01], resamples=10).set_index("far")
    assert table.loc[0.1, "status"] == "ok"
    assert table.loc[0.01, "status"] == "unavailable"
    assert np.isnan(table.loc[0.01, "threshold"])
    assert table.loc[0.01, "note"] == "135 impostor pairs, a false accept rate of 0.01 needs 1000"


def test_few_people_have_a_threshold_but_no_interval() -> None:
    [row] = calibrate(*faces(0, 4, 5), fars=[0.1], resamples=10).to_dict("records")
    assert row["status"] == "ok"
    assert np.isnan([row["low"], row["high"]]).all()


def test_photos_without_an_embedding_are_left_out_and_counted() -> None:
    embeddings, identity = faces(1, 8, 5)
    broken = torch.cat([embeddings, torch.full((2, 16), torch.nan)])
    kept = calibrate(embeddings, identity, [0.1], resamples=10)
    table = calibrate(broken, torch.cat([identity, torch.tensor([0, 99])]), [0.1], resamples=10)
    assert table["note"].tolist() == ["2 photos without an embedding left out"]
    pd.testing.assert_frame_equal(table.drop(columns="note"), kept.drop(columns="note"))
    nothing = calibrate(torch.full((6, 4), torch.nan), torch.arange(6), [0.1], resamples=10)
    assert nothing["threshold"].isna().all()


def test_many_photos_are_cut_evenly_over_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "_MAX_PHOTOS", 20)
    embeddings, identity = faces(2, 8, 5)
    table = calibrate(embeddings, identity, [0.1], resamples=10)
    kept = torch.tensor([row for row in range(40) if row % 5 < 2 or (row % 5 == 2 and row < 20)])
    expected = calibrate(embeddings[kept], identity[kept], [0.1], resamples=10)
    pd.testing.assert_frame_equal(table, expected)
    assert table["n_identities"].tolist() == [8]


def responses(seed: int, sizes: list[int], thresholds: dict[float, float]) -> Responses:
    draw = torch.Generator().manual_seed(seed)
    identity = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    centres = torch.randn(len(sizes), 6, generator=draw)

    def unit(points: Tensor) -> Tensor:
        return F.normalize(points + 0.8 * torch.randn(points.shape, generator=draw), dim=1)

    clean = unit(centres[identity])
    target = unit(centres[(identity + 1) % len(sizes)])
    names = [f"photo{i}" for i in range(len(identity))]
    return Responses(unit(clean), clean, identity, names, target_embeddings=target, thresholds=thresholds)


THRESHOLDS = {0.1: 0.1, 0.01: 0.4, 0.001: 0.8}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_rates_follow_the_definitions(seed: int, sizes: list[int]) -> None:
    r = responses(seed, sizes, THRESHOLDS)
    assert r.target_embeddings is not None
    protocol = Verification()
    table = protocol.measurements(protocol.records(r), 20, seed=0).set_index("metric")
    pairs = [(i, j) for i in range(len(r.identity)) for j in range(len(r.identity))]
    pairs = [(i, j) for i, j in pairs if i != j and r.identity[i] == r.identity[j]]
    for far, tau in THRESHOLDS.items():
        label = f"far_{far_label(far)}"
        dodged = {(i, j): float(r.protected[i] @ r.clean[j]) <= tau for i, j in pairs}
        verified = [(i, j) for i, j in pairs if float(r.clean[i] @ r.clean[j]) > tau]
        taken = [float(p @ t) > tau for p, t in zip(r.protected, r.target_embeddings, strict=True)]
        expected = {
            f"dodging_{label}": [dodged[pair] for pair in pairs],
            f"dodging_{label}_given_clean": [dodged[pair] for pair in verified],
            f"impersonation_{label}": taken,
        }
        for metric, outcomes in expected.items():
            assert table.loc[metric, "n"] == len(outcomes)
            if outcomes:
                assert table.loc[metric, "value"] == pytest.approx(np.mean(outcomes))
            else:
                assert np.isnan(table.loc[metric, "value"])


def test_a_score_at_the_threshold_is_not_accepted() -> None:
    x, y = torch.eye(2)
    r = Responses(torch.stack([x, x]), torch.stack([x, x]), torch.tensor([0, 0]), ["a", "b"], thresholds={0.1: 1.0})
    records = Verification([0.1]).records(replace(r, target_embeddings=torch.stack([x, y])))
    assert records["dodged_far_1e-1"].tolist() == [1, 1]
    assert records["impersonated_far_1e-1"].tolist() == [0, 0]
    assert records["target_similarity"].tolist() == [1, 0]


def test_a_zero_mask_dodges_only_what_was_never_verified() -> None:
    r = responses(1, [4, 4, 4], THRESHOLDS)
    protocol = Verification()
    records = protocol.records(replace(r, protected=r.clean.clone()))
    table = protocol.measurements(records, 20, seed=0).set_index("metric")
    assert 0 < table.loc["dodging_far_1e-2", "value"] < 1
    assert (table.loc[[m for m in table.index if m.endswith("given_clean")], "value"].dropna() == 0).all()


def test_a_gap_in_the_thresholds_stays_a_gap() -> None:
    protocol = Verification()
    records = protocol.records(responses(2, [3, 3], THRESHOLDS | {0.001: float("nan")}))
    table = protocol.measurements(records, 20, seed=0).set_index("metric")
    gaps = table[table.index.str.contains("1e-3")]
    assert gaps[["value", "low", "high"]].isna().all(axis=None)
    assert (gaps["status"] == "unavailable").all()
    assert (gaps["n"] == 0).all()
    assert gaps["note"].str.contains("too few impostor pairs").all()
    assert (table.drop(gaps.index)["status"] == "ok").all()


def test_without_targets_impersonation_is_skipped() -> None:
    protocol = Verification([0.1])
    records = protocol.records(replace(responses(3, [3, 3], THRESHOLDS), target_embeddings=None))
    table = protocol.measurements(records, 20, seed=0).set_index("metric")
    assert table.loc["impersonation_far_1e-1", ["status", "n_failed"]].tolist() == ["skipped", 0]
    assert np.isnan(table.loc["impersonation_far_1e-1", "value"])
    assert table.loc["dodging_far_1e-1", "status"] == "ok"


def test_failures_never_become_numbers() -> None:
    r = responses(4, [3, 3], THRESHOLDS)
    assert r.target_embeddings is not None
    r.protected[0] = torch.nan
    r.target_embeddings[5] = torch.nan
    protocol = Verification([0.1])
    records = protocol.records(r)
    assert records["status"].tolist() == ["target_failed"] + ["ok"] * 5
    assert records["impersonated_far_1e-1"].isna().tolist() == [True, False, False, False, False, True]
    assert records.loc[0, ["own_similarity", "pairs", "dodged_far_1e-1", "target_similarity"]].isna().all()
    table = protocol.measurements(records, 20, seed=0).set_index("metric")
    assert table.loc["dodging_far_1e-1", ["n", "n_failed"]].tolist() == [10, 1]
    assert table.loc["impersonation_far_1e-1", ["n", "n_failed"]].tolist() == [4, 2]

    r.protected[:] = torch.nan
    table = protocol.measurements(protocol.records(r), 20, seed=0)
    assert table["value"].isna().all()
    assert (table["status"] == "target_failed").all()


@pytest.mark.parametrize(("far", "label"), [(0.1, "1e-1"), (0.01, "1e-2"), (1e-3, "1e-3"), (0.025, "2.5e-2")])
def test_rates_have_readable_labels(far: float, label: str) -> None:
    assert far_label(far) == label


def test_every_metric_has_a_card_in_order() -> None:
    protocol = Verification()
    table = protocol.measurements(protocol.records(responses(5, [3, 3], THRESHOLDS)), 10, 0)
    assert table["metric"].tolist() == list(protocol.cards())


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="fars must be"):
        Verification([0.1, 1.0])
    with pytest.raises(ValueError, match="calibrate with the same rates"):
        Verification([0.1, 0.05]).records(responses(6, [2, 2], THRESHOLDS))
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibrate(*faces(0, 6, 3), fars=[0.0])
