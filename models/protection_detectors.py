"""Networks that tell whether a photo is protected."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualDetector(nn.Module):
    """A small classifier of a photo and its fine structure: four halvings, a mean over places, one score.

    Protection is weak beside what photos show, so the network is given the residual of a blur, too, as detectors of
    hidden messages are (Fridrich and Kodovsky, "Rich Models for Steganalysis of Digital Images", TIFS 2012). LightShed
    (Foerster et al., USENIX Security 2025) detects cloaks of works of art by learning what methods add, at full size.

    Args:
        width: channels after the first halving, which double at each further one.
        gain: by which the residual is multiplied.
    """

    def __init__(self, width: int = 16, gain: float = 8.0) -> None:
        super().__init__()
        self.gain = gain
        widths = [6, width, 2 * width, 4 * width, 4 * width]
        self.layers = nn.Sequential(*(_halved(a, b) for a, b in pairwise(widths)))
        self.last = nn.Linear(widths[-1], 1)

    def forward(self, photos: Tensor) -> Tensor:
        """Scores ``[N]`` of photos ``[N, 3, H, W]`` in [0, 1]; above 0 is rather protected."""
        smooth = F.avg_pool2d(F.pad(photos, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        seen = torch.cat([photos - 0.5, self.gain * (photos - smooth)], dim=1)
        return self.last(self.layers(seen).mean(dim=(2, 3))).squeeze(1)


def _halved(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU())
