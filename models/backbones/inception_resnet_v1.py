"""Inception-ResNet-v1, the FaceNet network, in the layout of its public PyTorch port.

Szegedy et al., "Inception-v4, Inception-ResNet", AAAI 2017 (v1 of the residual variants); Schroff et al., "FaceNet",
CVPR 2015. Names of modules: ``conv2d_1a`` to ``conv2d_4b``, ``repeat_1`` to ``repeat_3``, ``mixed_6a``, ``mixed_7a``,
``block8``, ``last_linear``, ``last_bn``. Batch norm eps is 1e-3, residual scales 0.17, 0.10, 0.20.

Full size: ``InceptionResnetV1()`` with 160x160 inputs in [-1, 1]. It averages the last map, as published; the slim
versions take the ``gdc`` neck and padded convolutions, which suit small maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cloakbench.models.backbones.layers import GlobalDepthwise, Stem, map_size, scaled, shrink

Kernel = int | tuple[int, int]


class BasicConv(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, padding: Kernel = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x)))


class Branches(nn.Module):
    """Parallel branches over one input, joined along the channels; named ``branch0``, ``branch1``, ..."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.names = [f"branch{place}" for place in range(len(branches))]
        for name, branch in zip(self.names, branches, strict=True):
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.get_submodule(name)(x) for name in self.names], 1)


class Residual(Branches):
    """Branches joined by a 1x1 convolution, scaled and added to the input."""

    def __init__(self, channels: int, joined: int, scale: float, *branches: nn.Module, activate: bool = True) -> None:
        super().__init__(*branches)
        self.scale, self.activate = scale, activate
        self.conv2d = nn.Conv2d(joined, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = x + self.scale * self.conv2d(super().forward(x))
        return torch.relu(out) if self.activate else out


def block_35(channels: int, inner: int) -> Residual:
    """Inception-ResNet-A: 1x1, 1x1-3x3 and 1x1-3x3-3x3 branches."""
    return Residual(
        channels,
        3 * inner,
        0.17,
        BasicConv(channels, inner, 1),
        nn.Sequential(BasicConv(channels, inner, 1), BasicConv(inner, inner, 3, padding=1)),
        nn.Sequential(
            BasicConv(channels, inner, 1),
            BasicConv(inner, inner, 3, padding=1),
            BasicConv(inner, inner, 3, padding=1),
        ),
    )


def asymmetric_block(channels: int, inner: int, reach: int, scale: float, activate: bool = True) -> Residual:
    """Inception-ResNet-B (``reach`` 7) and -C (``reach`` 3): a 1x1 branch and a 1x1, 1xk, kx1 branch."""
    half = reach // 2
    return Residual(
        channels,
        2 * inner,
        scale,
        BasicConv(channels, inner, 1),
        nn.Sequential(
            BasicConv(channels, inner, 1),
            BasicConv(inner, inner, (1, reach), padding=(0, half)),
            BasicConv(inner, inner, (reach, 1), padding=(half, 0)),
        ),
        activate=activate,
    )


def mixed_6a(channels: int, outer: int, inner: int, last: int, padding: int) -> Branches:
    """Reduction-A: strided 3x3, 1x1-3x3-strided 3x3, max pooling."""
    return Branches(
        BasicConv(channels, outer, 3, 2, padding),
        nn.Sequential(
            BasicConv(channels, inner, 1),
            BasicConv(inner, inner, 3, padding=1),
            BasicConv(inner, last, 3, 2, padding),
        ),
        nn.MaxPool2d(3, 2, padding),
    )


def mixed_7a(channels: int, inner: int, outer: int, padding: int) -> Branches:
    """Reduction-B: three strided branches and max pooling."""
    return Branches(
        nn.Sequential(BasicConv(channels, inner, 1), BasicConv(inner, outer, 3, 2, padding)),
        nn.Sequential(BasicConv(channels, inner, 1), BasicConv(inner, inner, 3, 2, padding)),
        nn.Sequential(
            BasicConv(channels, inner, 1), BasicConv(inner, inner, 3, padding=1), BasicConv(inner, inner, 3, 2, padding)
        ),
        nn.MaxPool2d(3, 2, padding),
    )


class InceptionResnetV1(nn.Module):
    """Images ``[N, 3, H, W]`` to embeddings ``[N, embedding_size]`` (not normalised).

    Args:
        repeats: blocks of the A, B and C kind.
        width: multiplier of every channel count.
        stem: kernel and stride of the first convolution.
        last_stride: stride of ``conv2d_4b``, the last layer before the blocks.
        padded: pad the convolutions that are unpadded in the paper, so that small inputs keep a map.
        neck: ``avg`` (as published) or ``gdc`` (needs ``padded``).
        pool: average pooling of the input before the stem, 1 for none.
        embedding_size: length of the embedding.
        input_size: height and width the network will be given; matters to the ``gdc`` neck only.
        dropout: share of features dropped before the last layer while training.
        classes: classes of the training classifier, which the public files carry along (``logits``); it is loaded so
            that they load strictly, and never run. None where there is none.

    Raises:
        ValueError: an unknown neck, or ``gdc`` without padding.
    """

    def __init__(
        self,
        *,
        repeats: Sequence[int] = (5, 10, 5),
        width: float = 1.0,
        stem: Stem = (3, 2),
        last_stride: int = 2,
        padded: bool = False,
        neck: str = "avg",
        pool: int = 1,
        embedding_size: int = 512,
        input_size: Sequence[int] = (160, 160),
        dropout: float = 0.6,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        if neck not in ("avg", "gdc") or (neck == "gdc" and not padded):
            raise ValueError(f"neck must be 'avg', or 'gdc' with padded=true; got {neck!r} with padded={padded}")

        def wide(channels: int) -> int:
            return scaled(channels, width)

        kernel, stride = stem
        pad = int(padded)
        self.shrink = shrink(pool)
        self.conv2d_1a = BasicConv(3, wide(32), kernel, stride, pad * (kernel // 2))
        self.conv2d_2a = BasicConv(wide(32), wide(32), 3, padding=pad)
        self.conv2d_2b = BasicConv(wide(32), wide(64), 3, padding=1)
        self.maxpool_3a = nn.MaxPool2d(3, stride=2, padding=pad)
        self.conv2d_3b = BasicConv(wide(64), wide(80), 1)
        self.conv2d_4a = BasicConv(wide(80), wide(192), 3, padding=pad)
        self.conv2d_4b = BasicConv(wide(192), wide(256), 3, last_stride, pad)
        channels = wide(256)
        self.repeat_1 = nn.Sequential(*(block_35(channels, wide(32)) for _ in range(repeats[0])))
        self.mixed_6a = mixed_6a(channels, wide(384), wide(192), wide(256), pad)
        channels += wide(384) + wide(256)
        self.repeat_2 = nn.Sequential(*(asymmetric_block(channels, wide(128), 7, 0.10) for _ in range(repeats[1])))
        self.mixed_7a = mixed_7a(channels, wide(256), wide(384), pad)
        channels += wide(384) + 2 * wide(256)
        self.repeat_3 = nn.Sequential(*(asymmetric_block(channels, wide(192), 3, 0.20) for _ in range(repeats[2])))
        self.block8 = asymmetric_block(channels, wide(192), 3, 1.0, activate=False)
        self.flatten = (
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            if neck == "avg"
            else GlobalDepthwise(channels, map_size(input_size, (pool, stride, 2, last_stride, 2, 2)))
        )
        self.dropout = nn.Dropout(dropout)
        self.last_linear = nn.Linear(channels, embedding_size, bias=False)
        self.last_bn = nn.BatchNorm1d(embedding_size, eps=1e-3)
        if classes is not None:
            self.logits = nn.Linear(embedding_size, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(self.shrink(images))))
        x = self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(x))))
        x = self.mixed_6a(self.repeat_1(x))
        x = self.mixed_7a(self.repeat_2(x))
        x = self.block8(self.repeat_3(x))
        return self.last_bn(self.last_linear(self.dropout(self.flatten(x))))
