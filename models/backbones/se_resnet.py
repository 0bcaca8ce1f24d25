"""SE-ResNet and ResNet for faces: timm's stages under our stem and embedding neck.

Hu et al., "Squeeze-and-excitation networks", CVPR 2018 (SE-ResNet-50); He et al., CVPR 2016 (ResNet). The stages, and
with ``stem=None`` the stem, are timm's ``ResNet``, so ``network.body`` loads timm's ``seresnet50`` and ``resnet``
checkpoints (without classifier) as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from cloakbench.models.backbones.layers import EmbeddingNeck, Stem, map_size, shrink


class FaceResNet(nn.Module):
    """Images ``[N, 3, H, W]`` to embeddings ``[N, embedding_size]`` (not normalised).

    Args:
        blocks: residual blocks of the four stages; (3, 4, 6, 3) is the 50-layer net.
        gate: with squeeze-and-excitation gates.
        bottleneck: bottleneck blocks (1x1, 3x3, 1x1, expansion 4) or basic ones (3x3, 3x3).
        channels: inner width of the four stages.
        stem: kernel and stride of a single stem convolution in place of timm's stem (7x7 stride 2, max pooling),
            which costs more than all slim stages together; None keeps timm's, and wants 64 channels in stage one.
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
        from timm.models.resnet import BasicBlock, Bottleneck, ResNet

        super().__init__()
        self.shrink = shrink(pool)
        block: Any = Bottleneck if bottleneck else BasicBlock  # timm annotates an instance where it takes a class
        # timm fixes a plain stem at 64 channels; asking for its deep stem frees the width, and ours then replaces it.
        self.body = ResNet(
            block,
            tuple(blocks),
            num_classes=0,
            global_pool="",
            channels=tuple(channels),
            block_args={"attn_layer": "se"} if gate else None,
            stem_type="" if stem is None else "deep",
            stem_width=channels[0] // 2,
        )
        strides = (2, 2)
        if stem is not None:
            kernel, stride = stem
            self.body.conv1 = nn.Conv2d(3, channels[0], kernel, stride, padding=kernel // 2, bias=False)
            self.body.maxpool = nn.Identity()
            strides = (stride,)
        size = map_size(input_size, (pool, *strides, 1, 2, 2, 2))
        self.neck = EmbeddingNeck(neck, channels[-1] * block.expansion, size, embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        return self.neck(self.body.forward_features(self.shrink(images)))
