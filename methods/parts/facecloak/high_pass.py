"""High-pass mask of FaceCloak, equations 6 and 7: where a photo has detail that hides a stronger mask."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Sign = Literal["absolute", "signed"]
"""``absolute``: detail is what is much brighter or much darker than about it. ``signed``: brighter only."""

KERNEL_PX, SIGMA_PX = 23, 3.0
"""Of the Gaussian, as released."""
_FLAT = 1e-6
"""A residual of less deviation is nothing but rounding."""


def high_pass(photos: Tensor) -> Tensor:
    """Equation 6: ``H = (r - mean r) / std r`` of ``r = x - G * x``, with one mean and deviation for each photo.

    Zero for a photo without any detail; borders are mirrored.
    """
    residual = photos - _blurred(photos)
    mean = residual.mean(dim=(1, 2, 3), keepdim=True)
    deviation = residual.std(dim=(1, 2, 3), correction=0, keepdim=True)
    return (residual - mean) / deviation.where(deviation > _FLAT, 1.0)


def strong_detail(detail: Tensor, threshold: float, sign: Sign) -> Tensor:
    """Equation 7: one where H, or its absolute value, is above the threshold, zero elsewhere."""
    seen = detail.abs() if sign == "absolute" else detail
    return (seen > threshold).to(detail.dtype)


def _blurred(photos: Tensor) -> Tensor:
    """G * x, along one axis after the other."""
    half = KERNEL_PX // 2
    places = torch.arange(-half, half + 1, dtype=photos.dtype, device=photos.device)
    kernel = torch.softmax(-(places / SIGMA_PX).square() / 2, dim=0)
    channels = F.pad(photos, [half] * 4, mode="reflect").flatten(0, 1).unsqueeze(1)
    return F.conv2d(F.conv2d(channels, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1)).view_as(photos)
