"""PrivacyNet: a trained generator gives a face other labels, and a face matcher still knows whose face it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cloakbench.bench.core.ranges import at_least, one_of, positive, whole
from cloakbench.datasets.attribute_task import AttributeTask
from cloakbench.methods.base import Goal, Protector, Scope, Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.attributes.matcher import FaceMatcher
from cloakbench.methods.parts.gan.game import DISCRIMINATOR, GENERATOR, below
from cloakbench.methods.parts.gan.networks import with_weights
from cloakbench.methods.parts.gan.translation import LabelTranslation, TranslationRules, classes_of
from cloakbench.methods.photo_batch import PhotoBatch


class PrivacyNet(Protector):
    """A photo, translated to the labels that are wrong about every attribute; no network that judges it is ever asked.

    Generator and discriminator learn on labelled auxiliary faces. The discriminator tells real photos from translated
    ones (Wasserstein, with a penalty on its slope) and reads labels. The generator is told labels, drawn anew for every
    photo, and minimises ``-D(G(x, c')) + w_a CE(D, c') + w_c |G(G(x, c'), c) - x|_1 + w_m |f(G(x, c')) - f(x)|^2``, f a
    frozen recogniser. A photo to be protected is read by the discriminator, and for each attribute the class that comes
    second is asked for. Its own labels are not used.

    Paper: Mirjalili, Raschka and Ross, "PrivacyNet: Semi-Adversarial Networks for Multi-Attribute Face Privacy", IEEE
    TIP 2020.
    Official settings: no code was found; that of the group's earlier network (one attribute) has weight 8 on the
    distance of descriptors and Adam 2e-4.
    Deviations: networks are those of `cloakbench.methods.parts.gan.label_networks`; weights 1, 10, 10 and 8, Adam 1e-4
    and five steps of the discriminator for one of the generator are ours.

    Args:
        task: the attributes and the label columns that training reads.
        matcher: the recogniser that is to know the face again.
        first: how many attributes of the task are hidden, from the first on; None for all.
        width, blocks: of the generator.
        discriminator_width: channels of the discriminator's first convolution.
        shrink: 2 averages two by two pixels before either network sees them, at a quarter of the cost; what the
            generator changes is enlarged and added to the photo.
        epochs: passes over the auxiliary faces.
        batch: photos of a step.
        learning_rate: of both networks.
        critic_steps: of the discriminator for each of the generator.
        attribute_weight, cycle_weight, penalty_weight, matcher_weight: of the terms; see `TranslationRules`.

    Raises:
        ValueError: a parameter is out of range.
        AttributeTaskError: the task has not so many attributes.
    """

    name: ClassVar[str] = "privacynet"
    scope: ClassVar[Scope] = "image"
    goal: Goal = "hide attributes"
    paper: ClassVar[str] = (
        "Mirjalili, Raschka and Ross, PrivacyNet: Semi-Adversarial Networks for Multi-Attribute Face Privacy, TIP 2020"
    )
    official_settings: ClassVar[str] = "no code found"
    deviations: ClassVar[str] = "networks, weights and schedule are ours; asked for is the second likeliest label"
    needs = frozenset({Need.AUXILIARY})
    targeted = True
    max_change_255 = 255.0

    def __init__(
        self,
        task: AttributeTask,
        matcher: FaceMatcher,
        *,
        first: int | None = None,
        width: int = 64,
        blocks: int = 6,
        discriminator_width: int = 64,
        shrink: int = 1,
        epochs: int = 100,
        batch: int = 16,
        learning_rate: float = 1e-4,
        critic_steps: int = 5,
        attribute_weight: float = 1.0,
        cycle_weight: float = 10.0,
        penalty_weight: float = 10.0,
        matcher_weight: float = 8.0,
    ) -> None:
        self.task = task if first is None else task.first(first)
        self.matcher = matcher
        self.rules = TranslationRules(
            width=whole("width", width),
            blocks=whole("blocks", blocks),
            discriminator_width=whole("discriminator_width", discriminator_width),
            attribute_weight=at_least("attribute_weight", attribute_weight),
            cycle_weight=at_least("cycle_weight", cycle_weight),
            penalty_weight=at_least("penalty_weight", penalty_weight),
            matcher_weight=at_least("matcher_weight", matcher_weight),
            shrink=one_of("shrink", shrink, (1, 2)),
        )
        self.translation = LabelTranslation(
            rules=self.rules,
            epochs=whole("epochs", epochs),
            batch=whole("batch", batch, 2),
            learning_rate=positive("learning_rate", learning_rate),
            critic_steps=whole("critic_steps", critic_steps),
            task=self.task,
            matcher=matcher,
        )

    def files_read(self, image_id: Sequence[str]) -> Mapping[str, str]:
        return {"matcher": self.matcher.fingerprint()}

    def stages(self) -> tuple[Stage, ...]:
        return (self.translation,)

    @torch.no_grad()
    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        translate, read = (context.counted(network) for network in self.networks(context))
        made = []
        for photos in (2 * part - 1 for part in batch.images.split(self.translation.batch)):
            wrong = torch.stack([part.topk(2, dim=1).indices[:, 1] for part in read.logits(photos).values()], dim=1)
            made.append((translate(photos, wrong) + 1) / 2)
        return torch.cat(made)

    def networks(self, context: ProtectContext) -> tuple[nn.Module, nn.Module]:
        """Generator and discriminator as they were trained, frozen."""
        weights, makers = context.trained[self.translation.name], self.rules.makers(classes_of(self.task))
        generator, discriminator = (
            with_weights(makers[side], below(side, dict(weights))) for side in (GENERATOR, DISCRIMINATOR)
        )
        return generator, discriminator
