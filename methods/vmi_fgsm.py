"""Variance-tuned momentum iterative FGSM."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, whole
from cloakbench.methods.mi_fgsm import MIFGSM
from cloakbench.methods.parts.gradient import Attack, add_momentum
from cloakbench.methods.parts.objectives import Objective
from cloakbench.methods.parts.transfer.ensemble import Transfer


class VMIFGSM(MIFGSM):
    """VMI-FGSM: MI-FGSM on ``grad J(x) + v``, where v is how much the neighbourhood's mean gradient differed.

    ``v <- mean_i grad J(x + r_i) - grad J(x)`` with ``r_i ~ U(-beta epsilon, beta epsilon)``, not clipped; the v used
    in a step was found at the step before.

    Paper: Wang and He, "Enhancing the Transferability of Adversarial Attacks through Variance Tuning", CVPR 2021,
    equations 6 and 7.
    Official settings: epsilon 16, 10 steps of epsilon / T, mu 1, 20 neighbours, beta 1.5, cross-entropy.
    Deviations: J as in `FGSM`; random start; epsilon 8. The variance after the last step, which
    nothing uses, is not computed: T + (T - 1) * neighbours passes instead of T * (1 + neighbours).
    """

    name: ClassVar[str] = "vmi_fgsm"
    paper: ClassVar[str] = "Wang and He, Enhancing Transferability through Variance Tuning, CVPR 2021"
    official_settings: ClassVar[str] = "epsilon 16, 10 steps of epsilon/T, mu 1, 20 neighbours, beta 1.5"
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
        neighbours: int = 20,
        beta: float = 1.5,
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
        self.neighbours = whole("neighbours", neighbours)
        self.beta = at_least("beta", beta)

    def direction(self, photos: Tensor, attack: Attack) -> Tensor:
        gradient = self.gradient(photos, attack)
        variance = attack.memory.get("variance")
        tuned = gradient if variance is None else gradient + variance
        if attack.steps_left:
            attack.memory["variance"] = self._neighbourhood(photos, attack).sub_(gradient)
        return add_momentum(tuned, attack, self.momentum_decay)

    def _neighbourhood(self, photos: Tensor, attack: Attack) -> Tensor:
        """Mean gradient over the neighbours, one batch of neighbours at a time to keep memory at one batch."""
        radius = self.beta * self.epsilon_255 / 255
        total = torch.zeros_like(photos)
        for _ in range(self.neighbours):
            neighbours = attack.streams.uniform(*photos.shape[1:], low=-radius, high=radius).add_(photos)
            total.add_(self.gradient(neighbours, attack))
        return total.div_(self.neighbours)
