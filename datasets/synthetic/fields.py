"""Small functions on fields of pixels ``[B, C, H, W]`` from which faces are drawn."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def ramp(signed_distance: Tensor, width: float | Tensor) -> Tensor:
    """A soft edge: 0 outside, 1 inside, linear over ``width`` around zero."""
    return (signed_distance / width + 0.5).clamp_(0, 1)


def bump(x: Tensor, y: Tensor | None = None) -> Tensor:
    """``(1 - r^2 / 4)^4`` for r < 2, else 0, with r^2 = x^2 (+ y^2): the unit every soft shape is made of.

    Close to ``exp(-r^2)``, but five times faster: ``exp`` underflows to denormal numbers, which are slow.
    """
    square = x * x
    if y is not None:
        square = square + y * y
    return square.mul_(-0.25).add_(1).clamp_(min=0).square_().square_()


def mix(base: Tensor, paint: Tensor, share: Tensor) -> Tensor:
    """``paint`` laid over ``base`` with opacity ``share``."""
    return torch.lerp(base, paint, share)


def upsample(field: Tensor, size: int) -> Tensor:
    """Bilinear resize to ``size`` x ``size``."""
    return F.interpolate(field, size=size, mode="bilinear", align_corners=False)


def look_up(atlas: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Values of ``atlas [1, C, H, W]`` at ``x, y [B, 1, H, W]``; one turn of the atlas is [-1, 1], mirrored beyond."""
    grid = torch.cat([x, y], 1).movedim(1, -1)
    return F.grid_sample(
        atlas.expand(len(x), -1, -1, -1), grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
