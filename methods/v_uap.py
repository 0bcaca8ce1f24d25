"""V-UAP: the veil's baseline, which holds each photo to its own features."""

from __future__ import annotations

from typing import ClassVar

from cloakbench.methods.parts.veils.search import Nearest, Start
from cloakbench.methods.veil import Veil


class VUAP(Veil):
    """A person's universal perturbation that hides: as `Veil`, vector to vector, and without block variance.

    Minimised is the mean of ``|f(x') - f(x)|^2 - visual_weight * mean((x - x')^2)``, in the blend, from the start, by
    the steps and with the recovery of `Veil`, so that a veil without variance differs in the subspace alone. With one
    photo the two are equal.

    Paper: the baseline of the veils' draft, equation 15, which asks for unchanged recognition as a constraint and says
    no more.

    Args:
        alpha, visual_weight, steps, step_255, momentum_decay, start, expect_rounding: as in `Veil`.
    """

    name: ClassVar[str] = "v_uap"
    official_settings: ClassVar[str] = "none stated but alpha 0.2 and 10 photos"
    deviations: ClassVar[str] = "our reading of Eq. 15: the veil's search with the photo's own feature"

    def __init__(
        self,
        alpha: float = 0.2,
        *,
        visual_weight: float = 3.0,
        steps: int = 300,
        step_255: float = 1.0,
        momentum_decay: float = 1.0,
        start: Start = "key",
        expect_rounding: bool = True,
    ) -> None:
        super().__init__(
            alpha,
            visual_weight=visual_weight,
            variance_weight=0.0,
            steps=steps,
            step_255=step_255,
            momentum_decay=momentum_decay,
            start=start,
            expect_rounding=expect_rounding,
        )

    def nearest(self) -> Nearest:
        return lambda features, clean: clean
