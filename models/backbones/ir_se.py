"""IR and IR-SE: improved residual networks in the layout of the InsightFace_Pytorch / face.evoLVe lineage.

The same idea as ``iresnet`` with three differences that matter to a checkpoint: no batch norm between a block's first
convolution and its PReLU, a max-pooled shortcut where the width does not change, and, in the SE variant, a
squeeze-and-excitation gate (Hu et al., CVPR 2018) with reduction 16 at the end of each block. Names of modules:
``input_layer``, ``body.N.shortcut_layer``, ``body.N.res_layer``, ``output_layer``.

Full size: ``IRSE(blocks=BLOCKS[50], gate=True)`` is IRSE-50, ``gate=False`` IR-50, ``BLOCKS[152]`` IR-152.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cloakbench.models.backbones.layers import Stem, flattener, map_size, shrink

BLOCKS = {50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 152: (3, 8, 36, 3)}
"""Residual units of the four stages."""


class SqueezeExcitation(nn.Module):
    """Channel gate: ``x * sigmoid(W2 relu(W1 mean(x)))``."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class IRUnit(nn.Module):
    """One residual unit; the second convolution carries the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int, reduction: int | None) -> None:
        super().__init__()
        self.shortcut_layer = (
            nn.MaxPool2d(1, stride)
            if inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        if reduction is not None:
            self.res_layer.append(SqueezeExcitation(outputs, reduction))

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class IRSE(nn.Module):
    """Images ``[N, 3, H, W]`` to embeddings ``[N, embedding_size]`` (not normalised).

    Args:
        blocks: residual units of the four stages, see ``BLOCKS``.
        gate: with squeeze and excitation (IR-SE) or without (IR).
        channels: width of the four stages.
        strides: stride of the first unit of each stage.
        stem: kernel and stride of the first convolution.
        pool: average pooling of the input before the stem, 1 for none.
        reduction: reduction of the channel gates.
        neck: ``fc`` (the public layout) or ``gdc``.
        embedding_size: length of the embedding.
        input_size: height and width the network will be given.
        dropout: share of features dropped before the last layer while training.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        gate: bool,
        *,
        channels: Sequence[int] = (64, 128, 256, 512),
        strides: Sequence[int] = (2, 2, 2, 2),
        stem: Stem = (3, 1),
        pool: int = 1,
        reduction: int = 16,
        neck: str = "fc",
        embedding_size: int = 512,
        input_size: Sequence[int] = (112, 112),
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        kernel, stride = stem
        width = channels[0]
        self.shrink = shrink(pool)
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, width, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
        )
        units: list[nn.Module] = []
        for count, outputs, first in zip(blocks, channels, strides, strict=True):
            for unit in range(count):
                units.append(IRUnit(width, outputs, first if unit == 0 else 1, reduction if gate else None))
                width = outputs
        self.body = nn.Sequential(*units)
        flatten, length = flattener(neck, width, map_size(input_size, (pool, stride, *strides)))
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Dropout(dropout),
            flatten,
            nn.Linear(length, embedding_size),
            nn.BatchNorm1d(embedding_size),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.output_layer(self.body(self.input_layer(self.shrink(images))))
