"""Views that move nothing: photos in another light, and with a square missing.

Sources: Athalye et al., "Synthesizing Robust Adversarial Examples", ICML 2018, table 1 (lighting among the
transformations of EOT); DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout",
2017; as views of an attack, Lin et al., "Nesterov Accelerated Gradient and Scale Invariance for Adversarial Attacks",
ICLR 2020, section 3.3 (darkened copies).
"""

from __future__ import annotations

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, share, share_below_one
from cloakbench.methods.parts.transfer.views import RandomViews


class ColourViews(RandomViews):
    """Photos with another contrast about middle grey, another brightness, and channels of another strength.

    Nothing is clipped, so that no pixel loses its gradient.

    Args:
        brightness: the most that is added or taken, in [0, 1] of a pixel's range.
        contrast: the most that the factor of the distance from middle grey differs from one.
        channels: the most that the factor of each channel differs from one.
        for_each_network: see `RandomViews`.

    Raises:
        SettingError: a parameter is out of range.
    """

    numbers = 5

    def __init__(
        self, brightness: float = 0.1, contrast: float = 0.2, channels: float = 0.05, for_each_network: bool = True
    ) -> None:
        self.brightness = share("brightness", brightness)
        self.contrast = share_below_one("contrast", contrast)
        self.channels = share_below_one("channels", channels)
        self.for_each_network = for_each_network

    def see(self, photos: Tensor, draws: Tensor) -> Tensor:
        if (self.brightness, self.contrast, self.channels) == (0, 0, 0):
            return photos
        either = 2 * draws - 1
        factor = (1 + self.contrast * either[:, :1]) * (1 + self.channels * either[:, 2:])
        offset = 0.5 - 0.5 * factor + self.brightness * either[:, 1:2]
        return torch.addcmul(offset.view(-1, 3, 1, 1), photos, factor.view(-1, 3, 1, 1))


class CutOut(RandomViews):
    """Photos with a square of middle grey somewhere in them.

    Args:
        probability: of a photo having one.
        side_low, side_high: of the square beside the photo's, uniform between them.
        for_each_network: see `RandomViews`.

    Raises:
        SettingError: a parameter is out of range.
    """

    numbers = 4

    def __init__(
        self,
        probability: float = 0.5,
        side_low: float = 0.1,
        side_high: float = 0.4,
        for_each_network: bool = True,
    ) -> None:
        self.probability = share("probability", probability)
        self.side_low = share("side_low", side_low)
        self.side_high = share("side_high", at_least("side_high", side_high, side_low))
        self.for_each_network = for_each_network

    def see(self, photos: Tensor, draws: Tensor) -> Tensor:
        if self.probability == 0 or self.side_high == 0:
            return photos
        chosen, size, top, left = draws.unbind(dim=1)
        side = self.side_low + size * (self.side_high - self.side_low)
        rows, columns = (
            self._within(start * (1 - side), side, length, photos)
            for start, length in zip((top, left), photos.shape[2:], strict=True)
        )
        cut = rows.unsqueeze(2) & columns.unsqueeze(1) & (chosen < self.probability).view(-1, 1, 1)
        return photos.masked_fill(cut.unsqueeze(1), 0.5)

    @staticmethod
    def _within(start: Tensor, side: Tensor, length: int, like: Tensor) -> Tensor:
        """Pixels of a line whose centres are in the square, ``[N, length]``."""
        centres = (torch.arange(length, device=like.device) + 0.5) / length
        return (centres >= start.unsqueeze(1)) & (centres < (start + side).unsqueeze(1))
