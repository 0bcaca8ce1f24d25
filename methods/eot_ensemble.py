"""EOT ensemble: signed steps for many recognisers at once, each through random views of its own."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, get_args

from torch import Tensor

from cloakbench.bench.core.ranges import one_of, whole
from cloakbench.methods.mi_fgsm import MIFGSM
from cloakbench.methods.parts.contrast_budget import ContrastBudget
from cloakbench.methods.parts.linf import LinfBall
from cloakbench.methods.parts.objectives import Objective
from cloakbench.methods.parts.transfer.ensemble import Transfer

StepSchedule = Literal["constant", "linear", "cosine"]
"""How steps shrink from twice their mean size, which is ``step_255``, to nothing: along a line, or along half a period
of a cosine (Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, equation 5)."""


class EOTEnsemble(MIFGSM):
    """Away from what recognisers know of a person, by gradients that hold for recognisers nobody has.

    Every step shows each surrogate another random view of every photo, divides the gradients that come back by their
    mean size, adds them up, smooths the sum, gathers it (MI, by a half), and moves along its sign. Photos leave the
    mean of the person's references: what an attacker's gallery is likely to hold.

    Ours: a combination of known parts, named by their papers in `cloakbench.methods.parts.transfer`. No paper has it in
    this form. Its settings were chosen by a rule that was written before the search; ``docs/transfer.md`` has both.

    Passes for each photo: T forward and T backward for each surrogate, and one forward for each reference of its owner;
    one more for its own embedding with ``objective="own_and_reference"``.

    Args:
        epsilon_255, steps, step_255, objective, random_start: see `cloakbench.methods.parts.gradient.GradientAttack`;
            ``objective="own"`` is for people of whom there is one photo only.
        momentum_decay: of gathered gradients; 0 for none.
        least_surrogates: an ensemble has at least that many.
        step_schedule: see `StepSchedule`.
        perceptual: bounds that differ from pixel to pixel, none above the budget; None for the budget everywhere.
        transfer: how gradients are taken; None for the mean over surrogates, of the photos themselves.

    Raises:
        SettingError: a parameter is out of range.
    """

    name: ClassVar[str] = "eot_ensemble"
    paper: ClassVar[str] = "none: CloakBench's own combination of EOT, TI and normalised ensembles"
    official_settings: ClassVar[str] = (
        "ours: epsilon 8, 20 steps of 1, random start, momentum .5, "
        "views (scale .925 to 1.05, 4 degrees, 2.5 %, mirror), Gaussian 1 px, references as anchor"
    )
    deviations: ClassVar[str] = ""

    def __init__(
        self,
        epsilon_255: float = 8,
        *,
        steps: int = 20,
        step_255: float | None = None,
        objective: Objective = "reference",
        random_start: bool = True,
        momentum_decay: float = 0.5,
        least_surrogates: int = 2,
        step_schedule: StepSchedule = "constant",
        perceptual: ContrastBudget | None = None,
        transfer: Transfer | None = None,
    ) -> None:
        super().__init__(
            epsilon_255,
            steps=steps,
            step_255=step_255,
            objective=objective,
            random_start=random_start,
            momentum_decay=momentum_decay,
            transfer=transfer,
        )
        self.least_surrogates = whole("least_surrogates", least_surrogates)
        self.step_schedule: StepSchedule = one_of("step_schedule", step_schedule, get_args(StepSchedule))
        self.perceptual = perceptual

    def ball(self, images: Tensor) -> LinfBall:
        if self.perceptual is None:
            return super().ball(images)
        return LinfBall.around(images, self.epsilon_255 / 255 * self.perceptual.shares(images))

    def step_at(self, number: int) -> float:
        middle = (number + 0.5) / self.steps
        factor = {"constant": 1.0, "linear": 2 * (1 - middle), "cosine": 1 + math.cos(math.pi * middle)}
        return self.step_255 * factor[self.step_schedule]
