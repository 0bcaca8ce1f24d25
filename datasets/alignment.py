"""Five-point alignment of a face to the ArcFace template.

The similarity is the least-squares one of Umeyama (PAMI 1991). In two dimensions it has a closed form: with centred
points written as complex numbers z and w, the best scale and rotation is ``sum(conj(z) w) / sum(|z|^2)``. Reflections
are not in that form, so mirrored points are never mirrored back.

Pixel coordinates have their origin in the centre of the top left pixel, x to the right and y downwards.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

CROP_SIZE = 112

Outside = Literal["black", "edge"]
"""What a crop shows where it leaves the photo: black, or the nearest pixel of the photo."""

_PADDING: dict[Outside, str] = {"black": "zeros", "edge": "border"}

ARCFACE_TEMPLATE: tuple[tuple[float, float], ...] = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
"""Eyes, nose tip, mouth corners, from left to right in the image, in pixels of the 112x112 crop."""


def similarity_transform(source: Tensor, target: Tensor) -> Tensor:
    """The similarities that bring ``source`` closest to ``target``.

    Args:
        source: points, ``[..., K, 2]``.
        target: points, ``[K, 2]`` or the shape of ``source``.

    Returns:
        float64 ``[..., 2, 3]``; ``points @ m[..., :2].mT + m[..., 2]`` maps source to target coordinates.

    Raises:
        ValueError: the points of a set coincide, are not finite, or fit the target at no scale.
    """
    source, target = source.double(), target.double()
    source_mean, target_mean = source.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    z, w = source - source_mean, target - target_mean
    spread = z.square().sum((-2, -1))
    cosine = (z * w).sum((-2, -1)) / spread
    sine = (z[..., 0] * w[..., 1] - z[..., 1] * w[..., 0]).sum(-1) / spread
    scale = torch.hypot(cosine, sine)
    if not ((spread > 1e-9) & scale.isfinite() & (scale > 1e-9)).all():
        raise ValueError("landmarks coincide, are not finite, or do not resemble the template")
    rotation = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
    shift = target_mean - source_mean @ rotation.mT
    return torch.cat([rotation, shift.mT], -1)


def transform_points(points: Tensor, matrix: Tensor) -> Tensor:
    """Map ``points`` ``[..., K, 2]`` by ``matrix`` ``[..., 2, 3]``."""
    return points.to(matrix) @ matrix[..., :2].mT + matrix[..., None, :, 2]


def crop_side(matrix: Tensor) -> float:
    """Side length of the aligned crop, measured in pixels of the photo: how much detail the face really has."""
    return CROP_SIZE / float(matrix[:, 0].norm())


def warp(image: Tensor, matrix: Tensor, size: int = CROP_SIZE, outside: Outside = "black") -> Tensor:
    """Cut a crop out of a photo, with bilinear interpolation.

    Bilinear interpolation aliases when it shrinks by more than two. Where a crop pixel covers ``n >= 2`` photo pixels,
    the photo is first averaged over blocks of ``floor(n)`` by ``floor(n)``, so that the interpolation itself never
    shrinks by two or more; below that nothing is averaged and the result is plain bilinear.

    Args:
        image: uint8 ``[3, H, W]``.
        matrix: similarity from photo to crop coordinates, ``[2, 3]``.
        size: side of the crop.
        outside: see `Outside`.

    Returns:
        uint8 ``[3, size, size]``.

    Raises:
        ValueError: no part of the crop lies inside the photo.
    """
    matrix = matrix.double()
    block = max(1, int(1 / float(matrix[:, 0].norm())))
    axis = torch.arange(size, dtype=torch.float64)
    crop_points = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).flatten(0, 1)
    points = (crop_points - matrix[:, 2]) @ torch.linalg.inv(matrix[:, :2]).mT

    # Only the part of the photo under the crop, and one block around it, is converted and averaged.
    height, width = image.shape[1:]
    low = (points.amin(0) - 2 * block).floor().clamp(min=0).long()
    high = (points.amax(0) + 2 * block + 1).ceil().clamp(max=torch.tensor([width, height])).long()
    if (low >= high).any():
        raise ValueError("the face lies outside the photo")
    region = image[:, low[1] : high[1], low[0] : high[0]].float()[None]
    if block > 1:
        region = F.avg_pool2d(region, block, ceil_mode=True)
    edges = (points - low + 0.5) / block  # in averaged pixels, from the region's top left corner
    extent = torch.tensor([region.shape[3], region.shape[2]], dtype=torch.float64)
    grid = (2 * edges / extent - 1).float().view(1, size, size, 2)
    crop = F.grid_sample(region, grid, mode="bilinear", padding_mode=_PADDING[outside], align_corners=False)
    return crop[0].round().clamp(0, 255).to(torch.uint8)


def resize_crop(image: Tensor, size: int = CROP_SIZE) -> Tensor:
    """Resize a crop, uint8 ``[3, H, W]``, to ``size`` x ``size``: bilinear, anti-aliased where it shrinks."""
    if image.shape[1:] == (size, size):
        return image
    resized = F.interpolate(image.float()[None], (size, size), mode="bilinear", antialias=True, align_corners=False)
    return resized[0].round().clamp(0, 255).to(torch.uint8)
