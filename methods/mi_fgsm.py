"""Momentum iterative FGSM."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from cloakbench.bench.core.ranges import at_least
from cloakbench.methods.parts.gradient import Attack, GradientAttack, add_momentum
from cloakbench.methods.parts.objectives import Objective
from cloakbench.methods.parts.transfer.ensemble import Transfer


class MIFGSM(GradientAttack):
    """MI-FGSM: ``g <- mu * g + grad / ||grad||_1`` per photo, step along ``sign(g)``.

    Paper: Dong et al., "Boosting Adversarial Attacks with Momentum", CVPR 2018, equations 6 and 7.
    Official settings: epsilon 16, 10 steps of epsilon / T, mu 1, no random start, cross-entropy.
    Deviations: J as in `FGSM`; epsilon 8; step ``max(1, 1.5 epsilon / T)``; random start,
    which the objective ``own`` cannot do without.
    """

    name: ClassVar[str] = "mi_fgsm"
    paper: ClassVar[str] = "Dong et al., Boosting Adversarial Attacks with Momentum, CVPR 2018"
    official_settings: ClassVar[str] = "epsilon 16, 10 steps of epsilon/T, mu 1, no random start, cross-entropy"
    deviations: ClassVar[str] = (
        "embedding distance, or cross-entropy of all attributes, instead of one class's; random start"
    )

    def __init__(
        self,
        epsilon_255: float = 8,
        *,
        steps: int = 10,
        step_255: float | None = None,
        objective: Objective = "own",
        random_start: bool = True,
        momentum_decay: float = 1.0,
        transfer: Transfer | None = None,
    ) -> None:
        super().__init__(epsilon_255, steps, step_255, objective, random_start, transfer)
        self.momentum_decay = at_least("momentum_decay", momentum_decay)

    def direction(self, photos: Tensor, attack: Attack) -> Tensor:
        return add_momentum(self.gradient(photos, attack), attack, self.momentum_decay)
