"""From linear light to a photo file: exposure, tone curve, blur, low resolution, sensor noise, compression."""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.datasets.synthetic.fields import upsample
from cloakbench.datasets.synthetic.geometry import HALF, SIZE
from cloakbench.datasets.synthetic.table import Traits

NOISE_SHAPES = ((1, SIZE, SIZE), (3, HALF, HALF))  # sensor noise of one image: brightness, colour
BLOCK = 8
METERED = 0.33  # the linear skin brightness the camera is set to

# Quantisation of luma in JPEG (ITU-T T.81, table K.1), grey levels.
LUMA_STEPS = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip


def develop(scene: Tensor, face: Traits, shot: Traits) -> Tensor:
    """Linear light ``[B, 3, H, W]`` to display values: colour cast, exposure, soft highlights, gamma, saturation.

    The camera meters the face: it opens up for dark skin and stops down for light skin, part of the way.
    """
    metered = (METERED / face.skin.mean(1, keepdim=True)) ** 0.18
    exposed = (scene * (shot.cast * (shot.exposure * metered))).clamp_(min=1e-5)
    exposed = exposed / (1 + 0.20 * exposed * exposed)
    display = exposed.pow(0.5 * shot.gamma)
    return torch.lerp(display.mean(1, keepdim=True), display, shot.saturation)


def degrade(display: Tensor, shot: Traits, luma_noise: Tensor, colour_noise: Tensor) -> Tensor:
    """What lens, sensor and file format do. Noise: unit normals ``[B, 1, 112, 112]`` and ``[B, 3, 56, 56]``."""
    blurred = shot.column("blur").nonzero()[:, 0]
    if len(blurred):
        sharp = display[blurred]
        soft = _box_blur(_box_blur(sharp))
        display[blurred] = torch.lerp(sharp, soft, shot.blur[blurred])
    small = shot.column("low_resolution").nonzero()[:, 0]
    if len(small):
        display[small] = upsample(F.avg_pool2d(display[small], 2), SIZE)
    display = display + luma_noise * shot.sensor_noise
    display = display + upsample(colour_noise * (0.6 * shot.sensor_noise), SIZE)
    compressed = shot.column("compression").nonzero()[:, 0]
    if len(compressed):
        display[compressed] = _compress(display[compressed], shot.compression[compressed])
    return display


def to_8_bit(display: Tensor) -> Tensor:
    """Display values to grey levels."""
    return (display * 255).round_().clamp_(0, 255).to(torch.uint8)


def _box_blur(image: Tensor) -> Tensor:
    image = F.pad(image, (1, 1, 1, 1), mode="replicate")
    image = image[..., :-2, :] + image[..., 1:-1, :] + image[..., 2:, :]
    return (image[..., :-2] + image[..., 1:-1] + image[..., 2:]) / 9


@cache
def _cosines() -> Tensor:
    """The orthonormal 8-point DCT as a matrix ``[8, 8]``."""
    place = torch.arange(float(BLOCK))
    matrix = 0.5 * torch.cos((2 * place + 1) * place[:, None] * math.pi / (2 * BLOCK))
    matrix[0] *= math.sqrt(0.5)
    return matrix


@cache
def _quantisation() -> Tensor:
    luma = torch.tensor(LUMA_STEPS) / 255
    chroma = (1.4 * luma).clamp(max=0.4)
    return torch.stack([luma, chroma, chroma]).view(1, 3, 1, 1, BLOCK, BLOCK)


def _compress(image: Tensor, strength: Tensor) -> Tensor:
    """Rounds the DCT coefficients of 8x8 blocks as JPEG does; the chroma planes keep their resolution."""
    blocks = SIZE // BLOCK
    tiles = _to_luma_chroma(image).view(-1, 3, blocks, BLOCK, blocks, BLOCK).transpose(3, 4).contiguous()
    steps = _quantisation() * strength[..., None, None]
    coefficients = torch.round(_both_ways(tiles, _cosines()) / steps) * steps
    tiles = _both_ways(coefficients, _cosines().T.contiguous())
    return _to_rgb(tiles.transpose(3, 4).reshape(-1, 3, SIZE, SIZE))


def _both_ways(tiles: Tensor, matrix: Tensor) -> Tensor:
    """``matrix @ tile @ matrix.T`` for each tile.

    One product per image (``bmm``), never one for the batch: a product's rounding may depend on its shape, and an
    image must not depend on its neighbours.
    """
    image_matrix = matrix.T.expand(len(tiles), -1, -1)
    rows = torch.bmm(tiles.reshape(len(tiles), -1, BLOCK), image_matrix).view_as(tiles).transpose(-1, -2)
    columns = torch.bmm(rows.reshape(len(tiles), -1, BLOCK), image_matrix).view_as(tiles)
    return columns.transpose(-1, -2)


def _to_luma_chroma(image: Tensor) -> Tensor:
    red, green, blue = image.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([luma, 0.564 * (blue - luma), 0.713 * (red - luma)], 1)


def _to_rgb(planes: Tensor) -> Tensor:
    luma, blue_difference, red_difference = planes.unbind(1)
    red, blue = luma + red_difference / 0.713, luma + blue_difference / 0.564
    return torch.stack([red, (luma - 0.299 * red - 0.114 * blue) / 0.587, blue], 1)
