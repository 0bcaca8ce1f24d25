"""Forecasts: passes are those a real run counted, sums are those of the plan."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf, open_dict

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.doctor import estimate
from cloakbench.bench.doctor.estimate import Estimator, Speed, cell_photos, disk_bytes, probe_photos
from cloakbench.bench.plan.passes import count_passes, expected_passes
from cloakbench.bench.plan.plan import build_cells
from cloakbench.bench.protocols.poisoning.estimate import poisoning_seconds, published_photos

REFERENCE_RUNS = Path(__file__).resolve().parents[3] / "results" / "reference"


def test_passes_are_those_of_the_reference_run() -> None:
    config = OmegaConf.load(REFERENCE_RUNS / "bench" / "config.yaml")
    costs = pd.read_parquet(REFERENCE_RUNS / "bench" / "data" / "costs.parquet")
    limits = config.plan.limits
    for key, method in config.methods.items():
        if key in limits:  # fewer photos share what is learnt once
            continue
        probes = config.dataset.probes_per_identity
        counted = count_passes(OmegaConf.to_container(method), str(key), probes=probes, references=10)
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
    assert disk_bytes(config, build_cells(config)) == cells * photos * (112 * 112 * 3 + targets * size * 4)


def test_photos_that_only_the_folder_knows_are_not_counted() -> None:
    config = compose_config(["experiment=real_faces", "dataset.root=photos"])
    assert probe_photos(config) is None
    assert disk_bytes(config, build_cells(config)) is None


def test_time_is_passes_times_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose_config(["experiment=smoke", "method=fgsm", "runtime.workers=2"])
    estimator = Estimator()
    monkeypatch.setattr(Estimator, "speed", lambda *_: Speed(forward=1.0, backward=10.0))
    fgsm = (1 + 5 / 4) * 1.0 + 10.0  # the photo, and five references for each four photos; one pass back
    answers = 3 * 3 * 1.0  # two controls and the method, three targets
    assert estimator.seconds(config, build_cells(config)) == pytest.approx(40 * (fgsm + answers) / 2)


def test_what_was_timed_and_counted_today_is_not_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOAKBENCH_CACHE", str(tmp_path))
    config = compose_config(["experiment=smoke"])
    calls = {"timed": 0, "counted": 0}

    def timed(*_: object) -> Speed:
        calls["timed"] += 1
        return Speed(1.0, 2.0)

    def counted(*_: object, surrogates: int) -> tuple[float, float]:
        calls["counted"] += 1
        return 3.0, 4.0

    class Tomorrow(date):
        @classmethod
        def today(cls) -> Tomorrow:
            return cls(9999, 1, 1)

    monkeypatch.setattr(estimate, "measure_speed", timed)
    monkeypatch.setattr(estimate, "expected_passes", counted)
    seconds = []
    for number, expected in enumerate(((3, 2), (3, 2), (6, 2))):
        if number == 2:
            monkeypatch.setattr(estimate, "date", Tomorrow)
        estimator = Estimator()
        seconds += [estimator.seconds(config, build_cells(config)), estimator.seconds(config, build_cells(config))]
        estimator.save()
        assert (calls["timed"], calls["counted"]) == expected
    assert len(set(seconds)) == 1


@pytest.mark.parametrize(
    ("name", "passes"), [("advcloak_convex_hull", (1, 0)), ("gd_uap", (0, 0)), ("gap", (0, 0)), ("advfaces", (1, 0))]
)
def test_what_is_trained_for_everybody_is_cut_short_and_costs_a_photo_nothing(
    name: str, passes: tuple[float, float]
) -> None:
    method: Any = OmegaConf.to_container(compose_config(["experiment=smoke", f"method={name}"]).method)
    assert expected_passes(method, name, probes=3, references=3) == passes


@pytest.mark.parametrize("name", ["pgd", "opom_convex_hull", "fawkes_v1_low", "tip_im", "lowkey"])
def test_long_searches_are_followed_from_short_ones(name: str) -> None:
    config = compose_config(["experiment=smoke", f"method={name}"])
    method: Any = OmegaConf.to_container(config.method)
    followed = expected_passes(method, name, probes=2, references=2)
    assert followed == pytest.approx(count_passes(method, name, probes=2, references=2), rel=0.02)


def test_a_search_with_its_own_network_is_followed_to_its_bound() -> None:
    config = compose_config(["experiment=smoke", "method=em_class"])
    method: Any = OmegaConf.to_container(config.method)
    rounds, batches, batch = method["max_rounds"], method["batches_per_round"], method["batch_size"]
    photos = 64
    _, backward = expected_passes(method, "em_class", probes=photos, references=2)
    assert backward == pytest.approx(rounds * (batches * batch + photos * method["steps"]) / photos, rel=0.02)


def test_poisoning_is_its_trainings_and_its_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        "experiment=survey_fig2",
        "runtime.workers=1",
        "protocols.poisoning.seeds=[0,1]",
        "protocols.poisoning.clean_shares=[0.0]",
    ]
    config = compose_config([*words, "protocols.poisoning.conditions_on=[]", "method=fgsm"])
    poisoning = instantiate(config.protocols.poisoning)
    assert published_photos(config, poisoning.identities) == (20, 20)
    monkeypatch.setattr(Estimator, "speed", lambda *_: Speed(forward=0.0, backward=0.0))
    monkeypatch.setattr(Estimator, "classifier_speed", lambda *_: Speed(forward=1.0, backward=2.0))
    cells, attackers, epochs = 3, 3, 15  # two controls and the method
    place, trainings = "protocols.poisoning.", 2 * cells * attackers * epochs * 3.0
    assert poisoning_seconds(poisoning, config, place, Estimator()) == pytest.approx(trainings * 400)
    config.dataset.poison_images = None  # as of photos that nobody counted
    assert poisoning_seconds(poisoning, config, place, Estimator()) is None
    assert poisoning_seconds(poisoning, config, place, Estimator(), per_photo=True) == pytest.approx(trainings)


def test_a_poisoning_that_leaves_settings_to_their_defaults_is_estimated_as_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Estimator, "speed", lambda *_: Speed(forward=0.0, backward=0.0))
    monkeypatch.setattr(Estimator, "classifier_speed", lambda *_: Speed(forward=1.0, backward=2.0))
    config = compose_config(["experiment=survey_fig2", "runtime.workers=1", "method=fgsm"])
    block = config.protocols.poisoning
    with open_dict(block):
        for name in (
            "identities",
            "references",
            "clean_shares",
            "seeds",
            "conditions_on",
            "epsilons_255",
            "surrogates",
        ):
            block.pop(name, None)
    found = poisoning_seconds(instantiate(block), config, "protocols.poisoning.", Estimator())
    assert found is not None and found > 0
