"""`EyeCrop`: both eyes of a face, cut out along the line through them; what is painted on their lids is pasted back.

Source: Yin et al., "Adv-Makeup", IJCAI 2021: a crop of 420 x 160 pixels of the area around the eyes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

HEIGHT, WIDTH = 32, 84
"""Of crops in pixels: the shape of 420 x 160, at about the resolution of an aligned photo of 112 px."""
_HALF_WIDTH, _RAISED = 1.2, 0.1
"""In eye distances: half a crop's width, and how far its centre lies above the eyes, towards the brows."""
_EYE_PX, _LID_PX, _LID_HALVES_PX = 17.5, 1.5, (15.0, 10.0)
"""In pixels of a crop: an eye's distance from the middle, how far below the centre the middle of what is painted about
it lies, and the half axes of the ellipse that it covers, fading out over its outer half."""


class EyeCrop:
    """Where the crops of N photos are.

    Args:
        landmarks: finite points ``[N, 5, 2]`` in pixels, eyes first.
        height, width: of the photos.
    """

    def __init__(self, landmarks: Tensor, height: int, width: int) -> None:
        self._size = (height, width)
        left, right = landmarks[:, 0], landmarks[:, 1]
        line = right - left
        down = torch.stack([-line[:, 1], line[:, 0]], dim=1)
        centre = (left + right) / 2 - _RAISED * down
        axes = torch.stack([_HALF_WIDTH * line, _HALF_WIDTH * HEIGHT / WIDTH * down], dim=2)  # columns, in pixels
        self._into = _places(axes, centre, height, width)
        self._back = _inverse(self._into)
        self.lids = _lids().to(landmarks.device)
        """How much of each pixel of a crop is painted, ``[1, 1, HEIGHT, WIDTH]``."""
        self.cover = self._pasted(self.lids.expand(len(landmarks), -1, -1, -1))
        """How much of each pixel is the crop's, ``[N, 1, H, W]``: one about the eyes, zero outside of the crop."""

    def cut(self, photos: Tensor) -> Tensor:
        """The crops ``[N, 3, HEIGHT, WIDTH]`` of photos ``[N, 3, H, W]``; the border goes on outside."""
        grid = F.affine_grid(self._into, [len(photos), 1, HEIGHT, WIDTH], align_corners=False)
        return F.grid_sample(photos, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def paste(self, photos: Tensor, change: Tensor) -> Tensor:
        """Photos ``[N, 3, H, W]`` with changes of their crops ``[N, 3, HEIGHT, WIDTH]`` added, in [0, 1]."""
        return (photos + self.cover * self._pasted(change)).clamp(0, 1)

    def _pasted(self, crops: Tensor) -> Tensor:
        grid = F.affine_grid(self._back, [len(crops), 1, *self._size], align_corners=False)
        return F.grid_sample(crops, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _lids() -> Tensor:
    """An ellipse about each eye, one in its inner half, zero outside."""
    down = torch.arange(HEIGHT) + 0.5 - HEIGHT / 2 - _LID_PX
    across = (torch.arange(WIDTH) + 0.5 - WIDTH / 2).abs() - _EYE_PX
    radius = (across / _LID_HALVES_PX[0]).square() + (down / _LID_HALVES_PX[1]).square().unsqueeze(1)
    return (2 * (1 - radius)).clamp(0, 1).view(1, 1, HEIGHT, WIDTH)


def _places(axes: Tensor, centre: Tensor, height: int, width: int) -> Tensor:
    """The maps ``[N, 2, 3]`` from places of a crop in [-1, 1] to those of its photo."""
    scale = torch.tensor([2 / width, 2 / height], device=axes.device)
    shift = scale * (centre + 0.5) - 1
    return torch.cat([scale.view(1, 2, 1) * axes, shift.unsqueeze(2)], dim=2)


def _inverse(places: Tensor) -> Tensor:
    turn = torch.linalg.inv(places[:, :, :2])
    return torch.cat([turn, -turn @ places[:, :, 2:]], dim=2)
