"""LowKey against attribute networks: answers that change, smoothed or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from torch import Tensor

from cloakbench.methods.base import Goal
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.lowkey import LowKey
from cloakbench.methods.parts.attributes.own_answers import OwnAnswers
from cloakbench.methods.parts.perceptual_distance import PerceptualDistance


class LowKeyAttributes(LowKey):
    """LowKey-m: `LowKey` with the cross-entropy of the clean answers in place of the distance of features.

    Maximises ``(J(x') + J(G(x'))) / 2 - weight * perceptual(x, x')``, J the mean cross-entropy of all attributes.

    Paper: Yang et al., "Invisible-Face", TIFS 2025, section VI-A, which replaces the loss and says nothing else.
    Official settings: those of `LowKey`; the weight against a cross-entropy is not given.
    Deviations: those of `LowKey`; no mirror image, which belongs to the features; labels are the surrogates' answers;
    the weight is the one of 0, 0.5, 1, 2 and 5 whose PSNR is nearest that of `LowKey` with as many steps.

    Args:
        perceptual, epsilon_255, steps, step_255, start_255, blur_size, blur_sigma: see `LowKey`.
        perceptual_weight: factor of the last term.

    Raises:
        ValueError: a parameter is out of range.
    """

    name: ClassVar[str] = "lowkey_m"
    goal: Goal = "hide attributes"
    paper: ClassVar[str] = "Yang et al., Invisible-Face, TIFS 2025; Cherepanova et al., LowKey, ICLR 2021"
    official_settings: ClassVar[str] = "LowKey's, cross-entropy of attributes instead of its feature distance"
    deviations: ClassVar[str] = "labels are the surrogates' own answers; no mirror image; otherwise as LowKey"
    needs = frozenset({Need.ATTRIBUTE_SURROGATES})

    def __init__(
        self,
        perceptual: PerceptualDistance,
        epsilon_255: float | None = None,
        *,
        steps: int = 50,
        step_255: float = 0.6375,
        start_255: float = 1.275,
        perceptual_weight: float = 5.0,
        blur_size: int = 7,
        blur_sigma: float = 3.0,
    ) -> None:
        super().__init__(
            perceptual,
            epsilon_255,
            steps=steps,
            step_255=step_255,
            start_255=start_255,
            perceptual_weight=perceptual_weight,
            mirror=False,
            blur_size=blur_size,
            blur_sigma=blur_sigma,
        )

    def found(self, images: Tensor, context: ProtectContext) -> Any:
        return OwnAnswers.of(images, context)

    def losses(self, photos: Tensor, found: Any, context: ProtectContext) -> Iterator[Tensor]:
        yield found.distance(photos) / 2
        yield found.distance(self.blur(photos)) / 2
