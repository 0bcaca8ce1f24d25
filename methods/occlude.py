"""Occlusion: a control of methods that hide faces, which recognisers bear no better than people."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from cloakbench.bench.core.ranges import share
from cloakbench.methods.base import Goal, Protector, Scope
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch


class Occlude(Protector):
    """A black box over the middle of every crop, where the face is. Control, no paper; nothing brings the photo back.

    Args:
        covered: side of the box over that of the crop.
    """

    name: ClassVar[str] = "occlude"
    scope: ClassVar[Scope] = "image"
    goal: Goal = "hide from humans"
    paper: ClassVar[str] = "control"

    def __init__(self, covered: float = 0.7) -> None:
        self.covered = share("covered", covered)

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        height, width = batch.images.shape[-2:]
        top, left = (round((1 - self.covered) / 2 * side) for side in (height, width))
        hidden = batch.images.clone()
        hidden[..., top : height - top, left : width - left] = 0
        return hidden
