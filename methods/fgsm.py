"""Fast gradient sign method."""

from __future__ import annotations

from typing import ClassVar

from cloakbench.methods.parts.gradient import GradientAttack
from cloakbench.methods.parts.objectives import Objective
from cloakbench.methods.parts.transfer.ensemble import Transfer


class FGSM(GradientAttack):
    """FGSM: one full step, ``x' = clip(x - epsilon * sign(grad J(x)))``.

    Paper: Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015, section 4.
    Official settings: one step of epsilon from the photo itself, cross-entropy.
    Deviations: J is a squared distance of embeddings, or with ``objective="attributes"`` minus the mean cross-entropy
    of all attributes (Yang et al., Invisible-Face, TIFS 2025). With ``objective="own"`` and no random start the
    gradient is zero and the photo comes back unchanged, with a warning; the default objective is therefore
    ``reference``.
    """

    name: ClassVar[str] = "fgsm"
    paper: ClassVar[str] = "Goodfellow et al., Explaining and Harnessing Adversarial Examples, ICLR 2015"
    official_settings: ClassVar[str] = "1 step of epsilon, no random start, cross-entropy"
    deviations: ClassVar[str] = (
        "embedding distance to other photos of the person, or cross-entropy of all attributes, instead of one class's"
    )

    def __init__(
        self,
        epsilon_255: float = 8,
        objective: Objective = "reference",
        random_start: bool = False,
        transfer: Transfer | None = None,
    ) -> None:
        # A zero budget still takes its step; the projection undoes it.
        super().__init__(epsilon_255, 1, epsilon_255 or None, objective, random_start, transfer)
