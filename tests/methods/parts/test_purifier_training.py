"""Trainings of purifiers: they clean photos of strangers, learn from their part alone, and survive an end."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import SettingError
from cloakbench.datasets.base import FaceSet
from cloakbench.datasets.thirds import thirds
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.purifying.recipe import Disturbances, PurifierRecipe
from cloakbench.methods.parts.purifying.training import NoisePurifier, _blurred
from cloakbench.methods.parts.stage_checks import KilledAt, _KilledError
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos
from cloakbench.methods.pgd import PGD
from cloakbench.models.purifiers.design import PurifierDesign

CONF = Path(__file__).resolve().parents[3] / "conf" / "purifier"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))
RUNNER = PGD(objective="attributes")


def recipe(**changes: Any) -> PurifierRecipe:
    settings = {"steps": 60, "batch": 16, "learning_rate": 3e-3, **changes}
    return PurifierRecipe("test", PurifierDesign("dncnn", 16, 4), **settings)


def trained(stage: NoisePurifier, context: ProtectContext) -> dict[str, Tensor]:
    return dict(RUNNER.run_stage(stage, context).tensors["purifier"])


@pytest.mark.slow
def test_it_removes_noise_from_photos_of_people_it_never_saw() -> None:
    # Noise as fine as that which the tiny world's photos are made with cannot be told from them.
    loud = Disturbances(uniform_255=60, gaussian_255=0, attack_255=0)
    stage = NoisePurifier(recipe(disturbances=loud, steps=120))
    purifier = stage.purifier(trained(stage, tiny_context()))
    clean = tiny_photos().images
    noise = torch.empty(clean.shape).uniform_(-60 / 255, 60 / 255, generator=generator("noise"))
    noisy = (clean + noise).clamp(0, 1)
    before, after = ((seen - clean).square().mean() for seen in (noisy, purifier.purify(noisy)))
    assert after < 0.5 * before


def test_photos_of_other_parts_are_never_looked_at() -> None:
    context = tiny_context()
    faces = context.require_auxiliary()
    own = set(thirds(faces.identity, 0).purifier)
    others = [row for row, name in enumerate(faces.identity) if name not in own]
    images = faces.images.clone()
    images[others] = 0
    blank = FaceSet(images, faces.image_id, faces.identity)
    stage = NoisePurifier(recipe(steps=3))
    one, other = (trained(stage, replace(context, auxiliary=given)) for given in (faces, blank))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_training_that_is_killed_at_ten_moments_ends_with_equal_weights() -> None:
    stage, context = NoisePurifier(recipe(steps=14)), tiny_context()
    whole = RUNNER.run_stage(stage, context)
    moments = torch.randperm(14, generator=generator("moments"))[:10].tolist()
    checkpoint, kills = KilledAt({moment + 1 for moment in moments}), 0
    while True:
        try:
            again = RUNNER.run_stage(stage, replace(context, checkpoint=checkpoint))
            break
        except _KilledError:
            kills += 1
    assert kills == 10 and checkpoint.steps == 14, "no step is taken twice"
    assert all(torch.equal(value, again.tensors["purifier"][name]) for name, value in whole.tensors["purifier"].items())
    assert whole.cost.forward_images == again.cost.forward_images


def test_every_kind_of_disturbance_is_drawn_and_stays_near() -> None:
    photos, changed = tiny_photos().images.repeat(10, 1, 1, 1), torch.zeros(60, 3, 32, 32)
    seen = NoisePurifier(recipe()).disturbed(photos, changed, generator("kinds"))
    black = seen.flatten(1).amax(dim=1) == 0
    assert 8 < int(black.sum()) < 35
    rest = (seen - photos)[~black].abs().flatten(1).amax(dim=1)
    assert ((rest > 7 / 255) & (rest < 8.01 / 255)).any(), "uniform"
    assert (rest > 9 / 255).any(), "Gaussian"


def test_blurring_is_that_of_a_plain_gaussian() -> None:
    photos = tiny_photos().images
    assert _blurred(photos, 0, generator("blur")) is photos
    blurred = _blurred(photos, 1.5, generator("blur"))
    sigmas = torch.rand(6, 1, generator=generator("blur")) * 1.5
    row, sigma = 2, float(sigmas[2])
    offsets = torch.arange(-4, 5).double()
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    patch = photos[row, 1, 8:17, 10:19].double()
    assert float(blurred[row, 1, 12, 14]) == pytest.approx(float(kernel @ patch @ kernel), abs=1e-5)


def test_a_training_that_diverges_is_one_line() -> None:
    stage = NoisePurifier(recipe(learning_rate=1e30))
    with pytest.raises(
        ValueError, match=r"diverged at step \d+ of 60: lower the learning_rate of the purifier test"
    ) as problem:
        RUNNER.run_stage(stage, tiny_context())
    assert "\n" not in str(problem.value)


def test_nothing_that_disturbs_is_refused() -> None:
    with pytest.raises(SettingError, match="attack_255"):
        Disturbances(0, 0, 0)


@pytest.mark.parametrize("name", NAMES)
def test_every_file_is_a_recipe_with_all_of_its_settings(name: str) -> None:
    with initialize_config_module("cloakbench.conf", version_base="1.3"):
        config: Any = OmegaConf.to_container(compose(overrides=[f"+purifier={name}"]).purifier)
    made = instantiate(config)
    assert isinstance(made, PurifierRecipe)
    assert set(config) - {"_target_"} == {field.name for field in fields(made)}
    made.design.make()


def test_the_purifiers_of_the_paper_are_here() -> None:
    assert set(NAMES) == {"unet", "dncnn", "ffdnet", "bsrgan", "inpainting", "s2s"}
