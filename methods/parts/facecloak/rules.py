"""Rules of FaceCloak for a mask under way: those of the paper's equations, and those of the released code."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from cloakbench.bench.core.ranges import at_least, one_of, positive
from cloakbench.methods.parts.facecloak.attention import MOST
from cloakbench.methods.parts.facecloak.budget_map import BudgetMap, project_

Projection = Literal["each_step", "last"]
Overlap = Literal["larger", "added"]
Rounding = Literal["nearest", "truncated"]

_ABOVE_ROUNDING = 1 + 1e-6
"""So that 8 grey levels are not 7.999999, and then 7."""


class Rules:
    """A mask is projected wherever it is looked at, and deployed as it was learnt. It is projected in place."""

    scale: float = 1.0
    """How much larger a deployed mask is than the one that was learnt."""

    def seen(self, pictures: Tensor, mask: Tensor, budget: BudgetMap) -> Tensor:
        """Equation 10: what a network sees of pictures ``[M, k, 3, H, W]`` under masks ``[M, 3, H, W]``."""
        return (pictures + project_(mask, budget).unsqueeze(1)).clamp_(0, 1)

    def kept(self, noise: Tensor, budget: BudgetMap) -> Tensor:
        """Noise after a step."""
        return project_(noise, budget)

    def weights(self, attention: Tensor) -> Tensor:
        """Attention after a step."""
        return attention.clamp_(0, MOST)

    def deployed(self, mask: Tensor, budget: BudgetMap) -> Tensor:
        """What is added to photos at the end, before `scale`."""
        return project_(mask, budget)

    def largest_255(self, epsilon_255: float, focus_255: float, *, stickers: bool, detail: bool) -> float:
        """The most that a deployed value can be, with or without regions of either kind."""
        return max(epsilon_255, focus_255 * (stickers or detail))


class ReleasedRules(Rules):
    """What the code does where it departs from the equations, each departure an option.

    Source: the code released with the paper, as of November 2025.

    Args:
        projection: ``last``: nothing is bounded before the end, neither noise nor attention nor the pixels that the
            network sees. ``each_step``: as in `Rules`.
        overlap: ``added``: a deployed mask is the sum of three parts, the mask within epsilon, and within the focus
            budget what lies inside stickers and what lies inside the high-pass mask. ``larger``: as in `Rules`.
        deployed_scale: a deployed mask is so many times the one that was learnt, whose budgets and steps are as many
            times smaller. Learnt on a range of two units and applied on one of 255, it is twice as large.
        high_pass_scale: what is left of the high-pass part when parts are added: applied without the factor of 255 that
            the others get, next to nothing.
        rounding: of a deployed mask to whole grey levels. ``truncated``: towards zero, as a cast to integers does.
            ``nearest``: left to the photo.

    Raises:
        SettingError: an option is out of range.
    """

    def __init__(
        self,
        projection: Projection = "last",
        overlap: Overlap = "added",
        deployed_scale: float = 2,
        high_pass_scale: float = 1 / 255,
        rounding: Rounding = "truncated",
    ) -> None:
        self.projection: Projection = one_of("projection", projection, get_args(Projection))
        self.overlap: Overlap = one_of("overlap", overlap, get_args(Overlap))
        self.scale = positive("deployed_scale", deployed_scale)
        self.high_pass_scale = at_least("high_pass_scale", high_pass_scale)
        self.rounding: Rounding = one_of("rounding", rounding, get_args(Rounding))

    def seen(self, pictures: Tensor, mask: Tensor, budget: BudgetMap) -> Tensor:
        return pictures + mask.unsqueeze(1) if self.projection == "last" else super().seen(pictures, mask, budget)

    def kept(self, noise: Tensor, budget: BudgetMap) -> Tensor:
        return noise if self.projection == "last" else super().kept(noise, budget)

    def weights(self, attention: Tensor) -> Tensor:
        return attention if self.projection == "last" else super().weights(attention)

    def deployed(self, mask: Tensor, budget: BudgetMap) -> Tensor:
        whole = super().deployed(mask, budget) if self.overlap == "larger" else self._added(mask, budget)
        if self.rounding == "nearest":
            return whole
        levels = 255 * self.scale
        return (whole * levels * _ABOVE_ROUNDING).trunc() / levels

    def largest_255(self, epsilon_255: float, focus_255: float, *, stickers: bool, detail: bool) -> float:
        if self.overlap == "larger":
            return super().largest_255(epsilon_255, focus_255, stickers=stickers, detail=detail)
        return epsilon_255 + focus_255 * (stickers + detail * self.high_pass_scale)

    def _added(self, mask: Tensor, budget: BudgetMap) -> Tensor:
        whole, inside = (mask.clamp(-size, size) for size in (budget.epsilon, budget.focus))
        if budget.stickers is not None:
            whole = whole + budget.stickers * inside
        if budget.detail is not None:
            whole = whole + budget.detail * inside * self.high_pass_scale
        return whole
