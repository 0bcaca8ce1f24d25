"""BFR-resistant: a restorer that it never saw brings back less of the person than from the plain mosaic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cloakbench.bench.core.ranges import SettingError
from cloakbench.datasets.thirds import thirds
from cloakbench.methods.bfr_resistant import BFRResistant
from cloakbench.methods.mosaic import Mosaic
from cloakbench.methods.parts.obfuscation.restorers import HeldOutRestorer
from cloakbench.methods.parts.purifying.recipe import PurifierRecipe
from cloakbench.methods.parts.tiny_world import similarity, tiny_context, tiny_photos, trained_context
from cloakbench.models.purifiers.design import PurifierDesign

TILES = 4
PURIFYING = "cloakbench.methods.parts.purifying.recipe"


def recipe(network: Any, width: int, depth: int, steps: int = 60) -> PurifierRecipe:
    return PurifierRecipe(network, PurifierDesign(network, width, depth), steps, 8, 3e-3)


def config(network: str, width: int, depth: int, steps: int = 60) -> dict[str, Any]:
    design = {"_target_": "cloakbench.models.purifiers.design.PurifierDesign", "network": network, "width": width}
    shape = {"steps": steps, "batch": 8, "learning_rate": 3e-3, "design": {**design, "depth": depth}}
    return {"_target_": f"{PURIFYING}.PurifierRecipe", "title": network, **shape}


def method(noise_255: float = 16, steps: int = 8, training: int = 60) -> BFRResistant:
    restorers = {"unet": recipe("unet", 6, 2, training), "autoencoder": recipe("autoencoder", 8, 2, training)}
    return BFRResistant(restorers, tiles=TILES, noise_255=noise_255, steps=steps, step_255=4)


@pytest.mark.slow
def test_a_held_out_restorer_brings_back_less_than_from_the_plain_mosaic() -> None:
    batch, judge, one = tiny_photos(), HeldOutRestorer(config("dense", 8, 1, 200), TILES), method()
    published = one.protect(batch, trained_context(one)).images.float() / 255
    tiled = Mosaic(TILES).protect(batch, tiny_context()).images.float() / 255
    assert (published - tiled).abs().max() <= 16.5 / 255, "it lies in the ball around the mosaic"

    def restored(photos: Tensor) -> Tensor:
        return judge.protect(replace(batch, images=photos), trained_context(judge)).images.float() / 255

    noise = 16 / 255 * torch.empty(tiled.shape).uniform_(-1, 1, generator=torch.Generator().manual_seed(0)).sign()
    noisy = ((tiled + noise).clamp(0, 1) * 255).round() / 255
    plain, random, ours = (similarity(batch, restored(photos)) for photos in (tiled, noisy, published))
    assert ours < min(plain, random) - 0.05
    errors = [float((photos - batch.images).abs().mean()) for photos in (restored(tiled), tiled)]
    assert errors[0] < errors[1], "the judge restores at all"


def test_no_noise_is_the_mosaic() -> None:
    batch, one = tiny_photos(), method(noise_255=0, training=1)
    tiled = Mosaic(TILES).protect(batch, tiny_context()).images
    outcome = one.protect(batch, trained_context(one))
    assert torch.equal(outcome.images, tiled) and outcome.cost.backward_images == 0


def test_restorers_and_judge_learn_from_people_who_share_nobody() -> None:
    one, judge, faces = method(training=1), HeldOutRestorer(config("dense", 8, 1), TILES), tiny_context().auxiliary
    assert faces is not None
    parts = thirds(faces.identity, 0)
    assert [stage.part for stage in one.trainings] == ["method", "method"] and judge.training.part == "attackers"
    assert not set(parts.of("method")) & set(parts.of("attackers"))
    assert [stage.name for stage in one.trainings] == ["restorer_unet", "restorer_autoencoder"]


def test_a_restorer_that_is_its_own_surrogate_is_one_line() -> None:
    with pytest.raises(
        SettingError, match=r"^recipe is unet: it must be another network than unet, which a method has"
    ):
        HeldOutRestorer(config("unet", 32, 3), TILES, {"first": config("unet", 6, 2)})
    HeldOutRestorer(config("dense", 8, 1), TILES, {"first": config("unet", 6, 2)})
    with pytest.raises(
        SettingError, match=r"^restorers is null: it must be at least one recipe: purifier@method\.rest"
    ):
        BFRResistant({"unet": None})
