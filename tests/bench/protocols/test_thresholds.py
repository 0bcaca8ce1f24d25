"""Thresholds are made once, shared by runs and ``calibrate``, and never kept when a photo has no embedding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.cli import calibrate as command
from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.experiment.run import run
from cloakbench.bench.protocols.verification.calibration import add_legacy, calibrate
from cloakbench.bench.protocols.verification.thresholds import KIND, Calibration, last_calibration, stored_thresholds
from cloakbench.bench.store.store import Store

SUPPORT = Path(__file__).parents[2] / "support" / "conf"
LEGACY = (0.2, 0.4, 0.6)
PEOPLE = tuple(f"person{i // 4}" for i in range(80))
CALIBRATION = Calibration("model", "pixels", PEOPLE, (0.01, 0.1), LEGACY, resamples=20, seed=1, batch=100)


def embeddings() -> Tensor:
    draw = torch.Generator().manual_seed(0)
    centres = torch.randn(20, 8, generator=draw).repeat_interleave(4, 0)
    return F.normalize(centres + torch.randn(80, 8, generator=draw), dim=1)


def refuse() -> Tensor:
    raise AssertionError("the thresholds were to come from the store")


def test_the_second_time_nothing_is_embedded(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = stored_thresholds(store, CALIBRATION, embeddings)
    identity = torch.arange(20).repeat_interleave(4)
    expected = add_legacy(calibrate(embeddings(), identity, (0.01, 0.1), 20, 1), embeddings(), identity, LEGACY, 20, 1)
    pd.testing.assert_frame_equal(first, expected)
    pd.testing.assert_frame_equal(stored_thresholds(store, CALIBRATION, refuse), first)


def test_asking_again_says_again_which_calibration_was_the_last(tmp_path: Path) -> None:
    """As ``calibrate`` is what ``protect`` advises where it finds none: after damage, or one at other rates."""
    store = Store(tmp_path)
    for disturb in (
        lambda: store.remove("last_calibrations", "model", ".json"),
        lambda: stored_thresholds(store, replace(CALIBRATION, fars=(0.1,)), embeddings),
    ):
        stored_thresholds(store, CALIBRATION, embeddings)
        known = last_calibration(store, "model", 0.01)
        assert known is not None
        disturb()
        assert last_calibration(store, "model", 0.01) is None
        stored_thresholds(store, CALIBRATION, refuse)
        assert last_calibration(store, "model", 0.01) == known


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"pixels": "other"},
        {"people": tuple(reversed(PEOPLE))},
        {"fars": (0.1,)},
        {"legacy": None},
        {"resamples": 21},
        {"seed": 2},
        {"batch": 50},
    ],
)
def test_whatever_decides_a_threshold_names_it(change: dict[str, object]) -> None:
    assert replace(CALIBRATION, **change).key() != CALIBRATION.key()  # type: ignore[arg-type]


def test_thresholds_without_some_photos_are_not_kept(tmp_path: Path) -> None:
    broken = embeddings()
    broken[3] = torch.nan
    table = stored_thresholds(Store(tmp_path), CALIBRATION, lambda: broken)
    assert table["note"].str.contains("1 photos without an embedding").all()
    with pytest.raises(AssertionError, match="from the store"):
        stored_thresholds(Store(tmp_path), CALIBRATION, refuse)


@pytest.fixture
def legacy_run(tiny_overrides: list[str]) -> list[str]:
    return [
        *tiny_overrides,
        "method=identity",
        "~transforms.jpeg",
        "protocols.verification.fars=[0.1,0.01]",
        "+targets.tiny1.legacy_thresholds=[0.1,0.2,0.3]",
    ]


def rates(words: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clean dodging rates by metric and target, and the thresholds, of the tiny experiment."""
    results = run(compose_config(words, config_dirs=[str(SUPPORT)])).results
    clean = results.measurements.query("protocol == 'verification' and method == 'identity'")
    return clean.set_index(["metric", "judge"]), results.thresholds.set_index(["judge", "far"])


def test_a_run_judges_by_legacy_thresholds_when_asked(legacy_run: list[str], tmp_path: Path) -> None:
    calibrated, _ = rates(legacy_run)
    legacy, thresholds = rates([*legacy_run, "protocols.verification.thresholds=legacy"])
    assert set(thresholds["used"]) == {"legacy"}
    assert thresholds.loc[("tiny1", 0.01), "legacy"] == 0.2
    assert thresholds.loc[("tiny1", 0.01), "threshold"] != 0.2
    assert thresholds.loc["tiny2", "legacy"].isna().all()
    metric = "dodging_far_1e-2"
    assert calibrated.loc[(metric, "tiny1"), "value"] > 0
    assert legacy.loc[(metric, "tiny1"), "value"] == 0, "every pair of these networks is above 0.2"
    assert legacy.loc[(metric, "tiny2"), "status"] == "unavailable"
    assert "no legacy constant" in legacy.loc[(metric, "tiny2"), "note"]
    assert np.isnan(legacy.loc[(metric, "tiny2"), "value"])
    assert (calibrated["status"] != "unavailable").all()
    kept = list((tmp_path / "results" / "store" / KIND).rglob("*.parquet"))
    assert len(kept) == 2, "one table per target, whatever the protocol takes"


@pytest.mark.slow
def test_calibrate_finds_what_a_run_has_stored(
    legacy_run: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, thresholds = rates(legacy_run)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results" / "store").rglob("*.*")}
    sizes = ["identities=6", "references_per_identity=3", "probes_per_identity=3", "distractors=40"]
    sizes += ["auxiliary_identities=4", "impostor_identities=30"]
    words = ["model=tiny1", "dataset=synthetic", *(f"dataset.{size}" for size in sizes), "fars=[0.1,0.01]"]
    words += ["+model.legacy_thresholds=[0.1,0.2,0.3]", "statistics.resamples=200", "--config-dir", str(SUPPORT)]
    words += [word for word in legacy_run if word.startswith("paths.")]
    assert command.main(words) == 0
    shown = capsys.readouterr().out
    assert f"{thresholds.loc[('tiny1', 0.01), 'threshold']:.4f}" in shown
    assert f"{thresholds.loc[('tiny1', 0.01), 'legacy_far']:.4f}" in shown
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "results" / "store").rglob("*.*")}
    assert after == before, "calibrate computed or wrote something"


def test_calibrate_refuses_rendered_faces_for_a_network_that_never_saw_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name faces with dataset="):
        command.main(["model=tiny1", "--config-dir", str(SUPPORT), f"paths.results={tmp_path}"])
    with pytest.raises(ValueError, match="cloakbench calibrate model=NAME"):
        command.main([])


def test_calibrate_says_when_there_are_too_few_people(
    tmp_path: Path, faces_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["model=tiny1", "dataset=synthetic", "--config-dir", str(SUPPORT), f"paths.results={tmp_path}"]
    words += [f"paths.cache={faces_cache}", "statistics.resamples=50"]
    assert command.main([*words, "dataset.impostor_identities=6"]) == 1
    shown = capsys.readouterr().out
    assert "needs 10000" in shown
    assert "no legacy thresholds" in shown
    with pytest.raises(ValueError, match="impostor_root"):
        command.main([*words, "dataset.impostor_identities=0"])
