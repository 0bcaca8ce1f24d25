"""AdvFaces+: the masks that AdvFaces gives a person's photos, averaged to one."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from cloakbench.methods.advfaces import AdvFaces
from cloakbench.methods.base import Scope
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch


class AdvFacesPlus(AdvFaces):
    """One mask per person: the mean of the generator's masks of R reference photos, scaled to an L2 norm of 1200.

    A name from the comparisons of OPOM (TPAMI 2022) and AdvCloak (2023), which define it no further and publish no
    code. This reading is AdvCloak without its second stage: the training of `AdvFaces` at 112 px against the surrogate,
    AdvCloak's average and its norm. A person costs R passes of the generator.

    Args:
        width, discriminator_width, image_epochs, batch, learning_rate, identity_weight, hinge, soft_labels, match_norm:
            as in `AdvFaces`; the file of this method matches L2 1200.
    """

    name: ClassVar[str] = "advfaces_plus"
    scope: ClassVar[Scope] = "identity"
    official_settings: ClassVar[str] = "none published; AdvFaces, averaged over 10 photos, L2 1200"
    deviations: ClassVar[str] = "our reading: AdvCloak without its second stage"
    needs = AdvFaces.needs | {Need.REFERENCES}

    def fit(self, batch: PhotoBatch, context: ProtectContext) -> Tensor:
        """The masks, float ``[P, 3, H, W]``."""
        references = batch.require_references()
        masks = self.generated(references.flatten(0, 1), context).unflatten(0, references.shape[:2])
        return self.match.scaled(masks.mean(dim=1))

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        return batch.images + fitted[batch.owner]
