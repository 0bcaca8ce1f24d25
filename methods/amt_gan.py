"""AMT-GAN, small: a trained generator gives a face a reference's makeup, under which recognisers do not know it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, one_of, positive, share, whole
from cloakbench.methods.base import Protector, Scope, Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.gan.game import GENERATOR, below
from cloakbench.methods.parts.gan.networks import with_weights
from cloakbench.methods.parts.makeup.reference import MakeupReference
from cloakbench.methods.parts.makeup.regions import face_regions, soft_face
from cloakbench.methods.parts.makeup.transfer_networks import TransferPair
from cloakbench.methods.parts.makeup.transfer_training import MakeupTraining, TransferRules
from cloakbench.methods.photo_batch import PhotoBatch


class AMTGAN(Protector):
    """Adversarial makeup transfer: a face as a generator makes it up after a reference, in one pass.

    The generator learns on auxiliary people to carry makeup from face to face and back, in a cycle inside which a
    regularisation network takes adversarial traces off, so that the way back does not undo them: losses of two
    discriminators, cycle, identity, histograms of lips, eyes and skin, and the cosine to the person on an ensemble
    (`cloakbench.methods.parts.makeup.transfer_training`).

    Paper: Hu et al., "Protecting Facial Privacy: Generating Adversarial Identity Masks via Style-Robust Makeup
    Transfer", CVPR 2022.
    Official settings: 256 px, weights 10 (discriminators), 10 (cycle), 5 (adversarial, 1 - cosine to a target, views
    diversified), 2 (makeup: lips 1, eyes 1, skin 0.1) and 5 (identity, L1 + LPIPS), Adam 2e-4 with betas 0.5 and 0.999,
    batch 1, 50 epochs in the code's settings and 5 in its file; three surrogates.
    Deviations: the small version: 112 px, half that inside the networks; a narrow generator that adds to the face and
    sees the reference on top of it; regions from five points instead of parsing; the auxiliary faces with the strongest
    makeup instead of a makeup data set; no LPIPS and no diversified views; mean-square histograms of exact quantiles;
    the weights of discriminators, deception and makeup, learning rate, steps and batch are ours; the person is evaded,
    nobody is imitated.

    Args:
        reference: whose makeup photos are given.
        width, discriminator_width: channels of the first convolution of each network.
        shrink: pixels a side that become one before the networks, 1 or 2.
        strength: the most that a value changes, as a share of the range.
        training_steps: of all networks.
        batch: photos of a step, of either kind.
        learning_rate: of Adam.
        gan_weight, cycle_weight, adversarial_weight, makeup_weight, identity_weight, lips_weight, eyes_weight,
            skin_weight: see `TransferRules`.

    Raises:
        SettingError: a parameter is out of range.
    """

    name: ClassVar[str] = "amt_gan"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = (
        "Hu et al., Protecting Facial Privacy: Generating Adversarial Identity Masks via Style-Robust Makeup Transfer, "
        "CVPR 2022"
    )
    official_settings: ClassVar[str] = "256 px, weights 10, 10, 5, 2 and 5, Adam 2e-4, batch 1, 50 epochs (5 in a file)"
    deviations: ClassVar[str] = "small version: 112 px, narrow networks, regions from landmarks, no LPIPS, evasion"
    needs = frozenset({Need.SURROGATES, Need.AUXILIARY, Need.LANDMARKS})

    def __init__(
        self,
        reference: MakeupReference | None = None,
        *,
        width: int = 8,
        discriminator_width: int = 8,
        shrink: int = 2,
        strength: float = 0.3,
        training_steps: int = 200,
        batch: int = 4,
        learning_rate: float = 1e-3,
        gan_weight: float = 1.0,
        cycle_weight: float = 10.0,
        adversarial_weight: float = 2.0,
        makeup_weight: float = 20.0,
        identity_weight: float = 5.0,
        lips_weight: float = 1.0,
        eyes_weight: float = 1.0,
        skin_weight: float = 0.1,
    ) -> None:
        self.reference = reference or MakeupReference()
        self.rules = TransferRules(
            width=whole("width", width),
            discriminator_width=whole("discriminator_width", discriminator_width),
            shrink=one_of("shrink", shrink, (1, 2)),
            strength=share("strength", strength),
            gan_weight=at_least("gan_weight", gan_weight),
            cycle_weight=at_least("cycle_weight", cycle_weight),
            adversarial_weight=at_least("adversarial_weight", adversarial_weight),
            makeup_weight=at_least("makeup_weight", makeup_weight),
            identity_weight=at_least("identity_weight", identity_weight),
            lips_weight=at_least("lips_weight", lips_weight),
            eyes_weight=at_least("eyes_weight", eyes_weight),
            skin_weight=at_least("skin_weight", skin_weight),
        )
        self.training = MakeupTraining(
            rules=self.rules,
            steps=whole("training_steps", training_steps),
            batch=whole("batch", batch, 2),
            learning_rate=positive("learning_rate", learning_rate),
        )
        self.max_change_255 = 255 * self.rules.strength

    def files_read(self, image_id: Sequence[str]) -> Mapping[str, str]:
        digest = self.reference.fingerprint()
        return {"makeup": digest} if digest else {}

    def stages(self) -> tuple[Stage, ...]:
        return (self.training,)

    @torch.no_grad()
    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        made_up = self.reference.find(context.require_auxiliary(), batch.images.shape[-1], context.device)
        pair = with_weights(self.rules.makers()[GENERATOR], below(GENERATOR, context.trained[self.training.name]))
        assert isinstance(pair, TransferPair)
        network = context.counted(pair.transfer)
        inside = soft_face(face_regions(batch.require_landmarks(), *batch.images.shape[-2:]))
        made = [
            network(photos, made_up.image.expand_as(photos), area)
            for photos, area in zip(*(part.split(self.training.batch) for part in (batch.images, inside)), strict=True)
        ]
        known = inside.flatten(1).any(dim=1).view(-1, 1, 1, 1)
        return torch.where(known, torch.cat(made), float("nan"))  # without points there is no face: such a photo failed
