"""Recognisers and methods that tests plug in from outside, as a user's own package would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.base import Budget, Goal, Protector, Scope, Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.models.base import Attacker, InputSpec, ModelCard, Recogniser


class NanAbove(nn.Module):
    """Answers NaN for photos whose mean brightness (after normalisation to [-1, 1]) is above a limit."""

    def __init__(self, network: nn.Module, limit: float) -> None:
        super().__init__()
        self.network, self.limit = network, limit

    def forward(self, images: Tensor) -> Tensor:
        bright = images.mean(dim=(1, 2, 3)) > self.limit
        return torch.where(bright[:, None], torch.nan, self.network(images))


class Refuses(nn.Module):
    """Raises on every call."""

    def forward(self, images: Tensor) -> Tensor:
        raise ArithmeticError("this network never answers")


class Detached(nn.Module):
    """Answers, and gives no gradient."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images).detach()


def detached(name: str) -> Recogniser:
    """A recogniser that only answers."""
    model = tiny(name, 5, "family5")
    return Recogniser(Detached(model.network), InputSpec(), model.card)


def refusing(name: str) -> Recogniser:
    """A recogniser whose network raises."""
    return Recogniser(Refuses(), InputSpec(), ModelCard(name, "none", "none", "none", "none", 64, "refuses"))


def tiny(
    name: str,
    seed: int,
    family: str,
    nan_above: float | None = None,
    legacy_thresholds: tuple[float, float, float] | None = None,
) -> Recogniser:
    """A random convolutional embedder: fast, differentiable, and different for every seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network: nn.Module = nn.Sequential(
            nn.Conv2d(3, 16, 7, 4, 3),
            nn.PReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.PReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(512, 64),
        )
    if nan_above is not None:
        network = NanAbove(network, nan_above)
    card = ModelCard(name, family, "tiny", "none", "none", 64, f"random-{seed}", legacy_thresholds=legacy_thresholds)
    return Recogniser(network, InputSpec(), card)


class EveryThirdFails(Protector):
    """Returns NaN for the photos whose name ends in a multiple of three, and darkens the others."""

    name: ClassVar[str] = "every_third_fails"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = "none; a test"

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        failed = torch.tensor([int(name[-2:]) % 3 == 0 for name in batch.image_id])
        return torch.where(failed.view(-1, 1, 1, 1), torch.nan, batch.images * 0.9)


@dataclass(frozen=True)
class Pattern(Stage):
    """A pattern of signs from two public faces."""

    name: ClassVar[str] = "pattern"

    def run(self, context: ProtectContext) -> dict[str, Tensor]:
        images = context.require_auxiliary().images[:2].float() / 255
        context.surrogates[0].embed(images)
        return {"pattern": (images[0] - images[1]).sign()}


class AddsPattern(Protector):
    """Adds a universal pattern that is drawn once, in the training stage."""

    name: ClassVar[str] = "trained"
    scope: ClassVar[Scope] = "universal"
    paper: ClassVar[str] = "none; a test"
    needs = frozenset({Need.SURROGATES, Need.AUXILIARY})

    def __init__(self, epsilon_255: float = 8) -> None:
        self.epsilon_255 = epsilon_255
        self.budget = Budget("linf", epsilon_255)

    def stages(self) -> tuple[Stage, ...]:
        return (Pattern(),)

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        return batch.images + context.trained["pattern"]["pattern"] * self.epsilon_255 / 255


class KeepsKey(Protector):
    """Inverts photos, and gives their owners a key that nobody else may see."""

    name: ClassVar[str] = "keeps_key"
    scope: ClassVar[Scope] = "image"
    goal: ClassVar[Goal] = "hide from humans"
    paper: ClassVar[str] = "none; a test"

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        draws = [generator(context.seed, "key", name) for name in batch.image_id]
        context.private["key"] = torch.stack([torch.randint(0, 256, (64,), generator=one) for one in draws]).byte()
        return 1 - batch.images


class Raises(Protector):
    """Raises on every call."""

    name: ClassVar[str] = "raises"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = "none; a test"

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        raise ZeroDivisionError("this method always fails")


class RaisingAttacker(Attacker):
    """Raises on every training."""

    batch_size = 8

    def __init__(self, family: str) -> None:
        self.family = family

    def train(self, photos: Tensor, labels: Tensor, classes: int, regime: Any, seed: object, device: Any) -> nn.Module:
        raise ArithmeticError("this attacker never learns")


class SilentAttacker(RaisingAttacker):
    """Learns nothing and answers NaN for bright photos."""

    def train(self, photos: Tensor, labels: Tensor, classes: int, regime: Any, seed: object, device: Any) -> nn.Module:
        return NanAbove(_Zeros(classes), 0.5)


class _Zeros(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        return images.new_zeros(len(images), self.classes)
