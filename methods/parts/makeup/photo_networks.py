"""`PhotoNetworks`: untrained encoder-decoders side by side, one for each photo, that give it another face's makeup.

Sources: Ulyanov, Vedaldi and Lempitsky, "Deep Image Prior", CVPR 2018, for the idea that an untrained network holds
what photos look like; Shamshad, Naseer and Nandakumar, "Makeup-Guided Facial Privacy Protection via Untrained Neural
Network Priors", ECCV Workshops 2024, for correspondence by region and conditional makeup layers.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.makeup.regions import soft_face

_LEAST_SPREAD = 1e-3
_PALEST = 0.02
"""Pixels nearer than this to black or white are taken for that near, so that their logit is finite."""


class PhotoNetworks(nn.Module):
    """N networks with weights of their own, as grouped convolutions, so that photos share passes and nothing else.

    Two convolutions of stride 2 see the photo and, with the same weights, the reference. In each region the code of the
    photo is given the mean and deviation of the reference's code there, channel by channel. Two convolutions lead back,
    one more adds to the logit of the photo, in its regions alone. It begins with zeros, so that what comes out first is
    the photo.

    Args:
        streams: whose numbers first weights are made of, a row for each photo.
        photos: N.
        width: channels of the first convolution.
    """

    def __init__(self, streams: ItemStreams, photos: int, width: int) -> None:
        super().__init__()
        self.photos = photos
        shapes = {
            "into": (width, 3),
            "down": (2 * width, width),
            "up": (width, 2 * width),
            "wide": (width, width + 3),
            "last": (3, width),
        }
        for name, (outputs, inputs) in shapes.items():
            weight = streams.branch(name).normal(outputs, inputs, 3, 3) * math.sqrt(2 / (9 * inputs))
            self.register_parameter(name, nn.Parameter(weight * (name != "last")))
            self.register_parameter(f"{name}_bias", nn.Parameter(weight.new_zeros(photos, outputs)))

    def forward(self, photos: Tensor, regions: Tensor, reference: Tensor, reference_regions: Tensor) -> Tensor:
        """Photos with makeup ``[N, 3, H, W]`` in [0, 1].

        Args:
            photos: ``[N, 3, H, W]`` in [0, 1].
            regions: of the photos, ``[N, R, H, W]``.
            reference: ``[1, 3, h, w]``.
            reference_regions: ``[1, R, h, w]``.
        """
        code = self._encoded(photos)
        style = self._encoded(reference.expand(self.photos, -1, -1, -1))
        code = _restyled(code, regions, style, reference_regions.expand(self.photos, -1, -1, -1))
        height, width = photos.shape[-2:]
        half = self._layer("up", F.interpolate(code, size=(-(-height // 2), -(-width // 2)))).relu()
        seen = torch.cat([F.interpolate(half, size=(height, width)), 2 * photos - 1], dim=1)
        change = soft_face(regions) * self._layer("last", self._layer("wide", seen).relu())
        inner = photos.clamp(_PALEST, 1 - _PALEST)
        return ((inner.logit() + change).sigmoid() + (photos - inner)).clamp(0, 1)

    def _encoded(self, photos: Tensor) -> Tensor:
        return self._layer("down", self._layer("into", 2 * photos - 1, 2).relu(), 2).relu()

    def _layer(self, name: str, maps: Tensor, stride: int = 1) -> Tensor:
        """A 3x3 convolution of each photo's maps ``[N, C, H, W]`` with its own weights."""
        weight, bias = self.get_parameter(name), self.get_parameter(f"{name}_bias")
        together = F.conv2d(
            maps.flatten(0, 1).unsqueeze(0), weight.flatten(0, 1), bias.flatten(), stride, 1, 1, self.photos
        )
        return together[0].unflatten(0, (self.photos, -1))


def _restyled(code: Tensor, regions: Tensor, style: Tensor, style_regions: Tensor) -> Tensor:
    """Codes ``[N, C, h, w]`` that have, inside each region, the mean and deviation of the style there."""
    own, others = (
        F.interpolate(areas, size=maps.shape[-2:], mode="area")
        for areas, maps in ((regions, code), (style_regions, style))
    )
    mean, spread, there = _moments(code, own)
    goal, goal_spread, also = _moments(style, others)
    both = (there & also).unsqueeze(2)
    scale = torch.where(both, goal_spread / spread, 1.0)
    shift = torch.where(both, goal - scale * mean, 0.0)
    inside = own * both.unsqueeze(3)
    share = inside.sum(dim=1, keepdim=True)  # at most one: regions share no pixel
    scales, shifts = (torch.einsum("nrhw,nrc->nchw", inside, values) for values in (scale, shift))
    return code * (1 - share) + code * scales + shifts


def _moments(maps: Tensor, areas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and deviation ``[N, R, C]`` of maps inside areas, and which areas are not empty, ``[N, R]``."""
    size = areas.sum(dim=(2, 3))
    weights = areas / size.clamp(min=1e-6).unsqueeze(-1).unsqueeze(-1)
    mean = torch.einsum("nrhw,nchw->nrc", weights, maps)
    square = torch.einsum("nrhw,nchw->nrc", weights, maps.square())
    return mean, (square - mean.square()).clamp(min=0).add(_LEAST_SPREAD).sqrt(), size > 0
