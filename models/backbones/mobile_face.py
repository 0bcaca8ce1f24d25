"""MobileFaceNet in the layout of github.com/TreB1eN/InsightFace_Pytorch, whose checkpoints papers call MobileFace.

Chen et al., "MobileFaceNets", CCBR 2018. The network of ``mobilefacenet`` with other expansions, and a linear layer
with batch norm over 512 numbers at the end. Names of modules: ``conv1``, ``conv2_dw``, ``conv_23`` to ``conv_5``
(``conv``, ``conv_dw``, ``project`` in each bottleneck), ``conv_6_sep``, ``conv_6_dw``, ``linear``, ``bn``.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from cloakbench.models.backbones.layers import map_size
from cloakbench.models.backbones.mobilefacenet import ConvBlock

STAGES = ((64, 128, 4), (128, 256, 6), (128, 512, 2))
"""Output channels, inner channels of the strided bottleneck, and number of residual bottlenecks of the three stages."""
INNER = (128, 256, 256)
"""Inner channels of the residual bottlenecks."""


class NarrowUnit(nn.Module):
    """Inverted bottleneck: widen, depthwise, narrow; residual unless it changes the size."""

    def __init__(self, inputs: int, outputs: int, inner: int, stride: int) -> None:
        super().__init__()
        self.residual = stride == 1
        self.conv = ConvBlock(inputs, inner, 1)
        self.conv_dw = ConvBlock(inner, inner, 3, stride, 1, groups=inner)
        self.project = ConvBlock(inner, outputs, 1, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(self.conv_dw(self.conv(x)))
        return x + out if self.residual else out


class ResidualStage(nn.Module):
    """Bottlenecks one after another, named ``model.0``, ``model.1``, ..."""

    def __init__(self, channels: int, inner: int, count: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*(NarrowUnit(channels, channels, inner, 1) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class MobileFace(nn.Module):
    """Images ``[N, 3, H, W]`` to embeddings ``[N, embedding_size]`` (not normalised).

    Args:
        embedding_size: length of the embedding.
        input_size: height and width the network will be given.
    """

    def __init__(self, *, embedding_size: int = 512, input_size: Sequence[int] = (112, 112)) -> None:
        super().__init__()
        channels = 64
        self.conv1 = ConvBlock(3, channels, 3, 2, 1)
        self.conv2_dw = ConvBlock(channels, channels, 3, 1, 1, groups=channels)
        self.steps = ["conv1", "conv2_dw"]
        for number, ((outputs, inner, count), within) in enumerate(zip(STAGES, INNER, strict=True), start=3):
            for name, module in (
                (f"conv_{number - 1}{number}", NarrowUnit(channels, outputs, inner, 2)),
                (f"conv_{number}", ResidualStage(outputs, within, count)),
            ):
                self.add_module(name, module)
                self.steps.append(name)
            channels = outputs
        self.conv_6_sep = ConvBlock(channels, 512, 1)
        self.conv_6_dw = ConvBlock(512, 512, map_size(input_size, (2, 2, 2, 2)), groups=512, linear=True)
        self.linear = nn.Linear(512, embedding_size, bias=False)
        self.bn = nn.BatchNorm1d(embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for name in self.steps:
            x = self.get_submodule(name)(x)
        return self.bn(self.linear(self.conv_6_dw(self.conv_6_sep(x)).flatten(1)))
