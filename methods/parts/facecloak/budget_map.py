"""Budget map of FaceCloak, equations 9 to 11: a step of the mask, its projection, and the bound of every value."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BudgetMap:
    """How large each value of M masks may be, on the scale of [0, 1].

    Attributes:
        epsilon, focus: outside and inside the regions.
        stickers: ones inside the boxes and zeros elsewhere, ``[M, 1, H, W]``, or None.
        detail: ones where the high-pass mask is, ``[M, 3, H, W]``, or None.
        bound: E, ``[M, 3, H, W]``.
        low: -E, which every projection wants.
    """

    epsilon: float
    focus: float
    stickers: Tensor | None
    detail: Tensor | None
    bound: Tensor
    low: Tensor

    @classmethod
    def of(
        cls, epsilon: float, focus: float, stickers: Tensor | None, detail: Tensor | None, photos: Tensor
    ) -> BudgetMap:
        """The map for photos ``[M, 3, H, W]``."""
        regions = [region for region in (stickers, detail) if region is not None]
        bound = budget_map(epsilon, focus, regions, photos)
        return cls(epsilon, focus, stickers, detail, bound, -bound)

    @property
    def focused_share(self) -> float:
        """Of all values, how many may be larger than epsilon."""
        return float((self.bound > self.epsilon).float().mean())

    def fullness(self, masks: Tensor) -> dict[str, float]:
        """How large the values of masks are beside epsilon, by name; nothing where that is zero."""
        if not self.epsilon:
            return {}
        size = masks.abs() / self.epsilon
        reached = (size >= 1 - 1e-6).float().mean()
        return {"share_at_epsilon": float(reached), "median_over_epsilon": float(size.median())}


def step_mask_(mask: Tensor, gradient: Tensor, step: float) -> Tensor:
    """Equation 9, in place: ``mask - step * sign(dL/dmask)``. The gradient is used up."""
    return mask.sub_(gradient.sign_(), alpha=step)


def project_(mask: Tensor, budget: BudgetMap) -> Tensor:
    """Proj_E of equation 10, in place: the nearest mask whose every value is within its bound."""
    return mask.clamp_(budget.low, budget.bound)


def budget_map(epsilon: float, focus: float, regions: list[Tensor], photos: Tensor) -> Tensor:
    """Equation 11: ``focus`` inside a region and ``epsilon`` elsewhere, and where they meet the larger of them.

    Args:
        epsilon, focus: as in `BudgetMap`.
        regions: ones and zeros.
        photos: what the map is for, ``[M, 3, H, W]``.
    """
    bound = torch.full_like(photos, epsilon)
    for region in regions:
        bound = torch.maximum(bound, region * focus)
    return bound
