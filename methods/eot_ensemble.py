"""EOT ensemble: signed steps for many recognisers at once, each through random views of its own."""

from __future__ import annotations

from typing import ClassVar

from cloakbench.bench.core.ranges import whole
from cloakbench.methods.mi_fgsm import MIFGSM
from cloakbench.methods.parts.objectives import Objective
from cloakbench.methods.parts.transfer.ensemble import Transfer


class EOTEnsemble(MIFGSM):
    """Away from what recognisers know of a person, by gradients that hold for recognisers nobody has.

    Every step shows each surrogate another random view of every photo, divides the gradients that come back by their
    mean size, adds them up, smooths the sum, and moves along its sign. Photos leave the sum of their own embedding and
    the mean of the person's references, at unit length: what an attacker's gallery is likely to hold.

    Ours: a combination of known parts, named by their papers in `cloakbench.methods.parts.transfer`. No paper has it in
    this form. Its settings were fixed before they were measured with this code; ``docs/transfer.md`` has what is tried.

    Passes for each photo: T forward and T backward for each surrogate, one forward for its own embedding, and one for
    each reference of its owner.

    Args:
        epsilon_255, steps, step_255, objective, random_start: see `cloakbench.methods.parts.gradient.GradientAttack`;
            ``objective="own"`` is for people of whom there is one photo only.
        momentum_decay: of gathered gradients; 0 for none.
        least_surrogates: an ensemble has at least that many.
        transfer: views, filter and ensemble; None leaves all three out.

    Raises:
        SettingError: a parameter is out of range.
    """

    name: ClassVar[str] = "eot_ensemble"
    paper: ClassVar[str] = "none: CloakBench's own combination of EOT, TI and normalised ensembles"
    official_settings: ClassVar[str] = (
        "ours: epsilon 8, 20 steps of 1, random start, views (scale .85 to 1.1, 8 degrees, 5 %, mirror), Gaussian 1 px"
    )
    deviations: ClassVar[str] = ""

    def __init__(
        self,
        epsilon_255: float = 8,
        *,
        steps: int = 20,
        step_255: float | None = None,
        objective: Objective = "own_and_reference",
        random_start: bool = True,
        momentum_decay: float = 0.0,
        least_surrogates: int = 2,
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
