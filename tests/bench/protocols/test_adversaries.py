"""Adversaries: each does what it says on planted masks; a small run is judged, stored and refused as it should."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.engine.learning.folds import fold_of
from cloakbench.bench.engine.learning.training import Training
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import Outcome, run
from cloakbench.bench.protocols.recognition.adversaries.averaging import MaskAveraging
from cloakbench.bench.protocols.recognition.adversaries.base import Collected
from cloakbench.bench.protocols.recognition.adversaries.purifier import OwnPurifier
from cloakbench.bench.report.labels import UNTRANSFORMED
from cloakbench.datasets.base import FaceSet
from cloakbench.datasets.synthetic.world import SyntheticWorld

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
CPU = torch.device("cpu")
ADVERSARIES = ["averaging", "purifier", "recogniser"]


def smooth_faces(people: int, each: int, *name: object) -> FaceSet:
    count = people * each
    coarse = torch.rand(count, 3, 4, 4, generator=generator("adversaries", *name))
    images = (40 + 170 * torch.nn.functional.interpolate(coarse, 32, mode="bicubic").clamp(0, 1)).round()
    identity = tuple(f"{name}-{row // each}" for row in range(count))
    return FaceSet(images.to(torch.uint8), tuple(f"{name}-{row}" for row in range(count)), identity)


def collected(faces: FaceSet, published: Tensor) -> Collected:
    nobody = faces.select([])
    fold = fold_of(faces.identities(), 2)
    return Collected(published, faces, fold, nobody, smooth_faces(20, 1, "strangers"), 0, CPU)


def learn_now(inputs: Mapping[str, Any], training: Training) -> Mapping[str, Tensor]:
    return training(None, lambda tensors: None)


def with_signs(faces: FaceSet, size: int, *, shared: bool) -> Tensor:
    """Photos with a mask of signs: one for all photos of a person, or one for each photo."""
    names = faces.identity if shared else faces.image_id
    masks = [torch.randint(0, 2, (3, 32, 32), generator=generator("mask", name)) for name in names]
    return (faces.images.int() + size * (2 * torch.stack(masks) - 1)).clamp(0, 255).to(torch.uint8)


def error(photos: Tensor, faces: FaceSet) -> float:
    return float((photos.double() - faces.images.double()).abs().mean())


def test_averaging_removes_a_mask_that_a_person_s_photos_share_and_none_of_their_own() -> None:
    faces = smooth_faces(3, 12, "people")
    for shared, left in ((True, (0.0, 0.5)), (False, (0.8, 1.2))):
        published = with_signs(faces, 8, shared=shared)
        cleaned = MaskAveraging(photos=12, sigma_px=1.0).cleaned(collected(faces, published), learn_now)
        assert left[0] < error(cleaned, faces) / error(published, faces) < left[1]
    alone = smooth_faces(3, 1, "people")
    published = with_signs(alone, 8, shared=True)
    assert torch.equal(MaskAveraging().cleaned(collected(alone, published), learn_now), published)


def small_recipe(steps: int) -> Any:
    words = ["experiment=smoke", "+adversary@protocols.identification.adversaries.one=purifier"]
    config = compose_config(words).protocols.identification.adversaries.one
    config.recipe.steps, config.recipe.design.width = steps, 4
    return instantiate(config.recipe)


@pytest.mark.slow
def test_a_purifier_that_learnt_from_others_brings_photos_nearer_to_originals_that_it_never_saw() -> None:
    faces = smooth_faces(6, 4, "people")
    tint = torch.tensor([16, -16, 16]).view(3, 1, 1)  # a mask that all people share, and quickly learnt
    published = (faces.images.int() + tint).clamp(0, 255).to(torch.uint8)
    adversary = OwnPurifier(small_recipe(60), patch_px=16)
    whole = collected(faces, published)
    cleaned = adversary.cleaned(whole, learn_now)
    assert error(cleaned, faces) < 0.6 * error(published, faces)
    # What it makes of the people of a fold hangs on their originals in no way.
    judged = [row for row, name in enumerate(faces.identity) if whole.fold[name] == 0]
    images = faces.images.clone()
    images[judged] = 0
    other = FaceSet(images, faces.image_id, faces.identity)
    assert torch.equal(adversary.cleaned(collected(other, published), learn_now)[judged], cleaned[judged])


def attack(results: Path, cache: Path, *more: str) -> Outcome:
    words = ["experiment=tiny_adversaries", f"paths.results={results}", f"paths.cache={cache}", "runtime.workers=0"]
    return run(compose_config([*words, *more], config_dirs=[str(CONFIG_DIR)]))


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, faces_cache: Path) -> Outcome:
    return attack(tmp_path_factory.mktemp("adversaries"), faces_cache)


def test_every_attack_has_a_rate_with_n_and_interval_and_the_worst_is_the_least_of_them(attacked: Outcome) -> None:
    assert not attacked.problems
    frame = attacked.results.measurements
    rates = frame[frame["metric"].isin(["psr_p2_top1", "psr_enrolled_top1"])]
    assert set(rates["status"]) == {"ok"} and set(rates["n"]) == {18}
    conditions = [UNTRANSFORMED, "platform_messenger", *ADVERSARIES]
    assert set(rates["condition"]) == set(conditions)
    worst = attacked.results.worst
    assert set(worst["n_attacks"]) == {2 * len(conditions)}
    whole = worst[worst["surrogate"] == "all"].set_index("method")
    assert set(whole.index) == {"identity", "random_sign", "opom_convex_hull"}
    for method, line in whole.iterrows():
        own = rates[rates["method"] == method]
        assert line["value"] == pytest.approx(own["value"].min())
        place = (own["metric"] == line["attack_metric"]) & (own["condition"] == line["attack_condition"])
        assert own.loc[place, "value"].item() == pytest.approx(line["value"])
        assert line["low"] <= line["value"] <= line["high"] and line["n_photos"] == 18
    table = pd.read_csv(attacked.folder / "tables" / "ranking.csv")
    assert {"identification_worst_percent", "identification_worst_attack"} <= set(table)
    assert "PSR against the attack that does best" in (attacked.folder / "report.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_part_of_the_methods_and_targets_meets_adversaries_and_the_others_are_gaps(
    attacked: Outcome, faces_cache: Path
) -> None:
    block = "protocols.identification"
    part = attack(
        attacked.folder.parents[1],
        faces_cache,
        "+method@methods.fgsm=fgsm",
        "+model@targets.cosface_se_resnet=cosface_se_resnet",
        "epsilons_255=[4,8]",
        f"~{block}.adversaries.recogniser",
        f"{block}.adversaries_on={{methods: [opom_convex_hull], epsilons_255: [8], targets: [cosface_se_resnet]}}",
    )
    assert not part.problems
    frame = part.results.measurements
    met = frame[frame["condition"].isin(ADVERSARIES)]
    assert set(met["judge"]) == {"cosface_se_resnet"} and set(met["condition"]) == {"averaging", "purifier"}
    assert set(zip(met["method"], met["epsilon_255"].fillna(0), strict=True)) == {
        ("identity", 0), ("random_sign", 8), ("opom_convex_hull", 8)
    }  # fmt: skip
    worst = part.results.worst
    assert set(worst["method"]) == {"identity", "random_sign", "opom_convex_hull"} and set(worst["n_judges"]) == {1}
    least = met[met["metric"] == "psr_p2_top1"].groupby("method")["value"].min()
    assert (worst.groupby("method")["value"].min() <= least + 1e-9).all()


@pytest.mark.parametrize(
    ("on", "said"),
    [
        ("{methods: [pgdd]}", "names pgdd, which this experiment does not have"),
        ("{targets: [nobody]}", "names nobody, which is no target of this experiment"),
        ("{methods: []}", "adversaries_on.methods"),
        ("{people: [a]}", "a mapping with methods, epsilons_255, targets"),
    ],
)
def test_a_part_that_is_not_there_is_one_line(on: str, said: str, tmp_path: Path, faces_cache: Path) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        attack(tmp_path, faces_cache, f"++protocols.identification.adversaries_on={on}")
    assert "\n" not in str(refused.value)


def test_detection_and_groups_stand_in_the_report(attacked: Outcome) -> None:
    frame = attacked.results.measurements
    area = frame[frame["metric"] == "detection_auc"].set_index("method")["value"]
    assert area["identity"] == 0.5
    groups = attacked.results.groups
    assert set(groups["label"]) == {
        "complexion", "gender", "age", "glasses", "light", "sharpness", "pose", "size"
    }  # fmt: skip
    few, enough = groups["n_identities"] < 5, groups["n_identities"] >= 5
    assert few.any() and enough.any()
    assert groups.loc[few, "value"].isna().all() and groups.loc[enough, "value"].notna().all()
    thirds = groups[(groups["label"] == "light") & (groups["metric"] == "ssim") & (groups["method"] == "identity")]
    assert thirds["n_photos"].sum() == 18 and set(thirds["group"]) == {"low", "middle", "high"}
    assert set(attacked.results.gaps["metric"]) <= {"psr_p2_top1", "ssim", "detected"}
    report = (attacked.folder / "report.md").read_text(encoding="utf-8")
    assert "## Who is protected" in report and "## Detection" in report


def test_a_second_run_asks_and_learns_nothing_and_writes_equal_tables(attacked: Outcome, faces_cache: Path) -> None:
    results = attacked.folder.parents[1]
    before = {path: path.stat().st_mtime_ns for path in (results / "store").rglob("*") if path.is_file()}
    assert any("trained" in path.parts for path in before)
    tables = {path: path.read_bytes() for path in (attacked.folder / "tables").glob("*") if path.stem != "cost"}
    again = attack(results, faces_cache)
    after = {path: path.stat().st_mtime_ns for path in (results / "store").rglob("*.safetensors")}
    assert after == {path: time for path, time in before.items() if path.suffix == ".safetensors"}
    assert {path: path.read_bytes() for path in tables} == tables and again.folder == attacked.folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["protocols.identification.adversaries.purifier.folds=1"], "purifier.folds is 1: it must be a whole number"),
        (
            ["+transform@transforms.x=platform_web", "transforms.x.name=averaging"],
            "adversaries.averaging has the name of",
        ),
        (["dataset.identities=2"], "purifier learns from fewer than two of 2 people"),
        (["protocols.identification.adversaries.purifier.patch_px=50"], "patch_px is 50: it must be a multiple of 8"),
        (["report.groups=[psr]"], r"report.groups names psr, which nothing measures here: use some of psr_p1_top1"),
        (["~dataset.references_per_identity", "+dataset.references_per_identity=0"], "has no reference faces"),
    ],
)
def test_bad_input_is_one_line(words: list[str], said: str, tmp_path: Path, faces_cache: Path) -> None:
    base = ["experiment=tiny_adversaries", f"paths.results={tmp_path}", f"paths.cache={faces_cache}"]
    config = compose_config([*base, *words], config_dirs=[str(CONFIG_DIR)])
    with pytest.raises(ConfigError, match=said) as refused:
        prepare(config)
    assert "\n" not in str(refused.value)


def test_a_person_under_two_names_is_refused_before_any_work(
    tmp_path: Path, faces_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces_of = SyntheticWorld.faces

    def planted(world: SyntheticWorld, role: Any) -> FaceSet:
        found = faces_of(world, role)
        if role != "probe":
            return found
        images = found.images.clone()
        images[3] = images[0]  # a photo of the second person is one of the first
        return FaceSet(images, found.image_id, found.identity, found.landmarks, found.attributes)

    monkeypatch.setattr(SyntheticWorld, "faces", planted)
    base = ["experiment=tiny_adversaries", f"paths.results={tmp_path}", f"paths.cache={faces_cache}"]
    config = compose_config(base, config_dirs=[str(CONFIG_DIR)])
    with pytest.raises(ConfigError, match="are one photo of two people: an attacker would learn from whom it judges"):
        prepare(config)


def test_rates_of_a_learner_are_over_people_of_both_folds(attacked: Outcome) -> None:
    records = attacked.results.records["identification"]
    own = records[(records["condition"] == "recogniser") & (records["method"] == "opom_convex_hull")]
    assert len(own) == 18 and own["identity"].nunique() == 6 and own["p2_rank"].notna().all()
    clean = records[(records["condition"] == UNTRANSFORMED) & (records["method"] == "opom_convex_hull")]
    assert not np.array_equal(
        own.sort_values("image_id")["own_similarity"], clean.sort_values("image_id")["own_similarity"]
    )
