"""MobileNet v1 for faces: depthwise-separable convolutions with PReLU and an embedding neck.

Howard et al., "MobileNets", 2017, table 1. As usual for 112x112 faces the first convolution keeps the resolution
(stride 1 where the paper has 2), ReLU becomes PReLU, and averaging plus classifier become an embedding neck.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from cloakbench.models.backbones.layers import EmbeddingNeck, Stem, map_size, scaled, shrink

LAYERS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
"""Output channels and stride of the thirteen separable layers."""


def separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Depthwise 3x3 then pointwise convolution, each with batch norm and PReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.PReLU(inputs),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.PReLU(outputs),
    )


class MobileNet(nn.Module):
    """Images ``[N, 3, H, W]`` to embeddings ``[N, embedding_size]`` (not normalised).

    Args:
        layers: rows ``(channels, stride)``, see ``LAYERS``.
        width: the paper's width multiplier.
        stem_channels: channels of the first convolution.
        stem: kernel and stride of the first convolution.
        pool: average pooling of the input before the stem, 1 for none.
        neck: ``gdc`` or ``fc``.
        embedding_size: length of the embedding.
        input_size: height and width the network will be given.
    """

    def __init__(
        self,
        *,
        layers: Sequence[Sequence[int]] = LAYERS,
        width: float = 1.0,
        stem_channels: int = 32,
        stem: Stem = (3, 1),
        pool: int = 1,
        neck: str = "gdc",
        embedding_size: int = 512,
        input_size: Sequence[int] = (112, 112),
    ) -> None:
        super().__init__()
        kernel, stride = stem
        channels = scaled(stem_channels, width)
        self.shrink = shrink(pool)
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(channels),
            nn.PReLU(channels),
        )
        separables: list[nn.Module] = []
        for base, step in layers:
            separables.append(separable(channels, scaled(base, width), step))
            channels = scaled(base, width)
        self.layers = nn.Sequential(*separables)
        size = map_size(input_size, (pool, stride, *(step for _, step in layers)))
        self.neck = EmbeddingNeck(neck, channels, size, embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        return self.neck(self.layers(self.stem(self.shrink(images))))
