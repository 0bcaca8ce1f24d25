"""DeepPrivacy: the face is erased, and another one is made from what surrounds it."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, positive, share, whole
from cloakbench.methods.base import Protector, Scope, Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.obfuscation.inpainting import InpaintingTraining
from cloakbench.methods.photo_batch import PhotoBatch

_AT_ONCE = 32


class DeepPrivacy(Protector):
    """The middle of the crop, filled in by a network that is never shown what was there.

    Whatever a photo tells of the person afterwards, it tells by what lies around the face: hair, outline, background.
    Two photos that are equal around the face are published with the same face.

    Paper: Hukkelås, Mester and Lindseth, "DeepPrivacy: A Generative Adversarial Network for Face Anonymization", ISVC
    2019.
    Official settings: 1.47 million faces (FDF) at 128 pixels, progressively grown Wasserstein GAN with gradient
    penalty, told seven keypoints; the box of a detector is erased.
    Deviations: small: a network of a few layers learns on the auxiliary faces against a discriminator of patches, with
    an L1 term beside it, as a few hundred photos need; no keypoints are told, as in the face model of DeepPrivacy2, so
    the pose is guessed from the surroundings; an ellipse of the aligned crop is erased.

    Args:
        covered: height of the ellipse that is erased over that of the crop.
        width, discriminator_width: channels of the first convolutions.
        training_steps, batch, learning_rate: of the training.
        l1_weight: of the distance to what was there, while it learns.

    Raises:
        SettingError: a parameter is out of range.
    """

    name: ClassVar[str] = "deepprivacy"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = (
        "Hukkelås, Mester and Lindseth, DeepPrivacy: A Generative Adversarial Network for Face Anonymization, ISVC 2019"
    )
    official_settings: ClassVar[str] = "1.47 million faces, progressively grown WGAN-GP, keypoints"
    deviations: ClassVar[str] = "small: a patch GAN with L1 on auxiliary faces; no keypoints; an ellipse is erased"
    needs = frozenset({Need.AUXILIARY})
    max_change_255 = 255.0

    def __init__(
        self,
        covered: float = 0.85,
        *,
        width: int = 16,
        discriminator_width: int = 16,
        training_steps: int = 500,
        batch: int = 8,
        learning_rate: float = 1e-3,
        l1_weight: float = 100.0,
    ) -> None:
        self.covered = share("covered", covered)
        self.width = whole("width", width, 2)
        self.discriminator_width = whole("discriminator_width", discriminator_width)
        self.training_steps, self.batch = whole("training_steps", training_steps), whole("batch", batch, 2)
        self.learning_rate = positive("learning_rate", learning_rate)
        self.l1_weight = at_least("l1_weight", l1_weight)
        self.training = InpaintingTraining(
            covered=self.covered,
            width=self.width,
            discriminator_width=self.discriminator_width,
            steps=self.training_steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            l1_weight=self.l1_weight,
        )

    def stages(self) -> tuple[Stage, ...]:
        return (self.training,)

    @torch.no_grad()
    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        inpainter = context.counted(self.training.inpainter(context.trained[self.training.name]))
        return torch.cat([inpainter(photos) for photos in batch.images.split(_AT_ONCE)])
