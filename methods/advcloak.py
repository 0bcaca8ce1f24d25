"""AdvCloak: AdvFaces' generator, taught in a second stage to give masks that suit all photos of a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, get_args

from cloakbench.bench.core.ranges import at_least, one_of, positive, whole
from cloakbench.methods.advfaces_plus import AdvFacesPlus
from cloakbench.methods.base import Stage
from cloakbench.methods.parts.gan.stages import PersonMasks, Subspace


class AdvCloak(AdvFacesPlus):
    """One mask per person: the mean of the generator's masks of R reference photos, scaled to an L2 norm of 1200.

    Stage 1 is the training of `AdvFaces`. In stage 2 the mean of the masks of up to 16 photos of a person lies on all
    of them; the losses are those of stage 1 with weight 15 on the identity term, the hinge on the mean mask. The
    identity term is the mean cosine of each protected feature with the photo's clean one or, by ``subspace``, with the
    nearest point of the features' centre, affine hull or convex hull (`cloakbench.methods.parts.hulls`), found anew at
    every step; the convex hull begins with the centre.

    Paper: Liu et al., "AdvCloak: Customized Adversarial Cloak for Privacy Protection", arXiv 2312.14407, 2023.
    Official settings: stage 1 on 50 000 photos of CASIA-WebFace (5 a person), 100 epochs in batches of 32, Adam 1e-4;
    stage 2 on 48 000 photos, 2 people of 16 photos a batch in a fixed order, 100 epochs, Adam 2e-8, 40 of them with the
    centre before the convex hull; discriminator labels are soft in both. 10 photos of a person in use; masks at an
    L2 norm of 1200 in either direction, with no Linf bound.
    Deviations: the module of the networks is not in the release, so they are those of AdvFaces; labels are hard by
    default, so that stage 1 is AdvFaces', too (``soft_labels=true`` for all five methods gives the other); hulls are
    solved by our batched solvers. The rate of stage 2 needs the hundred thousands of steps of the paper to move
    anything: where there are fewer, a larger ``person_learning_rate`` is ours.

    Args:
        subspace: see `cloakbench.methods.parts.gan.stages.Subspace`.
        width, discriminator_width, image_epochs, batch, learning_rate, identity_weight, hinge, soft_labels, match_norm:
            as in `AdvFaces`.
        warmup_epochs: of stage 2 with the centre, before the convex hull.
        person_epochs: of stage 2.
        people_per_batch: in stage 2.
        photos_per_person: most photos of a person in stage 2, at least 2.
        person_learning_rate: of stage 2.
        person_identity_weight: of stage 2.
    """

    name: ClassVar[str] = "advcloak"
    paper: ClassVar[str] = "Liu et al., AdvCloak: Customized Adversarial Cloak for Privacy Protection, 2023"
    official_settings: ClassVar[str] = "100 epochs of 50 000 photos, then 100 of 48 000 at Adam 2e-8; L2 1200"
    deviations: ClassVar[str] = "AdvFaces' networks and labels in stage 1; epochs of the auxiliary faces"

    def __init__(
        self,
        subspace: Subspace = "own",
        *,
        width: int = 64,
        discriminator_width: int = 32,
        image_epochs: int = 100,
        batch: int = 32,
        learning_rate: float = 1e-4,
        identity_weight: float = 10.0,
        hinge: float = 3.0,
        soft_labels: bool = False,
        warmup_epochs: int = 40,
        person_epochs: int = 100,
        people_per_batch: int = 2,
        photos_per_person: int = 16,
        person_learning_rate: float = 2e-8,
        person_identity_weight: float = 15.0,
        match_norm: Mapping[str, float | None] | None = None,
    ) -> None:
        super().__init__(
            width=width,
            discriminator_width=discriminator_width,
            image_epochs=image_epochs,
            batch=batch,
            learning_rate=learning_rate,
            identity_weight=identity_weight,
            hinge=hinge,
            soft_labels=soft_labels,
            match_norm=match_norm,
        )
        self.subspace: Subspace = one_of("subspace", subspace, get_args(Subspace))
        self.warmup_epochs = whole("warmup_epochs", warmup_epochs, 0)
        self.person_epochs = whole("person_epochs", person_epochs)
        self.people_per_batch = whole("people_per_batch", people_per_batch)
        self.photos_per_person = whole("photos_per_person", photos_per_person, 2)
        self.person_learning_rate = positive("person_learning_rate", person_learning_rate)
        self.person_identity_weight = at_least("person_identity_weight", person_identity_weight)
        self.person_masks = PersonMasks(
            rules=self.rules,
            subspace=self.subspace,
            warmup_epochs=self.warmup_epochs if subspace == "convex" else 0,
            epochs=self.person_epochs,
            people=self.people_per_batch,
            photos=self.photos_per_person,
            learning_rate=self.person_learning_rate,
            identity_weight=self.person_identity_weight,
        )

    def notes(self) -> tuple[str, ...]:
        if self.person_masks.warmup_epochs >= self.person_masks.epochs:
            return ("the warm-up lasts all of stage 2, so the convex hull is never used: this is the class centre",)
        return ()

    def stages(self) -> tuple[Stage, ...]:
        return (self.image_masks, self.person_masks)
