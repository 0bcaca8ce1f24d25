"""Parts that somebody wrote in Python, without a YAML, as they would stand in a module of their own."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import cloakbench


class Brighter(cloakbench.Protector):
    """Adds as much as the budget allows to every second row.

    Args:
        epsilon_255: Linf budget in grey levels.
        first_row: where it begins.
        step_255: how much is added; None for the whole budget.
    """

    name: ClassVar[str] = "brighter"
    scope: ClassVar[Any] = "image"
    paper: ClassVar[str] = "none; a test"

    def __init__(self, epsilon_255: float = 8, first_row: int = 0, step_255: float | None = None) -> None:
        self.epsilon_255 = epsilon_255
        self.first_row = first_row
        self.step_255 = epsilon_255 if step_255 is None else step_255
        self.budget = cloakbench.Budget("linf", epsilon_255)

    def perturb(self, batch: cloakbench.PhotoBatch, fitted: Any, context: cloakbench.ProtectContext) -> Tensor:
        photos = batch.images.clone()
        photos[:, :, self.first_row :: 2] += self.step_255 / 255
        return photos


class Forgetful(Brighter):
    """Does not keep an argument of its constructor."""

    def __init__(self, rows: int) -> None:
        super().__init__(8, rows % 2)


class Embedder(nn.Module):
    """A network of somebody's own."""

    def __init__(self, seed: int, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Conv2d(3, 8, 9, 8), nn.PReLU(), nn.Flatten(), nn.Linear(1352, 32))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images * self.scale)


def own_recogniser(seed: int = 5, scale: float = 1.0, name: str = "own") -> cloakbench.Recogniser:
    """A recogniser around it."""
    card = cloakbench.ModelCard(name, "own", "small", "none", "none", 32, weights_sha256="")
    return cloakbench.Recogniser(Embedder(seed, scale), cloakbench.InputSpec(), card)
