"""`face_regions`: where lips, eyes and skin of a face are, from its five points; no network parses the face.

A region is made of ellipses along the line of the eyes. On the ArcFace template of 112 px they hold about 470, 920 and
3460 pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LIPS, EYES, SKIN = range(3)
"""Places of the regions."""
_LIPS = (0.58, 0.30)
_EYES = (0.42, 0.28)
_FACE = (0.98, 1.30)
"""Half axes along and across: of the lips in units of the mouth's width, of the others in eye distances."""
_FADE_PX = 4


def face_regions(landmarks: Tensor, height: int, width: int) -> Tensor:
    """The regions ``[N, 3, H, W]`` of faces, ones inside: lips, both eyes with their lids, and the skin beside them.

    Regions share no pixel; those of a face without finite points are empty.

    Args:
        landmarks: ``[N, 5, 2]``, pixels ``(x, y)``: eyes, nose, corners of the mouth, left to right.
        height, width: of the photos.
    """
    known = landmarks.isfinite().flatten(1).all(dim=1)
    points = torch.where(known.view(-1, 1, 1), landmarks, 0.0)
    left, right, nose, mouth_left, mouth_right = points.unbind(1)
    line = right - left
    distance = torch.linalg.vector_norm(line, dim=1).clamp(min=1e-3)
    along = line / distance.unsqueeze(1)
    mouth = torch.linalg.vector_norm(mouth_right - mouth_left, dim=1).clamp(min=1e-3)

    def ellipse(centre: Tensor, unit: Tensor, halves: tuple[float, float]) -> Tensor:
        rows, columns = (torch.arange(length, device=points.device) for length in (height, width))
        x, y = columns - centre[:, 0].view(-1, 1, 1), rows.view(-1, 1) - centre[:, 1].view(-1, 1, 1)
        cosine, sine = along[:, 0].view(-1, 1, 1), along[:, 1].view(-1, 1, 1)
        across, down = (cosine * x + sine * y), (cosine * y - sine * x)
        size = unit.view(-1, 1, 1)
        return (across / (halves[0] * size)).square() + (down / (halves[1] * size)).square() <= 1

    lips = ellipse((mouth_left + mouth_right) / 2, mouth, _LIPS)
    eyes = (ellipse(left, distance, _EYES) | ellipse(right, distance, _EYES)) & ~lips
    skin = ellipse(nose, distance, _FACE) & ~lips & ~eyes
    return torch.stack([lips, eyes, skin], dim=1).float() * known.view(-1, 1, 1, 1)


def soft_face(regions: Tensor) -> Tensor:
    """How much of a pixel is a face, ``[N, 1, H, W]``: one in the inner part of its regions, zero at their border."""
    inside = regions.sum(dim=1, keepdim=True)
    around = F.avg_pool2d(inside, 2 * _FADE_PX + 1, 1, _FADE_PX, count_include_pad=False)
    return (2 * around - 1).clamp(min=0) * inside
