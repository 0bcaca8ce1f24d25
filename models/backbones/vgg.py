"""VGG for faces: five groups of 3x3 convolutions with batch norm, each ending in a pooling, under our embedding neck.

Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, table 1; batch
norms as in public weights. The three fully connected layers, nine tenths of the parameters, become the neck. The body
has torchvision's names, so ``network.features`` loads ``vgg16_bn`` as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from cloakbench.models.backbones.layers import EmbeddingNeck, map_size, shrink

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions of the five groups; the number counts the fully connected layers, too."""


class VGG(nn.Module):
    """Images ``[N, 3, H, W]`` to embeddings ``[N, embedding_size]`` (not normalised).

    Args:
        convolutions: of each group, see ``CONVOLUTIONS``.
        channels: width of each group.
        pool: average pooling of the input, 1 for none.
        neck: ``gdc`` or ``fc``.
        embedding_size: length of the embedding.
        input_size: height and width the network will be given.
    """

    def __init__(
        self,
        *,
        convolutions: Sequence[int] = CONVOLUTIONS[16],
        channels: Sequence[int] = (64, 128, 256, 512, 512),
        pool: int = 1,
        neck: str = "gdc",
        embedding_size: int = 512,
        input_size: Sequence[int] = (112, 112),
    ) -> None:
        super().__init__()
        self.shrink = shrink(pool)
        layers: list[nn.Module] = []
        width = 3
        height, breadth = map_size(input_size, (pool,))
        for count, outputs in zip(convolutions, channels, strict=True):
            for _ in range(count):
                layers += [nn.Conv2d(width, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
                width = outputs
            layers.append(nn.MaxPool2d(2))
            height, breadth = height // 2, breadth // 2
        self.features = nn.Sequential(*layers)
        self.neck = EmbeddingNeck(neck, width, (height, breadth), embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        return self.neck(self.features(self.shrink(images)))
