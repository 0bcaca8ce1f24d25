"""High-pass mask of FaceCloak, equations 6 and 7: where a photo has detail that hides a stronger mask."""

from __future__ import annotations

from typing import Literal

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
    from torchvision.transforms.functional import gaussian_blur  # torchvision takes longer to import than torch

    residual = photos - gaussian_blur(photos, [KERNEL_PX] * 2, [SIGMA_PX] * 2)
    deviation, mean = (value.view(-1, 1, 1, 1) for value in _moments(residual))
    return (residual - mean) / deviation.where(deviation > _FLAT, 1.0)


def strong_detail(detail: Tensor, threshold: float, sign: Sign) -> Tensor:
    """Equation 7: one where H, or its absolute value, is above the threshold, zero elsewhere."""
    seen = detail.abs() if sign == "absolute" else detail
    return (seen > threshold).to(detail.dtype)


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    flat = values.flatten(1)
    return flat.std(dim=1, unbiased=False), flat.mean(dim=1)
