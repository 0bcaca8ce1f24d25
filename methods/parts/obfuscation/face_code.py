"""The code of a face on a coarse grid, the networks to it and back, and its low-pass; DeepBlur's training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.methods.base import Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.dssim import DSSIM
from cloakbench.methods.parts.gan.networks import drawn
from cloakbench.methods.parts.obfuscation.layers import normed
from cloakbench.methods.parts.taught_faces import enough, pixels
from cloakbench.methods.parts.training_steps import learn
from cloakbench.methods.parts.veils.blend import smoothed

MEAN_CODE = "mean_code"
"""Names the mean code among the trained tensors."""
_STRUCTURE = 0.5
"""Weight of DSSIM beside the mean absolute error."""
_AT_ONCE = 32


class FaceCode(nn.Module):
    """Photos ``[N, 3, H, W]`` in [0, 1] to codes ``[N, C, H / 8, W / 8]`` of unit variance, and codes to photos.

    Args:
        width: channels at half size, which double at each halving.
        channels: C.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *normed(3, width, 4, 2),
            *normed(width, 2 * width, 4, 2),
            *normed(2 * width, 4 * width, 4, 2),
            nn.Conv2d(4 * width, channels, 3, 1, 1),
            nn.BatchNorm2d(channels, affine=False),
        )
        self.decoder = nn.Sequential(
            *normed(channels, 4 * width, 3, 1),
            nn.Upsample(scale_factor=2),
            *normed(4 * width, 2 * width, 3, 1),
            nn.Upsample(scale_factor=2),
            *normed(2 * width, width, 3, 1),
            nn.Conv2d(width, 12, 3, 1, 1),
            nn.PixelShuffle(2),
        )

    def forward(self, photos: Tensor) -> Tensor:
        return self.decoder(self.encoder(photos))


def low_pass(code: Tensor, mean: Tensor, width: float) -> Tensor:
    """What departs from the mean code, through a Gaussian of so many cells; width 0 leaves the code as it is."""
    return code if width == 0 else mean + smoothed(code - mean, width)


@dataclass(frozen=True)
class FaceCodeTraining(Stage):
    """Learns on auxiliary faces to give a photo again from its code, under noise on the code.

    Settings are those of `cloakbench.methods.deepblur.DeepBlur`.
    """

    name: ClassVar[str] = "face_code"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.AUXILIARY})

    width: int
    channels: int
    steps: int
    batch: int
    learning_rate: float
    code_noise: float

    def make(self) -> FaceCode:
        """The untrained network."""
        return FaceCode(self.width, self.channels)

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """Weights of a `FaceCode`, and ``mean_code`` ``[1, C, h, w]`` of the faces.

        Raises:
            ValueError: there are fewer than two faces, or the loss is no longer finite.
        """
        faces = enough(context.require_auxiliary(), "deepblur").images
        network = drawn(self.make, context.seed, self.name, "layers").to(context.device)
        assert isinstance(network, FaceCode)

        def loss_of(rows: Tensor, draws: torch.Generator) -> Tensor:
            photos = pixels(faces, rows, context)
            code = network.encoder(photos)
            noise = torch.randn(code.shape, generator=draws).to(code)
            made = network.decoder(code + self.code_noise * noise)
            return F.l1_loss(made, photos) + _STRUCTURE * DSSIM(photos)(made).mean()

        learn(
            network.train(),
            loss_of,
            photos=len(faces),
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            stream=self.name,
            context=context,
        )
        network.eval()
        with torch.no_grad():
            parts = torch.arange(len(faces)).split(_AT_ONCE)
            sums = [network.encoder(pixels(faces, rows, context)).sum(dim=0, keepdim=True) for rows in parts]
        return {**network.state_dict(), MEAN_CODE: torch.stack(sums).sum(dim=0) / len(faces)}
