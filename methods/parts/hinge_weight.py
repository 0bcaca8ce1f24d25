"""The weight of P3-Mask's DSSIM hinge: a power of two per mask that follows how much the mask disturbs."""

from __future__ import annotations

import torch
from torch import Tensor

_BAND = 0.1
_LEAST, _MOST = 1 / 129, 129.0
"""A weight is halved while at least the one and doubled while at most the other, so it stays within [1/256, 256]."""


class HingeWeight:
    """Weights ``[M]``, one at the start.

    Halved after a step whose DSSIM is at most 0.9 times the bound, doubled after one of at least 1.1 times, and one
    again in between.

    Source: Chow et al., "Personalized Privacy Protection Mask Against Unauthorized Facial Recognition", ECCV 2024, as
    released (0.027 and 0.033 at a bound of 0.03).
    """

    def __init__(self, masks: int, bound: float, device: torch.device) -> None:
        self.weight = torch.ones(masks, device=device)
        self._low, self._high = (1 - _BAND) * bound, (1 + _BAND) * bound

    def adapt(self, dssim: Tensor) -> None:
        """Called after every step with the DSSIM ``[M]`` it started from."""
        halved = torch.where(self.weight >= _LEAST, self.weight / 2, self.weight)
        doubled = torch.where(self.weight <= _MOST, self.weight * 2, self.weight)
        self.weight = torch.where(dssim <= self._low, halved, torch.where(dssim >= self._high, doubled, 1.0))
