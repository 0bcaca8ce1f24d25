"""Objectives of the FI-UAP and OPOM family: what a person's mask moves embeddings away from.

Each is a loss to be minimised of the embeddings ``[P, R, D]`` of R masked photos of P people, given the unit
embeddings ``[P, R, D]`` of the same photos without the mask. Losses add up over people, so that nobody's gradient
depends on who else is in the chunk.

Source: Zhong and Deng, "OPOM: Customized Invisible Cloak towards Face Privacy Protection", TPAMI 2022, section 3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor
from torch.nn.functional import normalize

from cloakbench.bench.core.ranges import at_least, number, whole
from cloakbench.methods.parts.hulls import affine_weights, center_weights, combine, convex_weights

_GAP = 1e-7
"""Duality gap of the convex hull inside a loop: nearest points then agree with the exact ones to about 1e-7, which is
as far as float32 embeddings go, in two thirds of the time of the solver's own default."""


class MaskObjective(ABC):
    """A loss over a person's photos together."""

    @abstractmethod
    def loss(self, masked: Tensor, clean: Tensor, step: int) -> Tensor:
        """Scalar; ``step`` counts from 0 and ``clean`` carries no gradient."""


class PairwiseCosine(MaskObjective):
    """FI-UAP+: the mean cosine between every masked and every clean photo of the person.

    The same algorithm as `ClassCenter`: ``||u - c||^2 = 1 + ||c||^2 - 2 c.u`` on the unit sphere, so the gradients are
    proportional and `sign` makes them equal.
    """

    def loss(self, masked: Tensor, clean: Tensor, step: int) -> Tensor:
        return (masked @ clean.mT).mean(dim=(1, 2)).sum()


class AwayFromNearest(MaskObjective):
    """Minus the mean squared distance to a subspace of the person's clean photos.

    The nearest point is found anew at every step and held fixed for the gradient, which is exact all the same.
    """

    def loss(self, masked: Tensor, clean: Tensor, step: int) -> Tensor:
        return -(masked - self.nearest(masked.detach(), clean, step)).square().sum(dim=-1).mean(dim=1).sum()

    @abstractmethod
    def nearest(self, masked: Tensor, clean: Tensor, step: int) -> Tensor:
        """Points ``[P, R, D]``, or a shape that broadcasts to it."""


class OwnFeature(AwayFromNearest):
    """FI-UAP: every photo moves away from its own clean embedding."""

    def nearest(self, masked: Tensor, clean: Tensor, step: int) -> Tensor:
        return clean


class ClassCenter(AwayFromNearest):
    """OPOM-ClassCenter: away from the mean of the clean embeddings, not re-normalised."""

    def nearest(self, masked: Tensor, clean: Tensor, step: int) -> Tensor:
        return combine(center_weights(clean, masked), clean)


class OwnAndCenter(AwayFromNearest):
    """Away from the sum of a photo's own clean embedding and the mean of all of them, at unit length; ours."""

    def nearest(self, masked: Tensor, clean: Tensor, step: int) -> Tensor:
        return normalize(clean + clean.mean(dim=1, keepdim=True), dim=-1)


class AffineHull(AwayFromNearest):
    """OPOM-AffineHull: away from the affine hull of the clean embeddings."""

    def nearest(self, masked: Tensor, clean: Tensor, step: int) -> Tensor:
        return combine(affine_weights(clean, masked), clean)


class ConvexHull(AwayFromNearest):
    """OPOM-ConvexHull: away from the convex hull, after some steps away from the centre to get out of it.

    Official settings: 5 warm-up steps of 16 (scripts), bounds [0, 1]. The official command-line defaults, 100 warm-up
    steps of 50, never leave the warm-up and are ClassCenter.

    Args:
        warmup_steps: first steps, taken as in `ClassCenter`.
        lower, upper: bounds of the hull's coefficients.
    """

    def __init__(self, warmup_steps: int = 5, lower: float = 0.0, upper: float = 1.0) -> None:
        self.warmup_steps = whole("warmup_steps", warmup_steps, 0)
        self.lower = number("lower", lower)
        self.upper = at_least("upper", upper, lower)

    def nearest(self, masked: Tensor, clean: Tensor, step: int) -> Tensor:
        if step < self.warmup_steps:
            return combine(center_weights(clean, masked), clean)
        return combine(convex_weights(clean, masked, self.lower, self.upper, gap=_GAP), clean)
