"""Mosaic: a control of methods that hide faces, which recognisers bear no better than people."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from cloakbench.bench.core.ranges import whole
from cloakbench.methods.base import Goal, Protector, Scope
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch


class Mosaic(Protector):
    """Every photo in squares of one colour, their mean. Control, no paper; nothing brings the photo back.

    Args:
        tiles: squares along a side; as many pixels as a side has leave the photo as it is.
    """

    name: ClassVar[str] = "mosaic"
    scope: ClassVar[Scope] = "image"
    goal: Goal = "hide from humans"
    paper: ClassVar[str] = "control"

    def __init__(self, tiles: int = 8) -> None:
        self.tiles = whole("tiles", tiles)

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        return interpolate(adaptive_avg_pool2d(batch.images, self.tiles), batch.images.shape[-2:], mode="nearest")
