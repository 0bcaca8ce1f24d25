"""Dodging and impersonation against loops over pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cloakbench.bench.protocols.recognition.responses import Responses
from cloakbench.bench.protocols.verification.protocol import Verification, far_label


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


def test_legacy_thresholds_stand_beside_calibrated_ones_under_names_of_their_own() -> None:
    legacy = {0.1: 0.3, 0.01: 0.5, 0.001: float("nan")}
    r = replace(responses(6, [3, 3], THRESHOLDS), legacy_thresholds=legacy)
    assert r.target_embeddings is not None
    both, calibrated = Verification(thresholds="both"), Verification()
    table = both.measurements(both.records(r), 20, seed=0).set_index("metric")
    plain = calibrated.measurements(calibrated.records(r), 20, seed=0).set_index("metric")
    assert table.loc[plain.index, "value"].tolist() == pytest.approx(plain["value"].tolist(), nan_ok=True)
    similarity = (r.protected * r.target_embeddings).sum(dim=1)
    for far in (0.1, 0.01):
        row = table.loc[f"impersonation_legacy_far_{far_label(far)}"]
        assert row["value"] == pytest.approx(float((similarity > legacy[far]).float().mean()))
    gap = table.loc["impersonation_legacy_far_1e-3"]
    assert gap["status"] == "unavailable"
    assert "no legacy constant" in gap["note"]
    assert both.rank_by == calibrated.rank_by


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
    assert table["metric"].tolist() == [metric.name for metric in protocol.metrics]


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"fars is .*: it must be"):
        Verification([0.1, 1.0])
    with pytest.raises(ValueError, match="calibrate with the same rates"):
        Verification([0.1, 0.05]).records(responses(6, [2, 2], THRESHOLDS))
    with pytest.raises(ValueError, match="thresholds is copied: it must be one of calibrated, legacy"):
        Verification(thresholds="copied")  # type: ignore[arg-type]


def test_legacy_thresholds_come_from_the_card_and_are_a_gap_without_one() -> None:
    r = replace(responses(7, [4, 4, 4], THRESHOLDS), legacy_thresholds={0.1: 0.4, 0.01: 0.8, 0.001: float("nan")})
    legacy, calibrated = Verification(thresholds="legacy"), Verification()
    table = legacy.measurements(legacy.records(r), 20, seed=0).set_index("metric")
    same = replace(r, thresholds={0.1: 0.4, 0.01: 0.8, 0.001: float("nan")})
    expected = calibrated.measurements(calibrated.records(same), 20, seed=0).set_index("metric")
    assert table["value"].equals(expected["value"])
    assert table.loc["dodging_far_1e-3", "status"] == "unavailable"
    assert "no legacy constant" in table.loc["dodging_far_1e-3", "note"]
    unchanged = calibrated.measurements(calibrated.records(r), 20, seed=0).set_index("metric")
    assert not unchanged["value"].equals(table["value"])
    with pytest.raises(ValueError, match="calibrate with the same rates"):
        legacy.records(replace(r, legacy_thresholds={}))
