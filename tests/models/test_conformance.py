"""The recogniser suite on every embedded model, and on recognisers that break one rule each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor, nn

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.config.networks import build_recogniser
from cloakbench.models.base import InputSpec, ModelCard, Recogniser
from cloakbench.models.conformance import check_recogniser, smooth_images

CONF = Path(__file__).resolve().parents[2] / "conf" / "model"
EMBEDDED = sorted(path.stem for path in CONF.glob("*.yaml") if "zoo.load_embedded" in path.read_text(encoding="utf-8"))


def failures(results: list[Any]) -> list[str]:
    return [f"{result.name}: {result.detail}" for result in results if not result.passed]


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_embedded_model_conforms(name: str) -> None:
    plain: Any = OmegaConf.to_container(compose_config([f"model={name}"], "recogniser").model, resolve=True)
    results = check_recogniser(build_recogniser(plain, name), smooth_images())
    assert failures(results) == []
    assert not any(result.skipped for result in results)


def test_images_for_the_checks_are_in_range_and_always_the_same() -> None:
    images = smooth_images()
    assert torch.equal(images, smooth_images())
    assert images.shape == (4, 3, 112, 112)
    assert 0.1 <= float(images.min()) < float(images.max()) <= 0.9


class Network(nn.Module):
    """A small embedder that breaks the rule it is given."""

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.rule = rule
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, 8, 5, 4)
            self.norm = nn.BatchNorm1d(32)
            self.line = nn.Linear(8 * 27 * 27, 32)
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        if self.rule == "global":
            images = images + 1e-3 * torch.randn_like(images)
        if self.rule == "memory":
            images = images + 1e-3 * self.calls
        if self.rule == "cut":
            images = images.detach() + 0 * images
        if self.rule == "scaled":
            images = images / 255 + (images - images / 255).detach()
        out = self.line(F.softplus(self.conv(images)).flatten(1))
        if self.rule == "batch":
            out = out - out.mean(dim=0) / 2
        if self.rule == "statistics":
            self.norm.running_mean.copy_(out.detach().mean(dim=0))  # type: ignore[union-attr]
        if self.rule == "nan":
            out = out * torch.nan
        return out[:, :-1] if self.rule == "short" else out


class Long(Recogniser):
    """Forgets to normalise."""

    def embed(self, images: Tensor) -> Tensor:
        return self.network(self.inputs.prepare(images)).flatten(1)


class Trainable(Recogniser):
    """Obeys ``train()``, and answers differently then."""

    def train(self, mode: bool = True) -> Trainable:
        nn.Module.train(self, mode)
        return self

    def embed(self, images: Tensor) -> Tensor:
        shift = 0.5 if self.training else 0.0
        return F.normalize(super().embed(images) + shift, dim=1)


def checked(rule: str, kind: type[Recogniser] = Recogniser) -> dict[str, str]:
    card = ModelCard("tiny", "none", "none", "none", "none", 32, "0")
    model = kind(Network(rule), InputSpec(), card)
    if rule == "loose":
        model.requires_grad_(True)
    return {result.name: result.detail for result in check_recogniser(model, smooth_images()) if not result.passed}


def test_a_sound_network_passes() -> None:
    assert checked("") == {}


@pytest.mark.parametrize(
    ("rule", "check", "detail"),
    [
        ("short", "embedding shape", "the card says (4, 32)"),
        ("nan", "embedding shape", "not finite"),
        ("memory", "determinism", "two calls"),
        ("global", "no global random state", "global random state"),
        ("batch", "batch invariance", "alone and in a batch differ"),
        ("cut", "gradient to the input", "zero"),
        ("scaled", "gradient to the input", "finite difference"),
        ("statistics", "frozen", "norm.running_mean"),
        ("loose", "frozen", "require gradients"),
    ],
)
def test_each_broken_rule_is_found(rule: str, check: str, detail: str) -> None:
    assert detail in checked(rule)[check]


def test_a_recogniser_that_does_not_normalise_or_that_trains_is_found() -> None:
    assert "away from 1" in checked("", Long)["unit norm"]
    assert "training mode" in checked("", Trainable)["eval mode whatever train() says"]
