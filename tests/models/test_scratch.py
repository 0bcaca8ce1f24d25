"""The attacker who trains from scratch: it learns, equal seeds give equal bytes, and a diverging loss is an error."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from learning import Small, published
from torch import Tensor

from cloakbench.models.backbones.iresnet import IResNet
from cloakbench.models.backbones.mobilefacenet import MobileFaceNet
from cloakbench.models.base import classify_in_batches
from cloakbench.models.classifier import Classifier
from cloakbench.models.training.regimes import Regime
from cloakbench.models.training.scratch import ScratchAttacker
from cloakbench.models.training.views import Flip

CPU = torch.device("cpu")
STANDARD = Regime(Flip(), None)


def attacker(**changes: Any) -> ScratchAttacker:
    options: dict[str, Any] = {
        "network": Small, "family": "small", "epochs": 15, "batch_size": 8, "learning_rate": 0.05, "momentum": 0.9,
        "weight_decay": 5e-4, "milestones": (0.6, 0.8), "decay": 0.1, "clip_norm": 5.0,
    }  # fmt: skip
    return ScratchAttacker(**options | changes)


def photos() -> tuple[Tensor, Tensor]:
    people = published(noise=0.05)
    return (people.images * 255).round().to(torch.uint8), people.owner


def state(network: torch.nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


def test_it_learns_the_people_it_is_shown() -> None:
    images, labels = photos()
    network = attacker().train(images, labels, 4, STANDARD, 0, CPU)
    answers = classify_in_batches(network, images, 8, CPU)
    assert float((answers == labels).float().mean()) > 0.9
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_equal_seeds_give_equal_bytes_whatever_the_global_state() -> None:
    images, labels = photos()
    first = attacker(epochs=2).train(images, labels, 4, STANDARD, "0-1", CPU)
    torch.rand(3)
    before = torch.random.get_rng_state()
    second = attacker(epochs=2).train(images, labels, 4, STANDARD, "0-1", CPU)
    assert torch.equal(before, torch.random.get_rng_state())
    other = attacker(epochs=2).train(images, labels, 4, STANDARD, "0-2", CPU)
    equal = [torch.equal(a, b) for a, b in zip(state(first).values(), state(second).values(), strict=True)]
    assert all(equal)
    assert not torch.equal(state(first)["layers.0.weight"], state(other)["layers.0.weight"])


def test_a_single_left_over_photo_is_passed_over() -> None:
    images, labels = photos()
    attacker(epochs=1, batch_size=23).train(images, labels, 4, STANDARD, 0, CPU)


def test_a_loss_that_is_not_finite_is_an_error_and_no_answer() -> None:
    images, labels = photos()
    with pytest.raises(FloatingPointError, match="lower the learning_rate"):
        attacker(learning_rate=1e30, clip_norm=1e30, epochs=3).train(images, labels, 4, STANDARD, 0, CPU)


def test_scores_that_are_not_finite_are_no_answer() -> None:
    class Nan(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            scores = images.mean(dim=(2, 3))
            return torch.where(scores > 0.5, torch.nan, scores)

    images = torch.stack([torch.full((3, 4, 4), 255), torch.zeros(3, 4, 4)]).to(torch.uint8)
    assert classify_in_batches(Nan(), images, 1, CPU).tolist() == [-1, 0]


@pytest.mark.parametrize(
    "backbone",
    [
        partial(IResNet, [1, 1, 1, 1], channels=[8, 8, 8, 8], stem=[3, 2], neck="gdc"),
        partial(MobileFaceNet, bottlenecks=[[1, 8, 1, 2]], stem_channels=8, last_channels=16),
    ],
)
@pytest.mark.parametrize("side", [32, 48])
def test_any_backbone_becomes_a_classifier_of_any_number_of_people_at_any_size(backbone: Any, side: int) -> None:
    network = Classifier(backbone, 16, classes=5, size=(side, side))
    images = torch.rand(4, 3, side, side)
    assert network.train()(images).shape == (4, 5)
    assert network.eval()(images).shape == (4, 5)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 1}, {"learning_rate": 0}, {"milestones": (2.0,)}])
def test_a_setting_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*: it must be"):
        attacker(**wrong)
