"""`MaskAveraging`: what all photos of a person share beside their face is taken for a mask, and removed.

A mask that goes onto every photo of a person, as OPOM's does (Zhong and Deng 2022), is in the mean of these photos, in
which their contents average out. What a person's photos share anyway, such as their face, is mostly smooth or shared
with everybody: the fine structure of the mean, less that of strangers' mean, is the estimate. A mask of its own for
each photo averages out, so it cannot be removed like this.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.ranges import grey_step, positive, whole
from cloakbench.bench.protocols.recognition.adversaries.base import CleaningAdversary, Collected, Learn


class MaskAveraging(CleaningAdversary):
    """Nothing is learnt of anybody: each person's mask is estimated from their own published photos.

    Args:
        photos: of a person, from the first one on, that the estimate is made from; at least 2.
        sigma_px: deviation of the Gaussian whose residual is fine structure.
        limit_255: largest change of a value in grey levels.
    """

    title: ClassVar[str] = "Averaging"
    learns: ClassVar[bool] = False

    def __init__(self, photos: int = 10, sigma_px: float = 3.0, limit_255: float = 16.0) -> None:
        self.photos, self.sigma_px = whole("photos", photos, 2), positive("sigma_px", sigma_px)
        self.limit_255 = grey_step("limit_255", limit_255)

    def cleaned(self, collected: Collected, learn: Learn) -> Tensor:
        published = collected.published
        usual = _mean_residual(collected.strangers.images, self.sigma_px)
        found = published.clone()
        for rows in collected.faces.rows_by_identity().values():
            if len(rows) < 2:
                continue  # one photo and its mask cannot be told apart
            mask = _mean_residual(published[rows[: self.photos]], self.sigma_px) - usual
            cleaned = published[rows].double() - mask.clamp(-self.limit_255, self.limit_255)
            found[rows] = cleaned.round().clamp(0, 255).to(torch.uint8)
        return found


def _mean_residual(photos: Tensor, sigma_px: float) -> Tensor:
    """Fine structure of the mean of uint8 photos, float64 ``[3, H, W]`` in grey levels."""
    mean = torch.stack([part.double().sum(dim=0) for part in photos.split(256)]).sum(dim=0) / len(photos)
    reach = min(math.ceil(3 * sigma_px), min(mean.shape[-2:]) - 1)
    bell = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma_px) ** 2)
    bell = (bell / bell.sum()).view(1, 1, 1, -1)
    smooth = F.pad(mean.unsqueeze(1), (reach,) * 4, mode="reflect")
    smooth = F.conv2d(F.conv2d(smooth, bell), bell.transpose(2, 3))
    return mean - smooth.squeeze(1)
