"""Transforms that treat single pixels: grains of salt and pepper, and the filter that takes grains away."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import SettingError, is_number, is_whole
from cloakbench.bench.engine.transforms import Transform


class SaltAndPepper(Transform):
    """Single pixels turned black or white, all three values together, as often the one as the other.

    A photo gets the same pattern after every method, and that of a smaller share is part of that of a larger one.

    Args:
        share: of the pixels that are turned, above 0 and at most 1.
        seed: names the pattern, together with the image id.
    """

    family = "salt_and_pepper"
    title = "Salt and pepper"
    axis = "share of pixels"

    def __init__(self, share: float, seed: int = 0) -> None:
        if not (is_number(share) and 0 < share <= 1):
            raise SettingError("share", share, "a number above 0, up to 1")
        self.share = share
        self.seed = seed

    @property
    def strength(self) -> float:
        return self.share

    def _apply(self, images: Tensor, image_id: Sequence[str]) -> Tensor:
        streams = [generator(self.seed, self.family, name) for name in image_id]
        turned, salt = torch.stack([torch.rand(2, 1, *images.shape[-2:], generator=one) for one in streams]).unbind(1)
        grains = torch.where(salt < 0.5, 0, 255).to(torch.uint8)
        return torch.where(turned < self.share, grains, images)


class Median(Transform):
    """The median of a square around every value, in its own channel; borders are mirrored.

    Args:
        size_px: side of the square, odd and at least 3.
    """

    family = "median"
    title = "Median filter"
    axis = "side (pixels)"

    def __init__(self, size_px: int) -> None:
        if not (is_whole(size_px) and size_px >= 3 and size_px % 2):
            raise SettingError("size_px", size_px, "an odd whole number of at least 3")
        self.size_px = size_px

    @property
    def strength(self) -> float:
        return self.size_px

    def _apply(self, images: Tensor, image_id: Sequence[str]) -> Tensor:
        radius = self.size_px // 2
        if radius >= min(images.shape[-2:]):
            raise ValueError(f"size_px {self.size_px} is too large for photos of {list(images.shape[-2:])} pixels")
        padded = F.pad(images.float(), [radius] * 4, mode="reflect").to(torch.uint8)
        squares = padded.unfold(2, self.size_px, 1).unfold(3, self.size_px, 1)
        return torch.stack([photo.flatten(-2).median(dim=-1).values for photo in squares])
