"""Parts the backbones share: necks that turn the last feature map into an embedding, and small bookkeeping."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

Stem = tuple[int, int]
"""Kernel size and stride of the first convolution."""


def map_size(input_size: Sequence[int], strides: Sequence[int]) -> tuple[int, int]:
    """Height and width left of ``input_size`` after convolutions with 'half' padding and these strides.

    Each takes ``n`` to ``ceil(n / stride)``.
    """
    height, width = input_size
    for stride in strides:
        height, width = -(-height // stride), -(-width // stride)
    return height, width


def scaled(channels: int, width: float) -> int:
    """``channels`` times the width multiplier, at least one."""
    return max(1, round(channels * width))


def shrink(pool: int) -> nn.Module:
    """Average pooling of the input by ``pool``, the cheap alternative to a wide strided stem; no parameters."""
    return nn.AvgPool2d(pool) if pool > 1 else nn.Identity()


class GlobalDepthwise(nn.Module):
    """Global depthwise convolution: one learnt weighting of the whole map per channel, ``[N, C, H, W] -> [N, C]``.

    Chen et al., "MobileFaceNets", CCBR 2018, section 3.2: positions of a face map are not worth the same, so plain
    averaging loses accuracy. On this zoo's faces the two nets with averaging were the two worst.
    """

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, size, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        return self.bn(self.conv(features)).flatten(1)


def flattener(neck: str, channels: int, size: tuple[int, int]) -> tuple[nn.Module, int]:
    """The module that makes a vector of the last map, and the length of that vector.

    ``fc`` keeps every position (the neck of ArcFace's networks, large), ``gdc`` weights them per channel (small).

    Raises:
        ValueError: another neck was asked for.
    """
    if neck == "fc":
        return nn.Flatten(), channels * size[0] * size[1]
    if neck == "gdc":
        return GlobalDepthwise(channels, size), channels
    raise ValueError(f"neck must be 'fc' or 'gdc', got {neck!r}")


class EmbeddingNeck(nn.Module):
    """Last map to embedding: flatten or weigh the positions, then a linear layer and batch norm."""

    def __init__(self, neck: str, channels: int, size: tuple[int, int], embedding_size: int) -> None:
        super().__init__()
        self.flatten, length = flattener(neck, channels, size)
        self.fc = nn.Linear(length, embedding_size, bias=False)
        self.bn = nn.BatchNorm1d(embedding_size)

    def forward(self, features: Tensor) -> Tensor:
        return self.bn(self.fc(self.flatten(features)))
