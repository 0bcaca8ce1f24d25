"""Views of training photos: random ones, drawn for a batch from one stream.

A view is a function of images ``[N, 3, H, W]`` in [0, 1] and a generator; it keeps shape and range and is
differentiable in the images, so that noise can be optimised through it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.ranges import share, whole


class Flip:
    """Mirror each image with probability one half."""

    def __call__(self, images: Tensor, draws: torch.Generator) -> Tensor:
        mirrored = (torch.rand(len(images), generator=draws) < 0.5).to(images.device)
        return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)


class FlipCrop:
    """Mirror, pad with zeros and cut a window of the old size at a random place.

    Args:
        padding_px: pixels added at each side; the window moves by up to that many either way.
    """

    def __init__(self, padding_px: int) -> None:
        self.padding_px = whole("padding_px", padding_px, 0)
        self.flip = Flip()

    def __call__(self, images: Tensor, draws: torch.Generator) -> Tensor:
        images, pad = self.flip(images, draws), self.padding_px
        if not pad:
            return images
        count, _, height, width = images.shape
        top, left = torch.randint(2 * pad + 1, (2, count), generator=draws).to(images.device)
        rows = (top[:, None] + torch.arange(height, device=images.device))[:, :, None]
        columns = (left[:, None] + torch.arange(width, device=images.device))[:, None, :]
        photo = torch.arange(count, device=images.device)[:, None, None]
        padded = F.pad(images, (pad, pad, pad, pad)).permute(0, 2, 3, 1)
        return padded[photo, rows, columns].permute(0, 3, 1, 2).contiguous()


class StrongViews:
    """Mirror, crop, colour and cutout: what somebody does who suspects that the photos are poisoned.

    Args:
        padding_px: as for `FlipCrop`.
        colour: brightness, contrast and saturation are each multiplied by a factor in ``[1 - colour, 1 + colour]``.
        cutout_px: side of the grey square that hides part of each image; 0 for none.
    """

    def __init__(self, padding_px: int, colour: float, cutout_px: int) -> None:
        self.crop = FlipCrop(padding_px)
        self.colour, self.cutout_px = share("colour", colour), whole("cutout_px", cutout_px, 0)

    def __call__(self, images: Tensor, draws: torch.Generator) -> Tensor:
        images = self.crop(images, draws)
        factors = 1 + self.colour * (2 * torch.rand(3, len(images), 1, 1, 1, generator=draws) - 1)
        brightness, contrast, saturation = factors.to(images.device)
        images = images * brightness
        images = _away_from(images.mean(dim=(1, 2, 3), keepdim=True), images, contrast)
        images = _away_from(images.mean(dim=1, keepdim=True), images, saturation).clamp(0, 1)
        return self._cut_out(images, draws) if self.cutout_px else images

    def _cut_out(self, images: Tensor, draws: torch.Generator) -> Tensor:
        count, _, height, width = images.shape
        centre = torch.rand(2, count, generator=draws).to(images.device)
        inside = [
            (torch.arange(side, device=images.device) - (place * side)[:, None]).abs() < self.cutout_px / 2
            for side, place in zip((height, width), centre, strict=True)
        ]
        hidden = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        return torch.where(hidden, 0.5, images)


def _away_from(centre: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    return centre + factor * (images - centre)
