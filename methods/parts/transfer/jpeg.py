"""JPEG files as part of a view: what is left of a photo in one, with a gradient.

Sources: ITU-T T.81 (1992), annex K (tables) and section A.3.3 (cosine transform); libjpeg's scale from quality to
tables. Rounding passes gradients straight through (Bengio et al., "Estimating or Propagating Gradients Through
Stochastic Neurons", 2013): gradients that leave out what a file drops protected less, see ``docs/transfer.md``.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 8
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def through_jpeg(photos: Tensor, quality: Tensor) -> Tensor:
    """Photos as files of a quality hold them, colour at half the resolution.

    The values are those of a decoder but for its roundings to whole grey levels.

    Args:
        photos: ``[N, 3, H, W]`` in [0, 1].
        quality: ``[N]``, libjpeg's scale from 1 to 100.
    """
    height, width = photos.shape[-2:]
    grown = F.pad(photos, (0, -width % (2 * _BLOCK), 0, -height % (2 * _BLOCK)), mode="replicate")
    to_ycc = photos.new_tensor(_TO_YCC)
    planes = torch.einsum("ij,njhw->nihw", to_ycc, 255 * grown)
    luma, colour = planes[:, :1] - 128, F.avg_pool2d(planes[:, 1:], 2)
    luma, colour = _coded(luma, _LUMA, quality), _coded(colour, _CHROMA, quality)
    wide = F.interpolate(colour, scale_factor=2, mode="bilinear", align_corners=False)
    back = torch.cat([luma + 128, wide], dim=1)
    return (torch.einsum("ij,njhw->nihw", torch.linalg.inv(to_ycc), back) / 255)[..., :height, :width].clamp(0, 1)


def _coded(planes: Tensor, table: tuple[tuple[int, ...], ...], quality: Tensor) -> Tensor:
    """Planes ``[N, C, H, W]``, of whole blocks, with their coefficients rounded to steps."""
    down, along = (_transform(side, planes) for side in planes.shape[-2:])
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality).to(planes).view(-1, 1, 1)
    steps = ((planes.new_tensor(table) * scale + 50) / 100).floor().clamp(1, 255)
    repeats = [side // _BLOCK for side in planes.shape[-2:]]
    steps = steps.repeat(1, *repeats).unsqueeze(1)
    return down.mT @ (_rounded(down @ planes @ along.mT / steps) * steps) @ along


def _rounded(numbers: Tensor) -> Tensor:
    """Whole numbers, with the gradient of the numbers themselves."""
    return numbers + (numbers.detach().round() - numbers.detach())


def _transform(side: int, like: Tensor) -> Tensor:
    """The matrix ``[side, side]`` of the cosine transform of each block along an axis, orthonormal."""
    places = torch.arange(_BLOCK, dtype=torch.float64)
    basis = (math.pi / _BLOCK * places[:, None] * (places + 0.5)).cos() * math.sqrt(2 / _BLOCK)
    basis[0] /= math.sqrt(2)
    return torch.block_diag(*[basis] * (side // _BLOCK)).to(like)
