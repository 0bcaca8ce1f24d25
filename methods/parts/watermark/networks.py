"""Networks of a mark: one writes bits into a photo, the other reads them.

Sources: Zhu et al., "HiDDeN: Hiding Data With Deep Networks", ECCV 2018, for the pair; Cox et al., "Secure Spread
Spectrum Watermarking for Multimedia", IEEE TIP 1997, for what both begin with: a pattern over the whole photo for each
bit, read by correlation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CELLS = 28
"""Cells a side of a pattern: four pixels of an aligned photo, which JPEG files and smaller sizes leave."""
_MARK = 0.6
"""Deviation of the sum of all patterns before it is bounded, as networks begin."""


class MarkEncoder(nn.Module):
    """Photos ``[N, 3, H, W]`` in [-1, 1] and bits ``[N, B]`` of -1 and 1 to masks ``[N, 3, H, W]`` in [-1, 1].

    The tanh of a sum: the bits' patterns, and what a network adds that sees photo and patterns.

    Args:
        bits: B.
        width: channels of the first convolution.
        patterns: what the patterns begin as; see `mark_networks`.
    """

    def __init__(self, bits: int, width: int, patterns: Tensor | None = None) -> None:
        super().__init__()
        self.spread = nn.Linear(bits, 3 * _CELLS**2, bias=False)
        if patterns is not None:
            self.spread.weight.data.copy_(patterns * _MARK / bits**0.5)
        self.look = nn.Sequential(
            *(nn.Conv2d(6, width, 3, 2, 1), nn.ReLU()),
            *(nn.Conv2d(width, 2 * width, 3, 2, 1), nn.GroupNorm(1, 2 * width), nn.ReLU()),
            *(nn.Conv2d(2 * width, 2 * width, 3, 1, 1), nn.GroupNorm(1, 2 * width), nn.ReLU()),
        )
        self.up = nn.Sequential(nn.Conv2d(2 * width, width, 3, 1, 1), nn.ReLU())
        self.last = nn.Conv2d(width + 3, 3, 3, 1, 1)

    def forward(self, photos: Tensor, bits: Tensor) -> Tensor:
        height, width = photos.shape[-2:]
        pattern = F.interpolate(self.spread(bits).unflatten(1, (3, _CELLS, _CELLS)), size=(height, width))
        mixed = self.look(torch.cat([photos, pattern], dim=1))
        half = self.up(F.interpolate(mixed, size=(-(-height // 2), -(-width // 2))))
        return (pattern + self.last(torch.cat([F.interpolate(half, size=(height, width)), photos], dim=1))).tanh()


class MarkDecoder(nn.Module):
    """Photos ``[N, 3, H, W]`` in [-1, 1] to a score of each bit ``[N, B]``: above zero where it is one.

    Means of cells, without the mean of their neighbourhood, are correlated with patterns.

    Args:
        bits: B.
        patterns: what the patterns begin as; see `mark_networks`.
    """

    def __init__(self, bits: int, patterns: Tensor | None = None) -> None:
        super().__init__()
        self.read = nn.Linear(3 * _CELLS**2, bits)
        if patterns is not None:
            self.read.weight.data.copy_(patterns.T)
            self.read.bias.data.zero_()

    def forward(self, photos: Tensor) -> Tensor:
        cells = F.adaptive_avg_pool2d(photos, _CELLS)
        around = F.avg_pool2d(cells, 5, 1, 2, count_include_pad=False)
        return self.read((cells - around).flatten(1))


def mark_networks(bits: int, width: int) -> tuple[MarkEncoder, MarkDecoder]:
    """Both networks, with the same patterns at first, drawn from torch's own state as all first weights are."""
    patterns = nn.init.normal_(torch.empty(3 * _CELLS**2, bits))
    return MarkEncoder(bits, width, patterns), MarkDecoder(bits, patterns)
