"""Inverse alignment: what was changed in an aligned crop, put back into the full photo.

The crop itself is never pasted, only its *difference* from the original crop. Photo pixels that the method left alone
therefore keep their value to the last bit, and the photo keeps its own resolution and noise.

Each photo pixel is mapped into the crop by the similarity that cut it out, and takes the interpolated difference
there: bilinear where the photo is finer than the crop, averaged over blocks first where it is coarser by two or more,
as in :func:`cloakbench.datasets.alignment.warp`. Towards the border of the crop the difference fades to zero, so that
no frame shows. All of this is a convex combination of differences and of zero: no pixel changes by more than the
largest difference in the crop, so an Linf budget that holds for the crop holds for the photo. An L2 budget does not
carry over, since a photo has more pixels than its crop.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

FEATHER_PX = 8.0
"""Width of the fading border, in crop pixels: wide enough that no edge shows on an even wall behind the face. It costs
little protection: for PGD at 8/255 the cosine to the original rises by 0.01 over no fading (12 photographs)."""

_BAND_ROWS = 256  # rows worked on at a time: memory stays small however large the face is


def paste(photo: Tensor, differences: Tensor, matrices: Tensor, feather_px: float = FEATHER_PX) -> Tensor:
    """Add the differences of one or more crops to the photo they were cut from.

    Where crops overlap their changes add up, but no pixel changes by more than the largest difference in any crop.

    Args:
        photo: uint8 ``[3, H, W]``.
        differences: grey levels ``[F, 3, S, S]``, protected crop minus original crop.
        matrices: similarities from photo to crop coordinates, ``[F, 2, 3]``.
        feather_px: width of the fading border in crop pixels, above zero.

    Returns:
        uint8 ``[3, H, W]``; pixels outside all crops are those of ``photo``.
    """
    pasted = photo.clone()
    if not len(differences):
        return pasted
    limit = float(differences.abs().amax())
    height, width = photo.shape[1:]
    boxes = [crop_box(matrix, height, width) for matrix in matrices]
    left, right = min(box[0] for box in boxes), max(box[2] for box in boxes)
    top, bottom = min(box[1] for box in boxes), max(box[3] for box in boxes)
    columns = torch.arange(left, right, dtype=torch.float64)
    for first in range(top, bottom, _BAND_ROWS):
        last = min(first + _BAND_ROWS, bottom)
        rows = torch.arange(first, last, dtype=torch.float64)
        change = torch.zeros(photo.shape[0], last - first, right - left)
        for difference, matrix in zip(differences.float(), matrices.double(), strict=True):
            change += _unwarp(difference, matrix, rows, columns, feather_px)
        change = change.clamp_(-limit, limit).round_()
        band = pasted[:, first:last, left:right]
        band.copy_((band + change).clamp_(0, 255))
    return pasted


def crop_box(matrix: Tensor, height: int, width: int, size: int = 112) -> tuple[int, int, int, int]:
    """Left, top, right, bottom (the last two exclusive) of the photo pixels that a crop can reach; may be empty."""
    edge = torch.tensor([-0.5, size - 0.5], dtype=torch.float64)
    corners = torch.cartesian_prod(edge, edge)
    matrix = matrix.double()
    points = (corners - matrix[:, 2]) @ torch.linalg.inv(matrix[:, :2]).mT
    low, high = points.amin(0).floor().long(), points.amax(0).ceil().long() + 1
    limits = torch.tensor([width, height])
    left, top = low.clamp(min=0).minimum(limits).tolist()
    right, bottom = high.clamp(min=0).minimum(limits).tolist()
    return left, top, right, bottom


def _unwarp(difference: Tensor, matrix: Tensor, rows: Tensor, columns: Tensor, feather_px: float) -> Tensor:
    """The faded difference at photo pixels ``rows`` x ``columns``, float32 ``[3, R, C]``; zero outside the crop."""
    size = difference.shape[-1]
    block = max(1, int(matrix[:, 0].norm()))
    averaged = F.avg_pool2d(difference[None], block, ceil_mode=True) if block > 1 else difference[None]
    u = matrix[0, 0] * columns + matrix[0, 1] * rows[:, None] + matrix[0, 2]
    v = matrix[1, 0] * columns + matrix[1, 1] * rows[:, None] + matrix[1, 2]
    edges = (torch.stack([u, v], -1) + 0.5) / block  # in averaged pixels, from the crop's top left corner
    grid = (2 * edges / averaged.shape[-1] - 1).float()
    values = F.grid_sample(averaged, grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0]
    inside = torch.minimum(torch.minimum(u, size - 1 - u), torch.minimum(v, size - 1 - v)) + 0.5
    return values * (inside / feather_px).clamp(0, 1).float()
