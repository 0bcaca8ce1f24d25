"""Networks that translate a face to given labels: a generator that is told them, a discriminator that reads them.

Source: Choi et al., "StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image Translation",
CVPR 2018, for how labels come in and are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.methods.parts.gan.networks import MaskGenerator

_LEVELS = 5


class LabelGenerator(nn.Module):
    """Images ``[N, 3, H, W]`` in [-1, 1] and classes ``[N, K]`` to images of that shape and range.

    A `MaskGenerator` that sees a plane of ones or zeros for each class of each attribute beside the image. Where it
    works on a smaller image, what it changes there is enlarged and added to the image, which keeps its detail.

    Args:
        widths: classes of each attribute.
        width, blocks: see `MaskGenerator`.
        shrink: pixels a side that are averaged to one before the network sees them.
    """

    def __init__(self, widths: Sequence[int], width: int, blocks: int, shrink: int = 1) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.shrink = shrink
        self.network = MaskGenerator(width, blocks, planes=sum(widths))

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        told = [F.one_hot(column, width) for column, width in zip(classes.T, self.widths, strict=True)]
        small = F.avg_pool2d(images, self.shrink)
        planes = torch.cat(told, dim=1).to(images.dtype)[:, :, None, None].expand(-1, -1, *small.shape[-2:])
        made = self.network(torch.cat([small, planes], dim=1))
        if self.shrink == 1:
            return made
        change = F.interpolate(made - small, size=images.shape[-2:], mode="bilinear", align_corners=False)
        return (images + change).clamp(-1, 1)


class LabelDiscriminator(nn.Module):
    """Images ``[N, 3, H, W]`` in [-1, 1] to how real each looks ``[N]`` and scores of its classes ``[N, sum C]``.

    Five 4x4 convolutions of stride 2 with leaky ReLU of 0.01 and no norm, since the penalty on its slope is taken for
    each photo alone; then the mean over patches of a 3x3 one, and a linear layer on the mean of the features.

    Args:
        widths: classes of each attribute.
        width: channels of the first convolution, which double from one to the next.
        shrink: pixels a side that are averaged to one before the network sees them.
    """

    def __init__(self, widths: Sequence[int], width: int, shrink: int = 1) -> None:
        super().__init__()
        self.shrink = shrink
        channels = [3, *(width * 2**level for level in range(_LEVELS))]
        self.trunk = nn.Sequential(
            *(
                layer
                for inputs, outputs in pairwise(channels)
                for layer in (nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(0.01))
            )
        )
        self.widths = tuple(widths)
        self.real = nn.Conv2d(channels[-1], 1, 3, 1, 1, bias=False)
        self.classes = nn.Linear(channels[-1], sum(widths))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(F.avg_pool2d(images, self.shrink))
        return self.real(features).mean(dim=(1, 2, 3)), self.classes(features.mean(dim=(2, 3)))

    def logits(self, images: Tensor) -> Mapping[str, Tensor]:
        """Scores ``[N, C]`` of each attribute, by its number."""
        parts = self(images)[1].split(self.widths, dim=1)
        return {str(number): part for number, part in enumerate(parts)}
