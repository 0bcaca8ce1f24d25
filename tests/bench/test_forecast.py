"""Forecasts: passes are those a real run counted, sums are those of the plan."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

from cloakbench.bench.composition import compose_config
from cloakbench.bench.forecast import (
    REFERENCE_RUNS,
    Estimator,
    Speed,
    count_passes,
    disk_bytes,
    probe_photos,
    reference_core_seconds,
)


def test_passes_are_those_of_the_reference_run() -> None:
    config = OmegaConf.load(REFERENCE_RUNS / "bench" / "config.yaml")
    costs = pd.read_parquet(REFERENCE_RUNS / "bench" / "data" / "costs.parquet")
    for key, method in config.methods.items():
        counted = count_passes(OmegaConf.to_container(method), str(key), probes=10, references=10)
        rows = costs[costs.method == key]
        assert len(rows)
        assert counted == pytest.approx((rows.forward_per_image.iloc[0], rows.backward_per_image.iloc[0])), key


def test_disk_is_the_cells_photos_and_the_targets_embeddings() -> None:
    config = compose_config(["experiment=smoke"])
    cells, photos, targets, size = 4, 40, 3, 128
    assert probe_photos(config) == photos
    assert disk_bytes(config) == cells * photos * (112 * 112 * 3 + targets * size * 4)


def test_photos_that_only_the_folder_knows_are_not_counted() -> None:
    config = compose_config(["experiment=real_faces", "dataset.root=photos"])
    assert probe_photos(config) is None
    assert disk_bytes(config) is None


def test_time_is_passes_times_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose_config(["experiment=smoke", "method=fgsm", "runtime.workers=2"])
    estimator = Estimator()
    monkeypatch.setattr(Estimator, "_speed", lambda *_: Speed(forward=1.0, backward=10.0))
    fgsm = (1 + 5 / 4) * 1.0 + 10.0  # the photo, and five references for each four photos; one pass back
    answers = 3 * 3 * 1.0  # two controls and the method, three targets
    assert estimator.seconds(config) == pytest.approx(40 * (fgsm + answers) / 2)


def test_only_kept_runs_have_a_time(tmp_path: Path) -> None:
    assert reference_core_seconds("bench") == pytest.approx(419.2, abs=0.1)
    assert reference_core_seconds("bench", tmp_path) is None
