"""AdvFaces: a generator, trained against a discriminator and a recogniser, gives each photo a mask in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, positive, whole
from cloakbench.methods.base import Protector, Scope, Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.gan.adversarial import GameRules, makers
from cloakbench.methods.parts.gan.game import GENERATOR, below
from cloakbench.methods.parts.gan.networks import with_weights
from cloakbench.methods.parts.gan.stages import ImageMasks
from cloakbench.methods.parts.norms import NormMatch
from cloakbench.methods.photo_batch import PhotoBatch


class AdvFaces(Protector):
    """Obfuscation by a mask of the photo's own: adversarial loss + 10 x cosine to the clean photo + L2 hinge.

    The game is in `cloakbench.methods.parts.gan.adversarial`. It is trained on auxiliary faces once; a photo to be
    protected then costs one pass of the generator, and no surrogate is asked any more.

    Paper: Deb, Zhang and Jain, "AdvFaces: Adversarial Face Synthesis", IJCB 2020.
    Official settings: photos of 160 px, generator of width 64 and discriminator of width 32, FaceNet as matcher,
    identity weight 10, hinge 3.0, Adam 1e-4 with betas 0.5 and 0.9, 100 000 steps of 32 photos of CASIA-WebFace,
    mirrored at random. A pixel loss of weight 1000, five steps of the discriminator and gradient clipping stand in the
    code and are not used; its demo adds the mask at half its strength.
    Deviations: 112 px and the surrogate here; photos are not mirrored; 100 walks through whatever auxiliary faces there
    are, as AdvCloak has it, instead of 100 000 steps.

    Args:
        width: channels of the generator's first convolution.
        discriminator_width: of the discriminator's.
        image_epochs: walks through the auxiliary faces.
        batch: photos per step, and per pass when photos are protected.
        learning_rate: of Adam.
        identity_weight: of the cosine.
        hinge: L2 norm on the scale of [0, 1] up to which a mask costs nothing.
        soft_labels: AdvCloak's labels, see `cloakbench.methods.parts.gan.adversarial.GameRules`.
        match_norm: see `cloakbench.methods.parts.norms.NormMatch`.
    """

    name: ClassVar[str] = "advfaces"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = "Deb et al., AdvFaces: Adversarial Face Synthesis, IJCB 2020"
    official_settings: ClassVar[str] = "width 64, 100 000 steps of 32, Adam 1e-4, identity weight 10, L2 hinge 3.0"
    deviations: ClassVar[str] = "112 px; no mirrored photos; 100 epochs of the auxiliary faces"
    needs = frozenset({Need.SURROGATES, Need.AUXILIARY})

    def __init__(
        self,
        *,
        width: int = 64,
        discriminator_width: int = 32,
        image_epochs: int = 100,
        batch: int = 32,
        learning_rate: float = 1e-4,
        identity_weight: float = 10.0,
        hinge: float = 3.0,
        soft_labels: bool = False,
        match_norm: Mapping[str, float | None] | None = None,
    ) -> None:
        self.width, self.discriminator_width = whole("width", width), whole("discriminator_width", discriminator_width)
        self.image_epochs, self.batch = whole("image_epochs", image_epochs), whole("batch", batch, 2)
        self.learning_rate = positive("learning_rate", learning_rate)
        self.identity_weight = at_least("identity_weight", identity_weight)
        self.hinge, self.soft_labels = at_least("hinge", hinge), soft_labels
        self.rules = GameRules(
            width=self.width,
            discriminator_width=self.discriminator_width,
            hinge=self.hinge,
            soft_labels=self.soft_labels,
        )
        self.image_masks = ImageMasks(
            rules=self.rules,
            epochs=self.image_epochs,
            batch=self.batch,
            learning_rate=self.learning_rate,
            identity_weight=self.identity_weight,
        )
        self.match_norm, self.match = match_norm, NormMatch(match_norm)
        self.budget = self.match.budget(None)
        self.max_change_255 = 255.0 if self.budget is None else None

    def stages(self) -> tuple[Stage, ...]:
        return (self.image_masks,)

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        return batch.images + self.match.scaled(self.generated(batch.images, context))

    @torch.no_grad()
    def generated(self, photos: Tensor, context: ProtectContext) -> Tensor:
        """What the generator of the last stage gives for photos ``[N, 3, H, W]``: masks of that shape in [-1, 1]."""
        weights = below(GENERATOR, context.trained[self.stages()[-1].name])
        network = context.counted(with_weights(makers(self.rules)[GENERATOR], weights))
        return torch.cat([network(2 * part - 1) for part in photos.split(self.image_masks.batch)])
