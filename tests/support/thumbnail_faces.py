"""Networks that see of a picture what the emulators see: a thumbnail, and the mean colours."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cloakbench.models.attributes import AttributeCard, AttributeModel, AttributeOutput
from cloakbench.models.base import InputSpec, ModelCard, Recogniser

PIXELS = InputSpec(mean=0.0, std=1.0)


class Thumbnail(nn.Module):
    """Eight by eight mean colours without their mean; counts the pictures that went through."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        small = F.adaptive_avg_pool2d(images, 8).flatten(1)
        return small - small.mean(dim=1, keepdim=True)


class Looks(nn.Module):
    """Gender, years and expression as functions of the mean colour (`emulators.pixels.looks`)."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        red, green, blue = (255 * images).mean(dim=(2, 3)).T
        years = (20 + green / 8).floor()
        return torch.stack([blue, red], dim=1), years[:, None], torch.stack([blue, green], dim=1)


def thumbnails() -> Recogniser:
    """A recogniser of pictures that look alike from afar."""
    card = ModelCard("thumbnail", "thumbnail", "thumbnail", "none", "none", 192, "0" * 64)
    return Recogniser(Thumbnail(), PIXELS, card)


def looking() -> AttributeModel:
    """An attribute model that needs no training."""
    outputs = (
        AttributeOutput("gender", "logits", ("male", "female")),
        AttributeOutput("age", "value", unit="years"),
        AttributeOutput("expression", "logits", ("neutral", "happy")),
    )
    return AttributeModel(Looks(), PIXELS, outputs, AttributeCard("looks", "looks", "looks", "none", "1" * 64))
