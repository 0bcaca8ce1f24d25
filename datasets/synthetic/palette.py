"""Colours in linear light, taken as the square of sRGB: close enough to the curve and cheap to invert."""

from __future__ import annotations

import torch
from torch import Tensor


def linear(*srgb_255: tuple[int, int, int]) -> Tensor:
    """8-bit sRGB colours as linear light ``[K, 3]``."""
    return (torch.tensor(srgb_255, dtype=torch.float32) / 255.0) ** 2


SKIN = linear((238, 202, 182), (224, 180, 150), (205, 152, 118), (150, 102, 74), (88, 58, 45))
HAIR_NAMES = ("black", "brown", "blond", "red", "grey")
HAIR = linear((28, 23, 22), (82, 55, 38), (196, 156, 110), (134, 66, 36), (172, 170, 167))
WHITE_HAIR = linear((216, 214, 210))
IRIS = linear((62, 40, 27), (100, 68, 40), (108, 108, 70), (92, 126, 146), (112, 122, 130))
SETTING = linear(
    (206, 208, 208), (150, 152, 150), (96, 98, 102), (52, 52, 56), (186, 176, 160), (142, 120, 98), (96, 78, 64),
    (112, 126, 98), (70, 88, 66), (162, 184, 204), (104, 128, 152), (60, 70, 88), (176, 150, 140), (150, 140, 156),
)  # fmt: skip
CLOTH = linear(
    (30, 30, 34), (60, 64, 72), (40, 52, 84), (120, 124, 128), (206, 206, 204), (110, 40, 44), (66, 86, 70),
    (140, 112, 84), (96, 116, 150), (180, 160, 130),
)  # fmt: skip


def along(palette: Tensor, position: Tensor) -> Tensor:
    """The colour ``[N, 3]`` at ``position [N]`` in [0, 1] along a row of colours."""
    place = position.clamp(0, 1) * (len(palette) - 1)
    left = place.floor().long().clamp(max=len(palette) - 2)
    return torch.lerp(palette[left], palette[left + 1], (place - left)[:, None])
