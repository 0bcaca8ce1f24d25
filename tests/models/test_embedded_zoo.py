"""The embedded recognisers: they load, fit their cards, are small, and are as accurate as their cards say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.nn.modules.batchnorm import _BatchNorm

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.config.networks import build_recogniser
from cloakbench.datasets.synthetic.world import SyntheticWorld
from cloakbench.models.base import Recogniser
from cloakbench.models.training.command import jobs_of
from cloakbench.models.training.evaluate import evaluate
from cloakbench.models.zoo import WEIGHTS, read_weights

CARDS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in WEIGHTS.glob("*.json")}
NAMES = sorted(
    name for name, card in CARDS.items() if "head" in card
)  # no generator, and nothing that tells attributes
SURROGATES = {"arcface_ir", "cosface_ir", "softmax_ir", "cosface_mobilefacenet"}


def build(name: str) -> Recogniser:
    config: Any = OmegaConf.to_container(
        compose_config(["experiment=smoke", f"model@surrogate={name}"]).surrogate, resolve=True
    )
    return build_recogniser(config, name)


def card(name: str) -> dict[str, Any]:
    return json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))


def test_the_zoo_is_complete_and_small() -> None:
    members = compose_config([], config_name="zoo").members
    assert set(NAMES) == {name for name in members if "head" in members[name]}
    assert len(NAMES) >= 11
    assert sum((WEIGHTS / f"{name}.safetensors").stat().st_size for name in NAMES) < 12e6


@pytest.mark.parametrize("name", NAMES)
def test_members_are_accurate_on_people_who_chose_nothing(name: str) -> None:
    clean = card(name)["clean"]
    assert clean["top1"] >= (0.90 if name.startswith("hardened") else 0.95)
    assert clean["identities"] >= 200
    assert clean["distractors"] >= 2000


def test_no_surrogate_saw_a_targets_training_people_or_the_people_of_another_pair_under_attack() -> None:
    def people(name: str) -> set[int]:
        faces = card(name)["recipe"]["faces"]
        return set(range(faces["first_identity"], faces["first_identity"] + faces["identities"]))

    for surrogate in SURROGATES:
        for target in set(NAMES) - SURROGATES:
            assert people(surrogate).isdisjoint(people(target)), f"{surrogate} shares people with {target}"
    assert people("cosface_ir").isdisjoint(people("cosface_mobilefacenet"))
    assert len({card(name)["recipe"]["seed"] for name in NAMES}) == len(NAMES)


@pytest.mark.slow
def test_targets_of_one_family_are_few_and_carry_their_family() -> None:
    families = {name: build(name).card.family for name in set(NAMES) - SURROGATES}
    assert len(set(families.values())) >= 7
    same = [name for name in families if list(families.values()).count(families[name]) > 1]
    assert set(same) <= {"cosface_ir50", "hardened_ir"}


def test_members_embed_to_unit_vectors_with_gradients_to_the_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    for name in NAMES:
        model = build(name)
        photos = torch.rand(2, 3, 112, 112, generator=generator, requires_grad=True)
        embeddings = model.embed(photos)
        assert torch.allclose(embeddings.norm(dim=1), torch.ones(2), atol=1e-5)
        [gradient] = torch.autograd.grad((embeddings[0] * embeddings[1]).sum(), photos)
        assert gradient.isfinite().all()
        assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).all()
        assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_members_say_what_their_networks_with_batch_norms_say(name: str) -> None:
    """Embeddings within 4e-6. Gradients of half of the photos within 5e-6 of their length, and of all within 0.03: a
    sum that is a last bit off can put a value on the other side of a bend, where the slope is another one."""
    model = build(name)
    config: Any = compose_config(["experiment=smoke", f"model@surrogate={name}"]).surrogate
    network = instantiate(config.network, _convert_="all")()
    network.load_state_dict(read_weights(name, card(name)["sha256"]))
    trained = Recogniser(network, model.inputs, model.card)
    photos = torch.rand(8, 3, 112, 112, generator=torch.Generator().manual_seed(0), requires_grad=True)
    found, expected = (each.embed(photos) for each in (model, trained))
    assert float((found - expected).detach().abs().max()) <= 4e-6
    goal = expected.detach().roll(1, dims=0)
    slopes = [torch.autograd.grad((each * goal).sum(), photos)[0].flatten(1) for each in (found, expected)]
    apart = (slopes[0] - slopes[1]).norm(dim=1) / slopes[1].norm(dim=1)
    assert float(apart.median()) <= 5e-6
    assert float(apart.max()) <= 0.03
    assert not any(isinstance(part, _BatchNorm) for part in model.modules())


@pytest.mark.slow
def test_measured_again_the_cards_tell_the_truth(tmp_path: Path) -> None:
    world = SyntheticWorld(**{**_evaluation(), "cache": tmp_path})
    probes, distractors = world.faces("probe"), world.faces("distractor")
    for name in NAMES:
        measured = evaluate(build(name), probes, distractors, torch.device("cpu"))
        assert measured.top1 == pytest.approx(card(name)["clean"]["top1"], abs=0.003), name


def _evaluation() -> dict[str, Any]:
    settings = dict(card(NAMES[0])["recipe"]["evaluation"])
    return {key: value for key, value in settings.items() if not key.startswith("_") and key != "version"}


def test_cards_name_the_recipe_and_the_renderer_that_are_in_the_code() -> None:
    """So ``make zoo`` finds the zoo trained, and a renderer that draws otherwise is noticed."""
    for job in jobs_of(compose_config([f"only=[{','.join(NAMES)}]"], config_name="zoo")):
        known = card(job.name)
        assert known["recipe"] == job.recipe()
        assert known["recipe_digest"] == job.digest()
