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
    cell_photos,
    count_passes,
    disk_bytes,
    probe_photos,
    reference_core_seconds,
)
from cloakbench.bench.plan import build_cells


def test_passes_are_those_of_the_reference_run() -> None:
    config = OmegaConf.load(REFERENCE_RUNS / "bench" / "config.yaml")
    costs = pd.read_parquet(REFERENCE_RUNS / "bench" / "data" / "costs.parquet")
    limits = config.plan.limits
    for key, method in config.methods.items():
        if key in limits:  # fewer photos share what is learnt once
            continue
        counted = count_passes(OmegaConf.to_container(method), str(key), probes=10, references=10)
        rows = costs[costs.method == key]
        assert len(rows)
        assert counted == pytest.approx((rows.forward_per_image.iloc[0], rows.backward_per_image.iloc[0])), key


@pytest.mark.parametrize(
    ("name", "passes"), [("apf", (10.1, 10)), ("fawkes_v1_low", (41, 40)), ("tip_im", (1102, 1000))]
)
def test_costly_methods_can_be_counted_on_small_photos(name: str, passes: tuple[float, float]) -> None:
    more = ["method.width=4", "method.epochs=1"] if name == "apf" else []
    config = compose_config(["experiment=smoke", f"method={name}", *more])
    method = OmegaConf.to_container(config.method)
    assert count_passes(method, name, probes=10, references=10) == pytest.approx(passes, abs=2)


def test_a_limit_of_the_plan_leaves_photos_out() -> None:
    config = compose_config(["experiment=smoke", "+plan.limits.pgd={people: 3, photos: 2}"])
    counts = {cell.method: cell_photos(cell, config) for cell in build_cells(config)}
    assert counts == {"identity": 40, "random_sign": 40, "pgd": 6, "opom_convex_hull": 40}


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
    costs = pd.read_csv(REFERENCE_RUNS / "bench" / "tables" / "cost.csv")
    known = reference_core_seconds("bench")
    assert known is not None and known > 100
    assert known == pytest.approx((costs["seconds_per_image"] * costs["images"]).sum(), rel=0.01)
    assert reference_core_seconds("bench", tmp_path) is None
