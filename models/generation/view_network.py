"""The networks of the embedded generator: one that changes a photo as a code says, one that reads codes off photos.

A view is the photo itself, turned, lit and painted over: the network moves its pixels along a smooth flow (pose, a
smile), multiplies them by a gain for each colour (light, exposure), and lays a colour over some of them (background,
an open mouth, glasses). Whatever it does not touch, such as a mole, stays as it was. So a network of a few hundred
thousand weights keeps what makes a person, where one that paints from nothing would give everybody the same face.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE_PX = 112
"""Side of a photo."""
_GRID = SIZE_PX // 2
"""Side of the maps of changes, which are enlarged to the photo's."""
_SLOPE = 0.1
_CHANGES = (2, 3, 3, 1)
"""Channels of flow, gain, colour and cover."""
_HARDLY = 2.0
"""What is taken off the logit of the cover, so that an untrained network paints over little."""


class Changes(NamedTuple):
    """What is done to the photos ``[N, 3, 112, 112]``, each map ``[N, C, 56, 56]``.

    Attributes:
        flow: where a pixel is taken from, relative to its place; the photo is 2 wide.
        gain: natural logarithm of the factor of each colour.
        colour: painted over the photo, in [0, 1].
        cover: share of that colour, in [0, 1].
    """

    flow: Tensor
    gain: Tensor
    colour: Tensor
    cover: Tensor


def apply_changes(photos: Tensor, changes: Changes) -> Tensor:
    """The changed photos ``[N, 3, 112, 112]``, not yet cut to [0, 1]; differentiable in the changes."""
    maps = F.interpolate(torch.cat(changes, 1), size=[SIZE_PX, SIZE_PX], mode="bilinear", align_corners=False)
    flow, gain, colour, cover = maps.split(_CHANGES, 1)
    grid = _centres(SIZE_PX, photos.device).movedim(0, -1) + flow.movedim(1, -1)
    moved = F.grid_sample(photos, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return torch.lerp(moved * gain.exp(), colour, cover)


def _centres(side: int, device: torch.device) -> Tensor:
    """Centres of the pixels of a square from -1 to 1, ``[2, side, side]`` as x and y."""
    places = (torch.arange(side, device=device) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(places, places, indexing="ij")
    return torch.stack([x, y])


def _with_places(photos: Tensor) -> Tensor:
    """Photos at half size in [-1, 1], and behind them where each pixel is: ``[N, C + 2, 56, 56]``."""
    small = F.avg_pool2d(photos, 2) * 2 - 1
    return torch.cat([small, _centres(_GRID, photos.device).expand(len(photos), -1, -1, -1)], 1)


def _beside(small: Tensor, maps: Tensor) -> Tensor:
    """Maps of half the side, enlarged, and beside them others of the full one."""
    return torch.cat([F.interpolate(small, scale_factor=2.0, mode="nearest"), maps], 1)


class CodedConv(nn.Module):
    """A 3x3 convolution whose channels a code scales and shifts.

    Args:
        channels_in, channels: of the maps.
        code_size: length of the code.
    """

    def __init__(self, channels_in: int, channels: int, code_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.code = nn.Linear(code_size, 2 * channels)

    def forward(self, maps: Tensor, codes: Tensor) -> Tensor:
        scale, shift = self.code(codes)[..., None, None].chunk(2, dim=1)
        return F.leaky_relu(self.conv(maps) * (1 + scale) + shift, _SLOPE)


class ViewNetwork(nn.Module):
    """Photos and codes to views.

    Args:
        code_size: length of a code; codes are drawn from a unit normal distribution.
        widths: channels at 56, 28, 14 and 7 pixels.
        reach: the furthest a pixel is moved along an axis, as a share of half the photo.
        gain: the largest logarithm of a colour's factor.
    """

    def __init__(self, code_size: int, widths: tuple[int, int, int, int], reach: float, gain: float) -> None:
        super().__init__()
        self.code_size, self.reach, self.gain = code_size, reach, gain
        w56, w28, w14, w7 = widths
        self.down = nn.ModuleList(
            [
                nn.Conv2d(5, w56, 3, padding=1),
                nn.Conv2d(w56, w28, 3, 2, padding=1),
                nn.Conv2d(w28, w14, 3, 2, padding=1),
                nn.Conv2d(w14, w7, 3, 2, padding=1),
                nn.Conv2d(w7, w7, 3, padding=1),
            ]
        )
        self.up7 = CodedConv(w7, w14, code_size)
        self.up14 = CodedConv(2 * w14, w28, code_size)
        self.up28 = CodedConv(2 * w28, 2 * w56, code_size)
        self.up56 = CodedConv(3 * w56, 2 * w56, code_size)
        self.coarse = nn.Conv2d(w28, sum(_CHANGES), 1)
        self.out = nn.Conv2d(2 * w56, sum(_CHANGES), 1)
        for layer in (self.coarse, self.out):
            if not layer.weight.is_meta:  # without memory there is nothing to fill; torch would import its compiler
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.get_parameter("bias"))

    def read(self, photos: Tensor) -> list[Tensor]:
        """Maps of the photos ``[N, 3, 112, 112]`` at 56, 28, 14, 7 and 7 pixels; the same for all codes."""
        found, maps = _with_places(photos), []
        for layer in self.down:
            found = F.leaky_relu(layer(found), _SLOPE)
            maps.append(found)
        return maps

    def changes(self, maps: list[Tensor], codes: Tensor) -> Changes:
        """What the codes ``[N, code_size]`` do to photos with these maps."""
        at56, at28, at14, _, at7 = maps
        found = self.up14(_beside(self.up7(at7, codes), at14), codes)
        coarse = F.interpolate(self.coarse(found), size=[_GRID, _GRID], mode="bilinear", align_corners=False)
        found = self.up56(_beside(self.up28(_beside(found, at28), codes), at56), codes)
        flow, gain, colour, cover = (self.out(found) + coarse).split(_CHANGES, 1)
        return Changes(self.reach * flow.tanh(), self.gain * gain.tanh(), colour.sigmoid(), (cover - _HARDLY).sigmoid())

    def views(self, photos: Tensor, codes: Tensor) -> Tensor:
        """One view of each photo, not yet cut to [0, 1]; all together, as training wants them."""
        return apply_changes(photos, self.changes(self.read(photos), codes))

    def forward(self, photos: Tensor, codes: Tensor) -> Tensor:
        """One view of each photo, ``[N, 3, 112, 112]`` in [0, 1]; one at a time, as none may depend on others.

        Raises:
            ValueError: the photos are not 112 x 112.
        """
        if photos.shape[-2:] != (SIZE_PX, SIZE_PX):
            raise ValueError(
                f"photos of {tuple(photos.shape[-2:])} pixels: this generator takes crops of {SIZE_PX} x {SIZE_PX} only"
            )
        rows = zip(photos.split(1), codes.split(1), strict=True)
        return torch.cat([self.views(photo, code).clamp(0, 1) for photo, code in rows])


class CodeReader(nn.Module):
    """What must be done to one photo of a person to come to another one, as a normal distribution over codes.

    It takes part in training only.

    Args:
        code_size: length of a code.
        widths: channels at 28, 14, 7 and 4 pixels.
    """

    def __init__(self, code_size: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        channels = (8, *widths)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, 2, padding=1) for before, after in pairwise(channels)
        )
        self.out = nn.Linear(16 * widths[-1], 2 * code_size)

    def forward(self, photos: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of the variances, both ``[N, code_size]``."""
        found = _with_places(torch.cat([photos, others], 1))
        for layer in self.convolutions:
            found = F.leaky_relu(layer(found), _SLOPE)
        means, variances = self.out(found.flatten(1)).chunk(2, dim=1)
        return means, variances.clamp(-8, 4)
