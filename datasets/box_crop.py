"""Square crops of a face box: what classifiers trained on whole heads see, where recognisers see aligned faces.

Pixel coordinates have their origin in the centre of the top left pixel, x to the right and y downwards.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cloakbench.datasets.alignment import CROP_SIZE, warp
from cloakbench.datasets.photos import PhotoError


def box_similarity(box: Tensor, size: int = CROP_SIZE) -> Tensor:
    """The similarity that brings a face box, squared to its longer side around its centre, to ``size`` x ``size``.

    The square's top left corner goes to pixel (0, 0) and the scale is ``size`` over its side; there is no rotation.

    Args:
        box: left, top, right, bottom in pixels of the photo, ``[4]``.
        size: side of the crop.

    Returns:
        float64 ``[2, 3]``, as `cloakbench.datasets.alignment.similarity_transform` gives it.

    Raises:
        ValueError: the box is empty or not finite.
    """
    left, top, right, bottom = box.double().tolist()
    if not box.isfinite().all() or right <= left or bottom <= top:
        raise ValueError(f"the face box {[round(value, 2) for value in box.tolist()]} is empty or not finite")
    side = max(right - left, bottom - top)
    scale = size / side
    corner_x, corner_y = (left + right - side) / 2, (top + bottom - side) / 2
    return torch.tensor([[scale, 0, -scale * corner_x], [0, scale, -scale * corner_y]], dtype=torch.float64)


def cut_box(photo: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
    """`box_similarity` of a box, and the crop that it makes; outside the photo its border goes on for ever.

    Args:
        photo: uint8 ``[3, H, W]``.
        box: ``[4]`` in pixels of the photo.

    Raises:
        PhotoError: ``bad_landmarks``.
    """
    try:
        matrix = box_similarity(box)
        return matrix, warp(photo, matrix, outside="edge")
    except ValueError as error:
        raise PhotoError("bad_landmarks", f"{error}: correct it in landmarks_file") from error
