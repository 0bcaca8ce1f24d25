"""Translation-invariant gradients of diverse inputs, with momentum."""

from __future__ import annotations

from typing import ClassVar

from cloakbench.bench.core.ranges import at_least, odd, share
from cloakbench.methods.mi_fgsm import MIFGSM
from cloakbench.methods.parts.objectives import Objective
from cloakbench.methods.parts.transfer.ensemble import Transfer
from cloakbench.methods.parts.transfer.gradient_filter import GradientFilter
from cloakbench.methods.parts.transfer.views import ResizeAndPad


class TIDIM(MIFGSM):
    """TI-DIM: random resize and padding before the network, a Gaussian blur of the gradient after it, then MI-FGSM.

    Papers: Dong et al., "Evading Defenses to Transferable Adversarial Examples by Translation-Invariant Attacks",
    CVPR 2019, equation 8; Xie et al., "Improving Transferability of Adversarial Examples with Input Diversity",
    CVPR 2019, equation 5.
    Official settings: epsilon 16, 10 steps of epsilon / T, mu 1, kernel 15 on 299-pixel images, probability 0.7,
    sizes 299 to 330, cross-entropy. Public suites: probability 0.5, sizes up to 1.1 times the image, and back.
    Deviations: J as in `FGSM`; random start; kernel 7, as face suites use for 112 pixels; each photo draws its own
    transform (the suites draw one per batch), so that results do not depend on batching; resize, padding and the resize
    back are one bilinear sampling instead of two.
    """

    name: ClassVar[str] = "ti_dim"
    paper: ClassVar[str] = (
        "Dong et al., Translation-Invariant Attacks, CVPR 2019; Xie et al., Input Diversity, CVPR 2019"
    )
    official_settings: ClassVar[str] = "epsilon 16, 10 steps of epsilon/T, mu 1, kernel 15 at 299 px, probability 0.7"
    deviations: ClassVar[str] = "J as in FGSM; random start; kernel 7 at 112 px; one transform per photo"

    def __init__(
        self,
        epsilon_255: float = 8,
        *,
        steps: int = 10,
        step_255: float | None = None,
        objective: Objective = "own",
        random_start: bool = True,
        momentum_decay: float = 1.0,
        transform_probability: float = 0.5,
        resize_rate: float = 1.1,
        kernel_size: int = 7,
    ) -> None:
        self.transform_probability = share("transform_probability", transform_probability)
        self.resize_rate = at_least("resize_rate", resize_rate, 1)
        self.kernel_size = odd("kernel_size", kernel_size)
        super().__init__(
            epsilon_255,
            steps=steps,
            step_255=step_255,
            objective=objective,
            random_start=random_start,
            momentum_decay=momentum_decay,
            transfer=Transfer(
                ResizeAndPad(self.transform_probability, self.resize_rate),
                GradientFilter("gaussian", self.kernel_size),
            ),
        )
