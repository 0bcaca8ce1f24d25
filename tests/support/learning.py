"""What the tests of unlearnable noise share: a linear classifier, easy photos of a few people, and a context."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch

SIDE = 16


class Linear(nn.Module):
    """``z = W x + b`` on pixels, zero at the start unless ``seed`` is given."""

    def __init__(self, *, classes: int, size: tuple[int, int], seed: int | None = None) -> None:
        super().__init__()
        self.scores = nn.Linear(3 * size[0] * size[1], classes)
        with torch.no_grad():
            self.scores.weight.zero_()
            self.scores.bias.zero_()
            if seed is not None:
                self.scores.weight.normal_(0, 0.05, generator=generator("linear", seed))

    def forward(self, images: Tensor) -> Tensor:
        return self.scores(images.flatten(1))


class Small(nn.Module):
    """A convolutional classifier that learns in a few steps; batch norm and dropout included on purpose."""

    def __init__(self, *, classes: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(SIDE // 4), nn.Flatten(), nn.Dropout(0.1), nn.Linear(SIDE * SIDE, classes),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def context(seed: int = 0) -> ProtectContext:
    return ProtectContext(seed=seed)


def published(people: int = 4, photos: int = 6, noise: float = 0.2) -> PhotoBatch:
    """Photos of people who differ in a faint pattern under strong noise, so that a classifier has something to learn.

    Pixels stay within 0.2 and 0.8: no step of at most 16 grey levels clips.
    """
    patterns = torch.randn(people, 3, SIDE, SIDE, generator=generator("patterns"))
    noises = torch.randn(people, photos, 3, SIDE, SIDE, generator=generator("noises"))
    images = (0.5 + 0.05 * patterns[:, None] + noise * noises).clamp(0.2, 0.8).flatten(0, 1)
    names = [f"person{number}" for number in range(people)]
    return PhotoBatch(
        images=images,
        image_id=tuple(f"{name}/{photo:02d}" for name in names for photo in range(photos)),
        owner=torch.arange(people).repeat_interleave(photos),
        identities=tuple(names),
    )
