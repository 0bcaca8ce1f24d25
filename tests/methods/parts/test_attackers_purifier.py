"""An attacker's purifier: learnt on pairs of a method, from people that neither the method nor its purifier knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cloakbench.bench.core.ranges import SettingError
from cloakbench.datasets.base import FaceSet
from cloakbench.datasets.thirds import thirds
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.purifying.attackers import PurifierTrainer
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos

PGD: dict[str, Any] = {
    "_target_": "cloakbench.methods.pgd.PGD",
    "title": "PGD-m",
    "epsilon_255": 30,
    "steps": 2,
    "step_255": 20,
    "objective": "attributes",
    "random_start": True,
}


def recipe(steps: int = 3, **changes: Any) -> dict[str, Any]:
    purifying = "cloakbench.methods.parts.purifying.recipe"
    return {
        "_target_": f"{purifying}.PurifierRecipe",
        "title": "DnCNN",
        "design": {"_target_": "cloakbench.models.purifiers.design.PurifierDesign", "network": "dncnn", "width": 16}
        | {"depth": 4},
        "steps": steps,
        "batch": 8,
        "learning_rate": 3e-3,
        "disturbances": {"_target_": f"{purifying}.Disturbances", "attack_255": 0},
    } | changes


def trained(trainer: PurifierTrainer, context: ProtectContext) -> ProtectContext:
    return replace(context, trained=trainer.run_training(context).tensors)


def with_blank(faces: FaceSet, people: tuple[str, ...]) -> FaceSet:
    images = faces.images.clone()
    images[[row for row, name in enumerate(faces.identity) if name in people]] = 0
    return replace(faces, images=images)


def test_it_takes_the_masks_of_its_method_out_of_photos_of_others() -> None:
    trainer, batch = PurifierTrainer(recipe(steps=150), PGD), tiny_photos()
    context = trained(trainer, tiny_context())
    masked = trainer.training.built().protect(batch, context).images.float() / 255  # type: ignore[attr-defined]
    cleaned = trainer.protect(replace(batch, images=masked), context).images.float() / 255
    before, after = ((seen - batch.images).square().mean() for seen in (masked, cleaned))
    assert after < 0.6 * before


@pytest.mark.parametrize("method", [None, PGD])
def test_only_photos_of_its_own_third_are_learnt_from(method: dict[str, Any] | None) -> None:
    context, trainer = tiny_context(), PurifierTrainer(recipe(), method)
    faces = context.require_auxiliary()
    parts = thirds(faces.identity, 0)

    def weights(people: tuple[str, ...]) -> dict[str, Tensor]:
        blank = replace(context, auxiliary=with_blank(faces, people))
        return dict(trainer.run_training(blank).tensors["attacker_purifier"])

    plain, without_others, without_own = weights(()), weights(parts.method + parts.purifier), weights(parts.attackers)
    assert all(torch.equal(value, without_others[name]) for name, value in plain.items())
    assert any(not torch.equal(value, without_own[name]) for name, value in plain.items())


def test_its_key_says_which_method_and_which_part() -> None:
    noise, pairs = PurifierTrainer(recipe()), PurifierTrainer(recipe(), PGD)
    other = PurifierTrainer(recipe(), {**PGD, "epsilon_255": 8})
    assert noise.training.part == pairs.training.part == "attackers"
    assert pairs.training.settings["method"] == PGD != other.training.settings["method"]
    assert noise.training.needs == {Need.AUXILIARY}
    assert pairs.training.needs == {Need.AUXILIARY, Need.ATTRIBUTE_SURROGATES}


def test_a_method_that_needs_more_than_photos_is_one_line() -> None:
    away = {"_target_": "cloakbench.methods.fgsm.FGSM", "title": "FGSM", "epsilon_255": 8, "objective": "reference"}
    with pytest.raises(SettingError, match=r"method is .*: it must be a method that protects single photos") as problem:
        PurifierTrainer(recipe(), away)
    assert "\n" not in str(problem.value)
