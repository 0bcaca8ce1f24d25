"""The blend of a photo and its owner's veil, and the way back.

Source: "Once-for-all: Efficient Visual Face Privacy Protection via Person-specific Veils" (2024), equation 12. Its
equation 14, the way back, divides by ``1 - alpha`` where it must be ``alpha``, and so gives back
``alpha / (1 - alpha)`` of the photo: right at 0.5 alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def blend(photos: Tensor, veils: Tensor, alpha: float) -> Tensor:
    """``alpha x + (1 - alpha) veil``, which is in [0, 1] wherever both are (equation 12)."""
    return torch.lerp(veils, photos, alpha)


def unblend(protected: Tensor, veils: Tensor, alpha: float) -> Tensor:
    """The photos in a blend, clipped to [0, 1]: equation 12 solved for the photo.

    An error of half a grey level in the blend is one of ``0.5 / alpha`` in the photo.

    Args:
        protected, veils: of one shape.
        alpha: share of the photo in the blend, above 0.
    """
    return torch.add(protected, veils, alpha=alpha - 1).div_(alpha).clamp_(0, 1)


def smoothed(photos: Tensor, sigma_px: float = 0.5) -> Tensor:
    """Recovered photos after a Gaussian filter, as the paper shows them ("to improve the visual quality").

    It averages the error of rounding away together with detail. The paper states no width.

    Args:
        photos: float ``[N, 3, H, W]``.
        sigma_px: standard deviation in pixels; the filter ends at four of them, or at the size of a photo, and is
            mirrored at the border.
    """
    radius = min(math.ceil(4 * sigma_px), min(photos.shape[-2:]) - 1)
    offsets = torch.arange(-radius, radius + 1, dtype=photos.dtype, device=photos.device)
    bell = (-0.5 * (offsets / sigma_px).square()).exp()
    window = (bell / bell.sum()).expand(photos.shape[1], 1, 1, -1)
    padded = F.pad(photos, [radius] * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, window, groups=photos.shape[1]), window.mT, groups=photos.shape[1])
