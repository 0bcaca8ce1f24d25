"""GoogLeNet for faces: nine Inception modules with batch norm, under our embedding neck.

Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, table 1; batch norms, and a 3x3 where the paper has a 5x5,
as in torchvision's weights, whose names the body has. The two side classifiers, which only training used, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cloakbench.models.backbones.inception_resnet_v1 import BasicConv
from cloakbench.models.backbones.layers import EmbeddingNeck, map_size, scaled, shrink

MODULES: dict[str, tuple[int, int, int, int, int, int]] = {
    "inception3a": (64, 96, 128, 16, 32, 32),
    "inception3b": (128, 128, 192, 32, 96, 64),
    "inception4a": (192, 96, 208, 16, 48, 64),
    "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64),
    "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128),
    "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}
"""Channels of the branches: 1x1; 1x1 then 3x3; 1x1 then 3x3; 1x1 behind the pooling."""
_POOLINGS = {"inception4a": 3, "inception5a": 2}
"""Size of the pooling of stride 2 in front of a module, as in torchvision."""


class InceptionModule(nn.Module):
    """Four branches over one input, joined along the channels."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        plain, before_3, wide_3, before_5, wide_5, pooled = widths
        self.branch1 = BasicConv(channels, plain, 1)
        self.branch2 = nn.Sequential(BasicConv(channels, before_3, 1), BasicConv(before_3, wide_3, 3, padding=1))
        self.branch3 = nn.Sequential(BasicConv(channels, before_5, 1), BasicConv(before_5, wide_5, 3, padding=1))
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True), BasicConv(channels, pooled, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class GoogLeNet(nn.Module):
    """Images ``[N, 3, H, W]`` to embeddings ``[N, embedding_size]`` (not normalised).

    Args:
        width: multiplier of every channel count.
        stem: kernel and stride of the first convolution.
        pool: average pooling of the input, 1 for none.
        neck: ``gdc`` or ``fc``.
        embedding_size: length of the embedding.
        input_size: height and width the network will be given.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        stem: tuple[int, int] = (7, 2),
        pool: int = 1,
        neck: str = "gdc",
        embedding_size: int = 512,
        input_size: Sequence[int] = (112, 112),
    ) -> None:
        super().__init__()
        kernel, stride = stem
        channels = scaled(64, width)
        self.shrink = shrink(pool)
        self.conv1 = BasicConv(3, channels, kernel, stride, kernel // 2)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = BasicConv(channels, channels, 1)
        self.conv3 = BasicConv(channels, scaled(192, width), 3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        channels = scaled(192, width)
        size = [_pooled(_pooled(side, 3), 3) for side in map_size(input_size, (pool, stride))]
        for name, branches in MODULES.items():
            if name in _POOLINGS:
                self.add_module(f"maxpool{int(name[-2]) - 1}", nn.MaxPool2d(_POOLINGS[name], stride=2, ceil_mode=True))
                size = [_pooled(side, _POOLINGS[name]) for side in size]
            widths = [scaled(count, width) for count in branches]
            self.add_module(name, InceptionModule(channels, widths))
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        self.neck = EmbeddingNeck(neck, channels, (size[0], size[1]), embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        x = self.shrink(images)
        for name, part in self.named_children():
            if name != "shrink":
                x = part(x)
        return x


def _pooled(side: int, kernel: int) -> int:
    """Length after a pooling of stride 2 that rounds up."""
    return -(-(side - kernel) // 2) + 1
