"""Five points that somebody else gave for a photo: whether they can be those of a face in it.

A detector's points are where it saw something. Points of a list may belong to another photo, to another size of it, or
name left and right as the person has them and not as they are seen; a crop by them would run and show something else.

Mirrored points are found by naming them otherwise: if exchanging the eyes, the mouth corners or both brings the points
much closer to a face, they were mixed up. Closeness is the share of the template's spread that the best similarity
explains (1 for the template itself, 0.05 for its mirror image). A profile, whose eyes lie over each other, fits about
equally well both ways and passes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cloakbench.datasets.alignment import ARCFACE_TEMPLATE
from cloakbench.datasets.photos import PhotoError

_GAIN = 0.3
"""What exchanging points must explain more to count as a mistake; a head turned ten degrees past profile gains 0.26."""
_EXCHANGES = {
    "the eyes and the mouth corners": (1, 0, 2, 4, 3),
    "the eyes": (1, 0, 2, 3, 4),
    "the mouth corners": (0, 1, 2, 4, 3),
}


def sound_points(points: Tensor, height: int, width: int) -> Tensor:
    """The points, if they can be a face in a photo of that size.

    Args:
        points: ``[5, 2]``: eyes, nose tip, mouth corners, from left to right in the photo, in its pixels.
        height, width: of the upright photo.

    Raises:
        PhotoError: ``bad_landmarks``: not finite, outside the photo, or left and right are mixed up.
    """
    places = points.double()
    if not places.isfinite().all():
        raise PhotoError("bad_landmarks", "a point is not a number: correct the row in landmarks_file")
    size = torch.tensor([width, height], dtype=torch.float64)
    outside = torch.maximum(-places, places - size + 1).clamp(min=0)
    middle = places.mean(0)
    if (middle < 0).any() or (middle > size - 1).any() or float(outside.max()) > max(height, width) / 2:
        raise PhotoError(
            "bad_landmarks",
            f"the points lie outside the photo of {width}x{height} pixels: they belong to another photo, or to another "
            "size of it; correct the row in landmarks_file",
        )
    fit = _explained(places)
    for what, order in _EXCHANGES.items():
        if _explained(places[list(order)]) > fit + _GAIN:
            raise PhotoError(
                "bad_landmarks",
                f"left and right of {what} are exchanged: they are meant as seen in the photo, not by the person; "
                "correct the row in landmarks_file",
            )
    return points


def _explained(points: Tensor) -> float:
    """Share of the template's spread that the best similarity of ``points`` explains, in [0, 1]."""
    template = torch.tensor(ARCFACE_TEMPLATE, dtype=torch.float64)
    z, w = points - points.mean(0), template - template.mean(0)
    spread = float(z.square().sum() * w.square().sum())
    if spread < 1e-12:
        return 0.0
    along, across = float((z * w).sum()), float((z[:, 0] * w[:, 1] - z[:, 1] * w[:, 0]).sum())
    return (along**2 + across**2) / spread
