"""IResNet: the improved residual network of ArcFace, in InsightFace's state-dict layout.

He et al., "Deep residual learning", CVPR 2016, with the block of Deng et al., "ArcFace", CVPR 2019, section 3.1.2:
batch norm, convolution, batch norm, PReLU, strided convolution, batch norm. The map keeps the input's resolution up to
the first stage (stride-1 stem), and the neck is batch norm, dropout, a fully connected layer and batch norm.

Full size: ``IResNet(blocks=BLOCKS[50])`` and 112x112 inputs. Slim: fewer ``channels`` and ``blocks``, a strided stem.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from cloakbench.models.backbones.layers import Stem, flattener, map_size, shrink

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 152: (3, 8, 36, 3)}
"""Residual blocks per stage; 100 and 152 follow InsightFace and face.evoLVe."""


class IResBlock(nn.Module):
    """Improved residual block; the second convolution carries the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(out)) + self.downsample(x)


class IResNet(nn.Module):
    """Images ``[N, 3, H, W]`` to embeddings ``[N, embedding_size]`` (not normalised).

    Args:
        blocks: residual blocks of the four stages, see ``BLOCKS``.
        channels: width of the four stages.
        strides: stride of the first block of each stage.
        stem: kernel and stride of the first convolution.
        pool: average pooling of the input before the stem, 1 for none.
        neck: ``fc`` (the public layout) or ``gdc`` (global depthwise convolution, small).
        embedding_size: length of the embedding.
        input_size: height and width the network will be given; the neck's size follows from it.
        dropout: share of features dropped before the last layer while training.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        channels: Sequence[int] = (64, 128, 256, 512),
        strides: Sequence[int] = (2, 2, 2, 2),
        stem: Stem = (3, 1),
        pool: int = 1,
        neck: str = "fc",
        embedding_size: int = 512,
        input_size: Sequence[int] = (112, 112),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        kernel, stride = stem
        width = channels[0]
        self.shrink = shrink(pool)
        self.conv1 = nn.Conv2d(3, width, kernel, stride, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        for stage, (count, outputs, first) in enumerate(zip(blocks, channels, strides, strict=True), start=1):
            layer = nn.Sequential(
                IResBlock(width, outputs, first), *(IResBlock(outputs, outputs, 1) for _ in range(count - 1))
            )
            self.add_module(f"layer{stage}", layer)
            width = outputs
        self.bn2 = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(dropout)
        self.flatten, length = flattener(neck, width, map_size(input_size, (pool, stride, *strides)))
        self.fc = nn.Linear(length, embedding_size)
        self.features = nn.BatchNorm1d(embedding_size)
        # The public networks fix the scale of the last batch norm at 1, so that it only centres and whitens.
        self.features.weight.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(self.shrink(images))))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.features(self.fc(self.flatten(self.dropout(self.bn2(x)))))
