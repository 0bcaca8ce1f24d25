"""A face made anew from what surrounds it: the region, the network that never sees it, and how that learns.

Source: Hukkelås, Mester and Lindseth, "DeepPrivacy: A Generative Adversarial Network for Face Anonymization", ISVC
2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.base import Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.gan.game import DISCRIMINATOR, GENERATOR, Game, below
from cloakbench.methods.parts.gan.networks import PatchDiscriminator, drawn, with_weights
from cloakbench.methods.parts.obfuscation.layers import normed
from cloakbench.methods.parts.taught_faces import enough, pixels

_BETAS = (0.5, 0.999)
_LEVELS = 4
_WAVES = 4
_WIDTH_OVER_HEIGHT = 0.8
"""Of a face."""


def face_region(height: int, width: int, covered: float) -> Tensor:
    """Ones where the face is, ``[1, 1, H, W]``: an upright ellipse in the middle of an aligned crop.

    Args:
        covered: height of the ellipse over that of the crop, from 0 to 1; it is four fifths as wide.
    """
    down, across = (
        ((2 * torch.arange(side) + 1) / side - 1) / max(covered * share, 1e-9)
        for side, share in ((height, 1.0), (width, _WIDTH_OVER_HEIGHT))
    )
    inside = down.square().unsqueeze(1) + across.square() <= 1
    return inside.float().view(1, 1, height, width)


class FaceInpainter(nn.Module):
    """Photos ``[N, 3, H, W]`` in [0, 1] with the face filled in; pixels of the region are blanked before it looks.

    Three halvings, dilated convolutions that reach across the region and are told their place, three doublings. Sides
    are multiples of 8.

    Args:
        width: channels at half size, which double at each halving.
        covered: see `face_region`.
    """

    def __init__(self, width: int, covered: float) -> None:
        super().__init__()
        self.covered = covered
        wide = 4 * width
        self.encoder = nn.Sequential(
            *normed(4, width, 4, 2), *normed(width, 2 * width, 4, 2), *normed(2 * width, wide, 4, 2)
        )
        self.filler = nn.Sequential(
            *normed(wide + 4 * _WAVES, wide, 3, 1),
            *(layer for reach in (2, 4, 2) for layer in normed(wide, wide, 3, 1, reach)),
            nn.Upsample(scale_factor=2),
            *normed(wide, 2 * width, 3, 1),
            nn.Upsample(scale_factor=2),
            *normed(2 * width, width // 2, 3, 1),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width // 2, 3, 3, 1, 1),
        )

    def forward(self, photos: Tensor) -> Tensor:
        region = face_region(photos.shape[-2], photos.shape[-1], self.covered).to(photos)
        around = photos * (1 - region)
        code = self.encoder(torch.cat([around, region.expand(len(photos), -1, -1, -1)], dim=1))
        place = places(code.shape[-2], code.shape[-1]).to(code).expand(len(code), -1, -1, -1)
        return around + region * self.filler(torch.cat([code, place], dim=1)).sigmoid()


def places(height: int, width: int) -> Tensor:
    """Sines and cosines of where a cell of the code is, ``[1, 16, H, W]``: in the middle of the region nothing else
    tells it."""
    down, across = (torch.pi * ((2 * torch.arange(side) + 1) / side - 1) / 2 for side in (height, width))
    angles = torch.stack(torch.meshgrid(down, across, indexing="ij"))
    turns = torch.cat([angles * (wave + 1) for wave in range(_WAVES)])
    return torch.cat([turns.sin(), turns.cos()]).unsqueeze(0)


class InpaintingGame(Game):
    """An inpainter against a discriminator of patches: ``BCE(D(G(x)), real) + w |G(x) - x|_1``, the mean over the
    region."""

    taught: ClassVar[str] = "an inpainter"

    def __init__(
        self, inpainter: nn.Module, discriminator: nn.Module, learning_rate: float, l1_weight: float, covered: float
    ) -> None:
        super().__init__(inpainter, discriminator, learning_rate, _BETAS)
        self.l1_weight, self.covered = l1_weight, covered

    def step(self, photos: Tensor) -> Tensor:
        """One step of each network; returns the losses of inpainter and discriminator, ``[2]``."""
        self.discriminator.requires_grad_(False)  # the inpainter's loss is none of its business
        made = self.generator(photos)
        looks = self.discriminator(2 * made - 1)
        area = face_region(photos.shape[-2], photos.shape[-1], self.covered).mean().clamp(min=1e-3)
        first = F.binary_cross_entropy_with_logits(looks, torch.ones_like(looks))
        first = first + self.l1_weight * F.l1_loss(made, photos) / area
        self.descend(0, first)

        self.discriminator.requires_grad_(True)
        real, fake = (self.discriminator(2 * seen - 1) for seen in (photos, made.detach()))
        second = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
        second = second + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
        self.descend(1, second)
        return torch.stack([first.detach(), second.detach()])


@dataclass(frozen=True)
class InpaintingTraining(Stage):
    """Learns on auxiliary faces to fill in the face; settings are those of `cloakbench.methods.deepprivacy`."""

    name: ClassVar[str] = "inpainting"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.AUXILIARY})

    covered: float
    width: int
    discriminator_width: int
    steps: int
    batch: int
    learning_rate: float
    l1_weight: float

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """Weights of inpainter and discriminator.

        Raises:
            ValueError: there are fewer than two faces, or training diverged.
        """
        faces = enough(context.require_auxiliary(), "deepprivacy").images
        makers = {
            GENERATOR: partial(FaceInpainter, self.width, self.covered),
            DISCRIMINATOR: partial(PatchDiscriminator, self.discriminator_width, _LEVELS),
        }
        inpainter, discriminator = (
            drawn(make, context.seed, self.name, side).to(context.device) for side, make in makers.items()
        )
        game = InpaintingGame(inpainter, discriminator, self.learning_rate, self.l1_weight, self.covered)
        rows = (
            torch.randperm(len(faces), generator=generator(context.seed, self.name, "step", step))[: self.batch]
            for step in range(self.steps)
        )

        def step(own: Tensor, number: int) -> Tensor:
            return game.step(pixels(faces, own, context))

        game.go_on(rows, step, self.steps, context, "method.learning_rate")
        return game.weights()

    def inpainter(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """The frozen inpainter with what `run` gave."""
        return with_weights(partial(FaceInpainter, self.width, self.covered), below(GENERATOR, weights))
