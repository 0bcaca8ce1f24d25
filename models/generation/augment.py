"""`Augment`: views without a network. The photo itself, mirrored, cut, turned and lit in other ways."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, share, share_below_one
from cloakbench.models.generators import Generator, GeneratorCard

_DRAWS = 8
"""Uniform numbers that one view is made from."""


class Augment(Generator):
    """Views of a photo as a careless camera would have taken them; no new pose, expression or light from the side.

    Every view has numbers of its own, from the stream of its photo: it is mirrored with probability one half, then
    scaled, moved and turned in one interpolation, whose edges repeat the photo's, then lit.

    Args:
        crop: largest share of the side that is cut off; the rest fills the picture, from a place of its own.
        turn_degrees: largest angle to either side.
        brightness: largest factor above or below 1, as a share: 0.2 for 0.8 to 1.2.
        contrast: the same for distances from the mean grey of the picture.
        gamma: largest exponent, at least 1; exponents lie between its inverse and it, evenly in the logarithm.
    """

    def __init__(
        self,
        crop: float = 0.2,
        turn_degrees: float = 12.0,
        brightness: float = 0.2,
        contrast: float = 0.2,
        gamma: float = 1.3,
    ) -> None:
        super().__init__()
        self.crop = share_below_one("crop", crop)
        self.turn_degrees = at_least("turn_degrees", turn_degrees)
        self.brightness, self.contrast = share("brightness", brightness), share("contrast", contrast)
        self.gamma = at_least("gamma", gamma, 1)
        self.card = GeneratorCard(
            name="augment",
            kind="mirror, crop, turn, light",
            licence_code="MIT",
            licence_weights="none",
            licence_training_data="none",
            note="shows the one photo again, never the person from another side",
        )
        self.freeze()

    def draw_views(self, photos: Tensor, count: int, streams: Sequence[torch.Generator]) -> Tensor:
        drawn = torch.stack([torch.rand(count, _DRAWS, generator=stream) for stream in streams]).flatten(0, 1)
        places = self._places(drawn).to(photos.device)
        repeated = photos.repeat_interleave(count, dim=0)
        grid = F.affine_grid(places, list(repeated.shape), align_corners=False)
        moved = F.grid_sample(repeated, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return self._lit(moved, drawn.to(photos.device)).view(len(photos), count, *photos.shape[1:])

    def _places(self, drawn: Tensor) -> Tensor:
        """Where each picture looks into the photo, ``[M, 2, 3]`` for `affine_grid`."""
        mirror = torch.where(drawn[:, 0] < 0.5, -1.0, 1.0)
        scale = 1 - self.crop * drawn[:, 1]
        across, down = ((1 - scale) * (2 * drawn[:, place] - 1) for place in (2, 3))
        angle = (2 * drawn[:, 4] - 1) * math.radians(self.turn_degrees)
        cosine, sine = scale * angle.cos(), scale * angle.sin()
        return torch.stack(
            [torch.stack([cosine * mirror, -sine, across], 1), torch.stack([sine * mirror, cosine, down], 1)], 1
        )

    def _lit(self, pictures: Tensor, drawn: Tensor) -> Tensor:
        bright, contrast, gamma = ((2 * drawn[:, place] - 1).view(-1, 1, 1, 1) for place in (5, 6, 7))
        lit = pictures.clamp(0, 1) ** torch.exp(gamma * math.log(self.gamma)) * (1 + self.brightness * bright)
        grey = lit.mean(dim=(1, 2, 3), keepdim=True)
        return (grey + (lit - grey) * (1 + self.contrast * contrast)).clamp(0, 1)
