"""`ContrastBudget`: more of the budget where a photo is busy, less where it is smooth and a change would be seen.

Sources: Luo et al., "Towards Imperceptible and Robust Adversarial Example Attacks against Neural Networks", AAAI 2018,
section 3.1 (a change is the less visible the larger the deviation about it); Croce and Hein, "Sparse and Imperceivable
Adversarial Attacks", ICCV 2019, equation 9 (bounds of each pixel from the deviation of its neighbours).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, odd, share

_LUMA = (0.299, 0.587, 0.114)
_ROUNDS = 40
"""Halvings of the interval that a factor lies in: to the last bit."""
_FLAT = 1e-4
"""Deviation of a patch without any detail, a fortieth of a grey level: a photo that is flat has one bound all over."""


class ContrastBudget:
    """A bound for every pixel: the budget times a share that grows with the deviation of the brightness about it.

    Shares are ``clip(c * deviation, least_share, 1)``, with the c for each photo that makes their mean ``mean_share``;
    so no bound is above the budget, and its mean is that of a flat budget of so much less.

    Args:
        mean_share: of the budget, over the pixels of a photo.
        least_share: of the budget, in its smoothest parts.
        window_px: side of the square that a deviation is taken in.

    Raises:
        SettingError: a parameter is out of range, or the least share above the mean.
    """

    def __init__(self, mean_share: float = 0.75, least_share: float = 0.25, window_px: int = 5) -> None:
        self.least_share = share("least_share", least_share)
        self.mean_share = share("mean_share", at_least("mean_share", mean_share, least_share))
        self.window_px = odd("window_px", window_px)

    def shares(self, images: Tensor) -> Tensor:
        """Shares of the budget, ``[N, 1, H, W]``, for images ``[N, 3, H, W]`` in [0, 1]."""
        deviation = self._deviation(images)
        low, high = (torch.full_like(deviation[:, :1, :1, :1], end) for end in (0.0, 1 / _FLAT))
        for _ in range(_ROUNDS):
            middle = (low + high) / 2
            mean = self._clipped(middle * deviation).mean(dim=(1, 2, 3), keepdim=True)
            low, high = (
                torch.where(mean < self.mean_share, middle, low),
                torch.where(mean < self.mean_share, high, middle),
            )
        return self._clipped(high * deviation)

    def _clipped(self, shares: Tensor) -> Tensor:
        return shares.clamp(self.least_share, 1)

    def _deviation(self, images: Tensor) -> Tensor:
        luma = (images * images.new_tensor(_LUMA).view(-1, 1, 1)).sum(dim=1, keepdim=True)
        mean, squares = (self._mean(maps) for maps in (luma, luma.square()))
        return (squares - mean.square()).clamp(min=0).sqrt() + _FLAT

    def _mean(self, maps: Tensor) -> Tensor:
        return F.avg_pool2d(maps, self.window_px, stride=1, padding=self.window_px // 2, count_include_pad=False)
