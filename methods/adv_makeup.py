"""Adv-Makeup, small: a trained generator makes the eyes up, and nothing else of the photo changes."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, positive, share, whole
from cloakbench.methods.base import Protector, Scope, Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.gan.game import GENERATOR, below
from cloakbench.methods.parts.gan.networks import with_weights
from cloakbench.methods.parts.makeup.eye_crop import EyeCrop
from cloakbench.methods.parts.makeup.eye_training import EyeMakeup, EyeRules
from cloakbench.methods.photo_batch import PhotoBatch


class AdvMakeup(Protector):
    """Eye makeup by a generator, blended into the photo, learnt so that it deceives recognisers it was not learnt on.

    ``x' = paste(x, s G(crop(x)))``: the crop lies along the eyes, and a soft ellipse of it about each eye is pasted. G
    learns on auxiliary people against a discriminator of made-up eyes, with losses that keep the border unseen, and by
    meta-steps: a step away from the clean feature on all surrogates but one is to help on that one, which is another at
    every step (`cloakbench.methods.parts.makeup.eye_training`). A photo then costs one pass of the generator.

    Paper: Yin et al., "Adv-Makeup: A New Imperceptible and Transferable Attack on Face Recognition", IJCAI 2021.
    Official settings: eye crops of 420 x 160, gradient, total-variation and VGG style losses (1e5), meta-training on
    three recognisers for a fourth, impersonation of a target, learning rate 1e-3, also of the meta-step, batch 4, 300
    epochs.
    Deviations: the small version: crops of 84 x 32, a narrow generator that adds to the crop, colour statistics instead
    of VGG's style, the auxiliary faces with the strongest makeup instead of a makeup data set, weights and steps are
    ours; the meta-step is of first order; the person is evaded, nobody is imitated.

    Args:
        strength: the most that a value of the crop changes, as a share of the range.
        width, discriminator_width: channels of the first convolution of each network.
        training_steps: of both networks.
        batch: photos of a step.
        learning_rate: of Adam.
        adversarial_weight, gan_weight, gradient_weight, style_weight, variation_weight, meta_rate: see `EyeRules`.
        least_surrogates: fewer are refused.

    Raises:
        SettingError: a parameter is out of range.
    """

    name: ClassVar[str] = "adv_makeup"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = (
        "Yin et al., Adv-Makeup: A New Imperceptible and Transferable Attack on Face Recognition, IJCAI 2021"
    )
    official_settings: ClassVar[str] = (
        "eye crop 420 x 160, VGG style 1e5, meta-training on three, 1e-3, 300 epochs of 4"
    )
    deviations: ClassVar[str] = "small version: crop 84 x 32, colour statistics for VGG, first-order meta-step, evasion"
    needs = frozenset({Need.SURROGATES, Need.AUXILIARY, Need.LANDMARKS})

    def __init__(
        self,
        *,
        strength: float = 0.3,
        width: int = 8,
        discriminator_width: int = 8,
        training_steps: int = 300,
        batch: int = 8,
        learning_rate: float = 1e-3,
        adversarial_weight: float = 1.0,
        gan_weight: float = 0.1,
        gradient_weight: float = 100.0,
        style_weight: float = 10.0,
        variation_weight: float = 1.0,
        meta_rate: float = 1e-2,
        least_surrogates: int = 2,
    ) -> None:
        self.rules = EyeRules(
            width=whole("width", width),
            discriminator_width=whole("discriminator_width", discriminator_width),
            strength=share("strength", strength),
            adversarial_weight=at_least("adversarial_weight", adversarial_weight),
            gan_weight=at_least("gan_weight", gan_weight),
            gradient_weight=at_least("gradient_weight", gradient_weight),
            style_weight=at_least("style_weight", style_weight),
            variation_weight=at_least("variation_weight", variation_weight),
            meta_rate=at_least("meta_rate", meta_rate),
        )
        self.least_surrogates = whole("least_surrogates", least_surrogates)
        self.eye_makeup = EyeMakeup(
            rules=self.rules,
            steps=whole("training_steps", training_steps),
            batch=whole("batch", batch, 2),
            learning_rate=positive("learning_rate", learning_rate),
            least_surrogates=self.least_surrogates,
        )
        self.max_change_255 = 255 * self.rules.strength

    def stages(self) -> tuple[Stage, ...]:
        return (self.eye_makeup,)

    @torch.no_grad()
    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        weights = below(GENERATOR, context.trained[self.eye_makeup.name])
        network = context.counted(with_weights(self.rules.makers()[GENERATOR], weights))
        points = batch.require_landmarks()
        known = points.isfinite().flatten(1).all(dim=1)
        made = []
        for rows in torch.arange(len(points)).split(self.eye_makeup.batch):
            photos = batch.images[rows]
            crop = EyeCrop(points[rows], *photos.shape[-2:])
            made.append(crop.paste(photos, self.rules.change(network, crop.cut(photos))))
        protected = torch.cat(made)
        # Without points there are no eyes: such a photo failed.
        return torch.where(known.view(-1, 1, 1, 1), protected, float("nan"))
