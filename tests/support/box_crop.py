"""Square crops of a face box: what classifiers trained on whole heads see, where recognisers see aligned faces.

Pixel coordinates have their origin in the centre of the top left pixel, x to the right and y downwards.
"""

from __future__ import annotations

import torch
from torch import Tensor


def square_crop(image: Tensor, box: Tensor, size: int, enlarge: float = 0.0) -> Tensor:
    """The box, squared to its longer side around its centre, as ``size`` x ``size`` pixels.

    The square's top left corner goes to pixel (0, 0) and the scale is ``size`` over its side: one bilinear affine warp,
    without averaging where it shrinks, and with the photo's border replicated outside. A warp without rotation takes
    its rows and its columns apart.

    Args:
        image: uint8 ``[3, H, W]``.
        box: x1, y1, x2, y2 in pixels of the photo, ``[4]``.
        size: side of the crop.
        enlarge: how much of the square's side is added on each of its four sides.

    Returns:
        uint8 ``[3, size, size]``.

    Raises:
        ValueError: the box is empty or not finite.
    """
    x1, y1, x2, y2 = box.double().tolist()
    if not box.isfinite().all() or x2 <= x1 or y2 <= y1:
        raise ValueError(f"the face box {box.tolist()} is empty or not finite")
    side = max(x2 - x1, y2 - y1) * (1 + 2 * enlarge)
    steps = torch.arange(size, dtype=torch.float64) * side / size
    rows = _interpolate(image, (y1 + y2 - side) / 2 + steps, 1)
    crop = _interpolate(rows, (x1 + x2 - side) / 2 + steps, 2)
    return crop.round().clamp(0, 255).to(torch.uint8)


def _interpolate(image: Tensor, positions: Tensor, dim: int) -> Tensor:
    """``image`` at fractional ``positions`` along ``dim``; its first and last value go on for ever."""
    last = image.shape[dim] - 1
    before = positions.floor()
    weight = (positions - before).view(-1, *[1] * (image.ndim - 1 - dim))
    low, high = (index.clamp(0, last).long() for index in (before, before + 1))
    return torch.lerp(image.index_select(dim, low).double(), image.index_select(dim, high).double(), weight)
