"""`WithoutBackground`: aligned crops of which only an ellipse around the face is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import one_of, positive
from cloakbench.bench.engine.transforms import Transform
from cloakbench.datasets.alignment import ARCFACE_TEMPLATE

Fill = Literal["black", "mean"]


class WithoutBackground(Transform):
    """Everything outside an ellipse around the face replaced.

    The photos are aligned crops, so the points of the face are those of the template they are aligned to. The
    ellipse's centre lies between eyes and mouth.

    Args:
        half_width: of the ellipse, in distances of the eyes.
        half_height: in distances from the eyes to the mouth.
        fill: what is outside: black, or the photo's mean colour.
    """

    family = "without_background"
    title = "Without background"
    axis = "half width (eye distances)"
    order = "down"

    def __init__(self, half_width: float = 1.2, half_height: float = 1.45, fill: Fill = "black") -> None:
        self.half_width, self.half_height = positive("half_width", half_width), positive("half_height", half_height)
        self.fill: Fill = one_of("fill", fill, get_args(Fill))

    @property
    def strength(self) -> float:
        return self.half_width

    def _apply(self, images: Tensor, image_id: Sequence[str]) -> Tensor:
        height, width = images.shape[-2:]
        inside = face_ellipse(height, width, self.half_width, self.half_height)
        outside = images.new_zeros(len(images), 3, 1, 1)
        if self.fill == "mean":
            outside = images.double().mean(dim=(2, 3), keepdim=True).round().to(torch.uint8)
        return torch.where(inside, images, outside)


def face_ellipse(height: int, width: int, half_width: float, half_height: float) -> Tensor:
    """Which pixels of an aligned crop the face covers, bool ``[H, W]``; sizes as in `WithoutBackground`."""
    points = torch.tensor(ARCFACE_TEMPLATE) * torch.tensor([width / 112, height / 112])
    eyes, mouth = points[:2].mean(dim=0), points[3:].mean(dim=0)
    centre = (eyes + mouth) / 2
    across = half_width * float((points[1] - points[0]).norm())
    down = half_height * float((mouth - eyes).norm())
    x, y = (torch.arange(side) - middle for side, middle in ((width, centre[0]), (height, centre[1])))
    return (x / across).square() + (y / down).square().unsqueeze(1) <= 1
