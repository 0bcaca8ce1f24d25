"""MobileFaceNet: inverted bottlenecks and a global depthwise neck, in the layout of the public PyTorch version.

Chen et al., "MobileFaceNets", CCBR 2018, table 1. Names of modules: ``conv1``, ``dw_conv1``, ``blocks.N.conv``,
``conv2``, ``linear7`` (the global depthwise convolution), ``linear1``.

Full size: ``MobileFaceNet()`` for 112x112, ``MobileFaceNet(input_size=(112, 96))`` for the public CASIA checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from cloakbench.models.backbones.layers import Stem, map_size, scaled, shrink

BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""Expansion, channels, repeats and first stride of each group; CCBR 2018, table 1."""


class ConvBlock(nn.Module):
    """Convolution, batch norm and, unless ``linear``, PReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        *,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.prelu = nn.Identity() if linear else nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    """Inverted bottleneck: expand, depthwise, project; residual where the shape is kept."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.PReLU(hidden),
            nn.Conv2d(hidden, hidden, 3, stride, padding=1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.PReLU(hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileFaceNet(nn.Module):
    """Images ``[N, 3, H, W]`` to embeddings ``[N, embedding_size]`` (not normalised).

    Args:
        bottlenecks: rows ``(expansion, channels, repeats, stride)``, see ``BOTTLENECKS``.
        width: multiplier of every channel count.
        stem_channels: channels of the two stem layers.
        last_channels: channels of the layer before the neck.
        stem: kernel and stride of the first convolution.
        pool: average pooling of the input before the stem, 1 for none.
        embedding_size: length of the embedding.
        input_size: height and width the network will be given.
    """

    def __init__(
        self,
        *,
        bottlenecks: Sequence[Sequence[int]] = BOTTLENECKS,
        width: float = 1.0,
        stem_channels: int = 64,
        last_channels: int = 512,
        stem: Stem = (3, 2),
        pool: int = 1,
        embedding_size: int = 128,
        input_size: Sequence[int] = (112, 112),
    ) -> None:
        super().__init__()
        kernel, stride = stem
        channels, last = scaled(stem_channels, width), scaled(last_channels, width)
        self.shrink = shrink(pool)
        self.conv1 = ConvBlock(3, channels, kernel, stride, kernel // 2)
        self.dw_conv1 = ConvBlock(channels, channels, 3, 1, 1, groups=channels)
        blocks: list[nn.Module] = []
        for expansion, base, repeats, first in bottlenecks:
            outputs = scaled(base, width)
            for unit in range(repeats):
                blocks.append(Bottleneck(channels, outputs, first if unit == 0 else 1, expansion))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        size = map_size(input_size, (pool, stride, *(row[3] for row in bottlenecks)))
        self.conv2 = ConvBlock(channels, last, 1)
        self.linear7 = ConvBlock(last, last, size, groups=last, linear=True)
        self.linear1 = ConvBlock(last, embedding_size, 1, linear=True)

    def forward(self, images: Tensor) -> Tensor:
        x = self.blocks(self.dw_conv1(self.conv1(self.shrink(images))))
        return self.linear1(self.linear7(self.conv2(x))).flatten(1)
