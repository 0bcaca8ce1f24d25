"""A person's veil: one picture that hides all of their photos from people, and not from recognisers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, get_args

from torch import Tensor

from cloakbench.bench.core.ranges import at_least, grey_step, one_of, share, whole
from cloakbench.methods.base import Goal, Protector, Scope
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.veils.blend import blend, unblend
from cloakbench.methods.parts.veils.block_variance import BlockVariance, Variance
from cloakbench.methods.parts.veils.keys import picture_key
from cloakbench.methods.parts.veils.search import Nearest, Start, VeilSearch
from cloakbench.methods.parts.veils.subspace import Hull, nearest_in
from cloakbench.methods.photo_batch import PhotoBatch

KEY = "veil"
"""Name of the veils among what only owners have."""


class Veil(Protector):
    """Person-specific veil: ``x' = alpha x + (1 - alpha) veil`` for all photos of a person, and back with the veil.

    Minimised over R reference photos is the mean of ``|f(x') - A w|^2 - visual_weight * mean((x - x')^2) +
    variance_weight * V(x')``: A w is the point of the hull of the person's clean features that is nearest to f(x')
    (`cloakbench.methods.parts.veils.subspace`), V the block variance (`cloakbench.methods.parts.veils.block_variance`).
    T steps along the sign of gathered gradients, each of L1 norm one; a step is halved after 60 % and 85 % of them. A
    person costs T R forward and backward passes, a photo one multiply-add in either direction.

    Paper: "Once-for-all: Efficient Visual Face Privacy Protection via Person-specific Veils", 2024 (anonymous draft).
    Official settings: alpha 0.2, 10 photos, momentum decay 1, blocks of 3x3. Weights, steps and their length are not
    stated, nor is the stride of blocks; there is no code.
    Deviations: where the paper contradicts itself, what it can mean: blends in its problem statement, too; the visual
    term raises the difference of pixels; variance within blocks for equation 10; the step goes against the gathered
    gradient, and starts from a key; recovery divides by alpha. The veil is kept in whole grey levels.

    Args:
        alpha: share of the photo in what is published; 0 publishes the veil, 1 the photo.
        hull: what features are to stay near.
        visual_weight: lambda of equation 13.
        variance_weight: mu of equation 13; 0 leaves the variance out.
        variance: reading of equations 9 and 10.
        between_weight, within_weight: of the two parts of ``variance=corrected``.
        block_stride: pixels from a block to the next.
        steps: T.
        step_255: grey levels of the first steps.
        momentum_decay: what is kept of the gathered gradient in each step.
        start: where veils begin.
        expect_rounding: add half a grey level of noise to the photos in each step, as rounding will.

    Facts: ``similarity``, the least of all people on the surrogate at the end; below 0.8 a veil is no good.
    """

    name: ClassVar[str] = "veil"
    scope: ClassVar[Scope] = "identity"
    goal: Goal = "hide from humans"
    paper: ClassVar[str] = (
        "Once-for-all: Efficient Visual Face Privacy Protection via Person-specific Veils, anonymous draft, 2024"
    )
    official_settings: ClassVar[str] = "alpha 0.2, 10 photos, decay 1, blocks 3x3; weights, steps and step not stated"
    deviations: ClassVar[str] = "own weights and steps; variance within blocks for Eq. 10; Eq. 14 divides by alpha"
    needs = frozenset({Need.SURROGATES, Need.REFERENCES})

    def __init__(
        self,
        alpha: float = 0.2,
        *,
        hull: Hull = "convex",
        visual_weight: float = 3.0,
        variance_weight: float = 10.0,
        variance: Variance = "corrected",
        between_weight: float = 1.0,
        within_weight: float = 0.0,
        block_stride: int = 1,
        steps: int = 300,
        step_255: float = 1.0,
        momentum_decay: float = 1.0,
        start: Start = "key",
        expect_rounding: bool = True,
    ) -> None:
        self.alpha = share("alpha", alpha)
        self.hull: Hull = one_of("hull", hull, get_args(Hull))
        self.visual_weight = at_least("visual_weight", visual_weight)
        self.variance_weight = at_least("variance_weight", variance_weight)
        self.variance: Variance = one_of("variance", variance, get_args(Variance))
        self.between_weight = at_least("between_weight", between_weight)
        self.within_weight = at_least("within_weight", within_weight)
        self.block_stride = one_of("block_stride", block_stride, (1, 3))
        self.steps, self.step_255 = whole("steps", steps), grey_step("step_255", step_255)
        self.momentum_decay = at_least("momentum_decay", momentum_decay)
        self.start: Start = one_of("start", start, get_args(Start))
        self.expect_rounding = expect_rounding
        self.search = VeilSearch(
            alpha=self.alpha,
            visual_weight=self.visual_weight,
            variance_weight=self.variance_weight,
            variance=BlockVariance(self.variance, self.block_stride, self.between_weight, self.within_weight),
            steps=self.steps,
            step_255=self.step_255,
            momentum_decay=self.momentum_decay,
            start=self.start,
            expect_rounding=self.expect_rounding,
        )
        self.recoverable = 0 < alpha < 1
        self.recovery_error_255 = 0.5 / alpha if self.recoverable else None

    def fit(self, batch: PhotoBatch, context: ProtectContext) -> Tensor:
        """The veils, float ``[P, 3, H, W]`` in [0, 1], in the order of ``batch.identities``."""
        veils = self.search.veils(batch.require_references(), batch.identities, self.nearest(), context)
        context.private[KEY] = veils
        return veils

    def nearest(self) -> Nearest:
        """Hook: where features of veiled photos belong."""
        hull = self.hull
        return lambda features, clean: nearest_in(hull, clean, features)

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        return blend(batch.images, fitted[batch.owner], self.alpha)

    def recover(self, photos: Tensor, keys: Mapping[str, Tensor], people: Tensor) -> Tensor:
        """As in `cloakbench.methods.base.Protector.recover`, from ``veil`` of the keys, ``[P, 3, H, W]``."""
        if not self.recoverable:
            raise NotImplementedError(f"{self.name} gives no photo back at alpha {self.alpha:g}, only between 0 and 1")
        return unblend(photos, picture_key(self.name, KEY, keys, photos)[people], self.alpha)
