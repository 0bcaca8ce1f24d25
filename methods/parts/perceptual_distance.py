"""`PerceptualDistance`: what methods ask of a distance that sees as people do; `models.perceptual` has two."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

import torch
from torch import Tensor


class LoadedDistance(Protocol):
    """A perceptual distance ready for use."""

    def to(self, clean: Tensor) -> Callable[[Tensor], Tensor]: ...


class PerceptualDistance(Protocol):
    """What a method's setting ``perceptual`` is."""

    name: ClassVar[str]
    is_lpips: ClassVar[bool]

    def fingerprint(self) -> str: ...

    def load(self, device: torch.device) -> LoadedDistance: ...
