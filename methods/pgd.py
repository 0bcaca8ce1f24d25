"""Projected gradient descent."""

from __future__ import annotations

from typing import ClassVar

from cloakbench.methods.parts.gradient import GradientAttack
from cloakbench.methods.parts.objectives import Objective
from cloakbench.methods.parts.transfer.ensemble import Transfer


class PGD(GradientAttack):
    """PGD; BIM without the random start: ``x <- project(x - step * sign(grad J(x)))``, T times.

    Papers: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, equation 2;
    Kurakin, Goodfellow, Bengio, "Adversarial Examples in the Physical World", 2017 (BIM).
    Official settings: CIFAR-10 epsilon 8, step 2, 7 to 20 steps, random start, cross-entropy. The face benchmark
    RobFR runs BIM on embeddings with 20 steps of 1.5 epsilon / T.
    Deviations: J as in `FGSM`; step ``max(1, 1.5 epsilon / T)``.
    """

    name: ClassVar[str] = "pgd"
    paper: ClassVar[str] = "Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018"
    official_settings: ClassVar[str] = "epsilon 8, step 2, 7 to 20 steps, random start, cross-entropy"
    deviations: ClassVar[str] = "embedding distance, or cross-entropy of all attributes, instead of one class's"

    def __init__(
        self,
        epsilon_255: float = 8,
        *,
        steps: int = 10,
        step_255: float | None = None,
        objective: Objective = "own",
        random_start: bool = True,
        transfer: Transfer | None = None,
    ) -> None:
        super().__init__(epsilon_255, steps, step_255, objective, random_start, transfer)
