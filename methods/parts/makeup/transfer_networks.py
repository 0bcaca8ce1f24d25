"""Networks of AMT-GAN: one transfers makeup from a reference to a face, one takes adversarial traces off what it made.

Source: Hu et al., "Protecting Facial Privacy: Generating Adversarial Identity Masks via Style-Robust Makeup Transfer",
CVPR 2022, section 3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.methods.parts.gan.networks import MaskGenerator, PatchDiscriminator

_BLOCKS, _LEVELS = 2, 3


class MakeupTransfer(nn.Module):
    """Faces ``[N, 3, H, W]`` in [0, 1] with the makeup of references of the same shape.

    Both are aligned, so that lips lie over lips; the network sees one on top of the other, and adds to the face alone:
    to ``inside`` ``[N, 1, H, W]`` of it, see `cloakbench.methods.parts.makeup.regions.soft_face`.

    Args:
        width: channels of the first convolution.
        shrink: pixels a side that become one before the network; what it adds is enlarged again.
        strength: the most that it adds or takes away.
    """

    def __init__(self, width: int, shrink: int, strength: float) -> None:
        super().__init__()
        self.network = MaskGenerator(width, _BLOCKS, planes=3)
        self.shrink, self.strength = shrink, strength

    def forward(self, faces: Tensor, references: Tensor, inside: Tensor) -> Tensor:
        seen = F.avg_pool2d(torch.cat([faces, references], dim=1), self.shrink)
        change = F.interpolate(self.network(2 * seen - 1), size=faces.shape[-2:], mode="bilinear")
        return (faces + self.strength * inside * change).clamp(0, 1)


class Regulariser(nn.Module):
    """H: faces ``[N, 3, H, W]`` in [0, 1] as they would be without adversarial traces; a residual of three layers.

    Args:
        width: channels between the layers.
        shrink: as of `MakeupTransfer`.
    """

    def __init__(self, width: int, shrink: int) -> None:
        super().__init__()
        self.shrink = shrink
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, width, 3, 1, 1), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, 1, 1), nn.ReLU()),
            nn.Conv2d(width, 3, 3, 1, 1),
        )

    def forward(self, faces: Tensor) -> Tensor:
        change = self.layers(2 * F.avg_pool2d(faces, self.shrink) - 1).tanh()
        return (faces + F.interpolate(change, size=faces.shape[-2:], mode="bilinear")).clamp(0, 1)


class TransferPair(nn.Module):
    """Both networks, which learn together."""

    def __init__(self, width: int, shrink: int, strength: float) -> None:
        super().__init__()
        self.transfer = MakeupTransfer(width, shrink, strength)
        self.regulariser = Regulariser(width, shrink)


class DomainDiscriminators(nn.Module):
    """One discriminator of faces without much makeup, and one of made-up faces.

    Args:
        width: channels of the first convolution of each.
        shrink: as of `MakeupTransfer`.
    """

    def __init__(self, width: int, shrink: int) -> None:
        super().__init__()
        self.shrink = shrink
        self.plain, self.made_up = (PatchDiscriminator(width, _LEVELS) for _ in range(2))

    def looks(self, faces: Tensor, made_up: bool) -> Tensor:
        """Logits of faces ``[N, 3, H, W]`` in [0, 1]: large where they look like real ones of their kind."""
        network = self.made_up if made_up else self.plain
        answers: Tensor = network(2 * F.avg_pool2d(faces, self.shrink) - 1)
        return answers
