"""Stickers of FaceCloak, equation 5: boxes about eyes, nose and mouth in which a mask may be stronger.

Sizes are those of the released code on a crop of 112 pixels; on another they are scaled, and stay even.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_SIDE = 112
_EYE, _NOSE = (22, 10), (22, 28)
_MOUTH_HEIGHT = 28
"""Width and height in pixels; a mouth is as wide as its corners are apart."""


@dataclass(frozen=True)
class Stickers:
    """The boxes of M faces.

    Attributes:
        inside: one inside a box and zero elsewhere, ``[M, 1, H, W]``; of a face without landmarks zero everywhere.
        known: faces of which there are landmarks, ``[M]``.
        cut: boxes that leave the crop and end at its border.
        outside: landmarks that are not on the crop.
    """

    inside: Tensor
    known: Tensor
    cut: int
    outside: int


def find_stickers(landmarks: Tensor, height: int, width: int) -> Stickers:
    """The stickers of faces on crops of that size; landmarks ``[M, 5, 2]`` as in `cloakbench.datasets.base.FaceSet`."""
    known = landmarks.isfinite().flatten(1).all(dim=1)
    points = torch.where(known.view(-1, 1, 1), landmarks, 0.0)
    first, last = sticker_boxes(points, height / _SIDE, width / _SIDE)
    size = torch.tensor([width, height], device=points.device)
    cut = ((first < 0) | (last > size)).any(dim=-1) & known.unsqueeze(1)
    outside = ((points < 0) | (points >= size)).any(dim=-1) & known.unsqueeze(1)
    across, down = (
        (torch.arange(length, device=points.device) >= first[..., axis : axis + 1])
        & (torch.arange(length, device=points.device) < last[..., axis : axis + 1])
        for axis, length in enumerate((width, height))
    )
    boxes = down.unsqueeze(-1) & across.unsqueeze(-2)
    inside = boxes.any(dim=1, keepdim=True) & known.view(-1, 1, 1, 1)
    return Stickers(inside.float(), known, int(cut.sum()), int(outside.sum()))


def sticker_boxes(landmarks: Tensor, down: float = 1.0, across: float = 1.0) -> tuple[Tensor, Tensor]:
    """First pixel of each box and first one after it, ``(x, y)``, long ``[M, 4, 2]`` each: two eyes, nose, mouth.

    A box is centred on the whole pixels of its landmark, a mouth on the middle of its corners; it may leave the crop.

    Args:
        landmarks: ``[M, 5, 2]``, eyes, nose, corners of the mouth, left to right.
        down, across: height and width of the crop over 112.
    """
    left, right = landmarks[:, 3], landmarks[:, 4]
    centres = torch.cat([landmarks[:, :3], ((left + right) / 2).unsqueeze(1)], dim=1).long()
    mouth = 2 * (torch.linalg.vector_norm(right - left, dim=1) / 2).ceil().clamp(min=1)
    fixed = torch.tensor([_EYE, _EYE, _NOSE, (0, _MOUTH_HEIGHT)], device=landmarks.device)
    halves = (fixed * torch.tensor([across, down], device=landmarks.device) / 2).round().clamp(min=1).long()
    halves = halves.repeat(len(landmarks), 1, 1)
    halves[:, 3, 0] = (mouth / 2).long()
    return centres - halves, centres + halves
