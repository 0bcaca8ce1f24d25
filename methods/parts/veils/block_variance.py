"""Block variance: how much the pixels of a photo differ, between blocks and within them.

The less of it, the less of a face's outline is left for an eye to find.

Source: the veils (2024), equations 9 to 11, and AVIH (Su et al., ICCV 2023), from which equation 9 comes. What
equation 9 calls "inner" is the variance between blocks. Equation 10, "intra", takes the mean of block *sums* from block
*means*, so it is ``var(S) / 81 + (8 / 9)^2 mean(S)^2`` for blocks of 3x3, which only black photos make small; with the
mean of means it would be equation 9 again, over 81. So the second part here is the variance within blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Variance = Literal["corrected", "eq9_only", "literal"]
"""``corrected``: variance of block means and mean of the variances within blocks. ``eq9_only``: equation 9, the
variance of block sums. ``literal``: equations 9 and 10 as printed. The last two are on the scale of sums, 81 times the
first for blocks of 3x3."""


def block_means(photos: Tensor, side: int, stride: int) -> Tensor:
    """Means of square blocks that lie within photos, ``[N, 3, h, w]``, by sums along one axis after the other.

    On a CPU it takes a tenth of the time of the pooling that it is.
    """
    for axis in (2, 3):
        places = photos.shape[axis] - side + 1
        first, second, *others = (photos.narrow(axis, offset, places) for offset in range(side))
        photos = reduce(Tensor.add_, others, first + second)
    return photos[..., ::stride, ::stride].div_(side**2)


def between_blocks(photos: Tensor, side: int = 3, stride: int = 1, *, unbiased: bool = False) -> Tensor:
    """Variance of the means of square blocks, ``[N]``, the channels' added up."""
    return block_means(photos, side, stride).flatten(2).var(dim=2, correction=int(unbiased)).sum(dim=1)


@dataclass(frozen=True)
class BlockVariance:
    """The variance term of veils, a quadratic form of photos.

    With blocks that do not overlap and cover a photo, and both weights one, ``corrected`` is its pixel variance.

    Attributes:
        reading: see `Variance`.
        stride: from a block to the next, in pixels.
        between: weight of the first part of ``corrected``.
        within: weight of the second.
        side: of the square blocks, in pixels.
    """

    reading: Variance = "corrected"
    stride: int = 1
    between: float = 1.0
    within: float = 1.0
    side: int = 3

    def slope(self, photos: Tensor) -> Tensor:
        """Its slope ``[N, 3, H, W]``, in closed form: a third of the time of autograd.

        The form itself is half the product of photos and slope.
        """
        means = block_means(photos, self.side, self.stride)
        each, mean, pixel = (2 * weight / means[0, 0].numel() for weight in self._weights())
        middle = means.mean(dim=(2, 3), keepdim=True)
        slope = self._spread(means.mul_(each).add_(middle, alpha=mean), photos)
        if pixel:
            slope.addcmul_(self._spread(torch.ones_like(means), photos), photos, value=pixel)
        return slope

    def _weights(self) -> tuple[float, float, float]:
        """Of the mean square of block means, of the square of their mean, and of the mean square within blocks."""
        if self.reading == "corrected":
            return self.between - self.within, -self.between, self.within
        pixels = self.side**2
        if self.reading == "eq9_only":
            return pixels**2, -(pixels**2), 0.0
        return pixels**2 + 1, (pixels - 1) ** 2 - pixels**2 - 1, 0.0

    def _spread(self, blocks: Tensor, photos: Tensor) -> Tensor:
        """The transpose of `block_means`: each block's number on all of its pixels, over their count."""
        if self.stride > 1:
            places = blocks.new_zeros(*photos.shape[:2], *(side - self.side + 1 for side in photos.shape[2:]))
            places[..., :: self.stride, :: self.stride] = blocks
            blocks = places
        return block_means(F.pad(blocks, [self.side - 1] * 4), self.side, 1)
