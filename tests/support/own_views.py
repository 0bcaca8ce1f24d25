"""Methods that want other pictures of people, and a generator that fails as it is told, from outside the project."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from cloakbench.methods.base import Budget, Protector, Scope
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.models.generators import Generator, GeneratorCard


class UsesViews(Protector):
    """Adds the signs of what the views of a person have in common, to all photos of the person."""

    name: ClassVar[str] = "uses_views"
    scope: ClassVar[Scope] = "identity"
    paper: ClassVar[str] = "none; a test"

    def __init__(self, epsilon_255: float = 8, views: int = 3, points: bool = False) -> None:
        self.epsilon_255 = epsilon_255
        self.budget = Budget("linf", epsilon_255)
        self.view_count = views
        self.needs = frozenset({Need.GENERATOR} | ({Need.REFERENCE_LANDMARKS} if points else set()))
        self.points = points

    def fit(self, batch: PhotoBatch, context: ProtectContext) -> Any:
        mean = batch.require_views().mean(dim=1)
        mask = (mean - mean.mean(dim=(2, 3), keepdim=True)).sign()
        if self.points:
            left = batch.require_reference_landmarks()[:, 0, 0, 0]
            mask = mask * (left > 0).view(-1, 1, 1, 1)
        elif batch.reference_landmarks is not None:
            raise ValueError("it was given points that it did not ask for")
        return mask * self.epsilon_255 / 255

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        return batch.images + fitted[batch.owner]


class Planted(Generator):
    """The photo in other light. A file that ``OWN_VIEWS_MARKS`` names takes a line with the number of photos of each
    call; a setting would be in the key, with the file's content.

    Args:
        light: largest change.
        fault: what is wrong with the answer: ``not_finite``, ``size``, ``range``, ``raises`` or nothing.
    """

    def __init__(self, light: float = 0.2, fault: str = "") -> None:
        super().__init__()
        self.light, self.fault = light, fault
        self.card = GeneratorCard("planted", "the photo in other light")
        self.passes_per_view = 2
        self.freeze()

    def draw_views(self, photos: Tensor, count: int, streams: Sequence[torch.Generator]) -> Tensor:
        if marks := os.environ.get("OWN_VIEWS_MARKS"):
            with Path(marks).open("a", encoding="utf-8") as file:
                file.write(f"{len(photos)}\n")
        if self.fault == "raises":
            raise ArithmeticError("no picture today")
        draws = torch.stack([torch.rand(count, generator=stream) for stream in streams])
        factors = 1 - self.light * draws.view(len(photos), count, 1, 1, 1)
        made = photos[:, None] * factors.to(photos.device)
        if self.fault == "not_finite":
            made[0, 0, 0, 0, 0] = torch.nan
        return {"size": made[..., :-1], "range": made + 1}.get(self.fault, made)
