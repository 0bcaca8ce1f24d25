"""SE-ResNet and ResNet for faces: the residual body of both under our embedding neck.

Hu et al., "Squeeze-and-excitation networks", CVPR 2018 (SE-ResNet-50); He et al., CVPR 2016 (ResNet). The body has
timm's names, so with ``stem=None`` ``network.body`` loads timm's ``seresnet50`` and ``resnet`` checkpoints (without
classifier) as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from cloakbench.models.backbones.layers import EmbeddingNeck, Stem, map_size, shrink
from cloakbench.models.backbones.residual_body import ResidualBody, expansion


class FaceResNet(nn.Module):
    """Images ``[N, 3, H, W]`` to embeddings ``[N, embedding_size]`` (not normalised).

    Args:
        blocks: residual blocks of the four stages; (3, 4, 6, 3) is the 50-layer net.
        gate: with squeeze-and-excitation gates.
        bottleneck: bottleneck blocks (1x1, 3x3, 1x1, expansion 4) or basic ones (3x3, 3x3).
        channels: inner width of the four stages.
        stem: kernel and stride of a single stem convolution in place of the papers' stem (7x7 stride 2, max pooling),
            which costs more than all slim stages together; None is theirs, of 64 channels.
        pool: average pooling of the input before the stem, 1 for none.
        neck: ``gdc`` or ``fc``.
        embedding_size: length of the embedding.
        input_size: height and width the network will be given.
    """

    def __init__(
        self,
        *,
        blocks: Sequence[int] = (3, 4, 6, 3),
        gate: bool = True,
        bottleneck: bool = True,
        channels: Sequence[int] = (64, 128, 256, 512),
        stem: Stem | None = None,
        pool: int = 1,
        neck: str = "gdc",
        embedding_size: int = 512,
        input_size: Sequence[int] = (112, 112),
    ) -> None:
        super().__init__()
        self.shrink = shrink(pool)
        self.body = ResidualBody(blocks, channels, stem, bottleneck=bottleneck, gated=gate)
        strides = (2, 2) if stem is None else (stem[1],)
        size = map_size(input_size, (pool, *strides, 1, 2, 2, 2))
        self.neck = EmbeddingNeck(neck, channels[-1] * expansion(bottleneck), size, embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        return self.neck(self.body(self.shrink(images)))
