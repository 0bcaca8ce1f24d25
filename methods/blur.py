"""Blurring: a control of methods that hide faces, which recognisers bear no better than people."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from cloakbench.bench.core.ranges import positive
from cloakbench.methods.base import Goal, Protector, Scope
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.veils.blend import smoothed
from cloakbench.methods.photo_batch import PhotoBatch


class Blur(Protector):
    """Every photo through a Gaussian filter. Control, no paper; nothing brings the photo back.

    Args:
        sigma_px: standard deviation in pixels; 8 of 112 leave where hair and face are, and no feature.
    """

    name: ClassVar[str] = "blur"
    scope: ClassVar[Scope] = "image"
    goal: Goal = "hide from humans"
    paper: ClassVar[str] = "control"

    def __init__(self, sigma_px: float = 8.0) -> None:
        self.sigma_px = positive("sigma_px", sigma_px)

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        return smoothed(batch.images, self.sigma_px)
