"""RIC: a noise-like code for each photo, which a classifier takes for its owner and a decoder turns back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.ranges import at_least, positive, whole
from cloakbench.methods.base import Goal, Protector, Scope, Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.veils.keys import picture_key
from cloakbench.methods.parts.veils.noise_codes import (
    ClosedSet,
    CoderTraining,
    CoverSearch,
    TrainingCovers,
    coder_with,
)
from cloakbench.methods.photo_batch import PhotoBatch

_COVER, _DECODER = "cover", "decoder."


class RIC(Protector):
    """Recoverable image classification: ``0.2 * encoder(photo, cover) + 0.8 * cover``, in a closed set of people.

    Each photo has a cover of its own, keyed noise that a search has pushed until the classifier takes it for the
    photo's owner; encoder and decoder are trained once (`cloakbench.methods.parts.veils.noise_codes`). The closed set
    are the owner, known by the mean feature of the references, and the auxiliary people; what recognisers outside of it
    make of a code is not what the method is for. A photo costs 300 passes, and one of the encoder.

    Paper: Liu et al., "Recoverable Privacy-Preserving Image Classification through Noise-like Adversarial Examples",
    2023.
    Official settings: 8 631 classes of VGGFace2 at 160 px; covers by 300 steps of Adam 0.01, margin 10, weight 10;
    coder by Adam 1e-4, batches of 64, up to 30 epochs of 5 000; weight 10 on recovery, hinge at 5.
    Deviations: classes are mean features of a recogniser, their cosines scaled to logits; the coder is small, learns on
    covers of few people, one for each, in a few hundred steps; the cover's search never ends early.

    Args:
        cover_steps, cover_step, margin, cover_weight: of the search for covers.
        logit_scale: of cosines.
        width: channels of the coder's stacks.
        training_people: auxiliary people whose photos the coder learns on.
        training_steps, batch, learning_rate: of its training.
        recovery_weight: of the squared error of recovered photos.
        enough: lead of the own class beyond which more counts nothing.
    """

    name: ClassVar[str] = "ric"
    scope: ClassVar[Scope] = "image"
    goal: Goal = "hide from humans"
    paper: ClassVar[str] = (
        "Liu et al., Recoverable Privacy-Preserving Image Classification through Noise-like Adversarial Examples, 2023"
    )
    official_settings: ClassVar[str] = "300 steps of Adam 0.01, margin 10; coder on 9.6 M photos, Adam 1e-4"
    deviations: ClassVar[str] = "classes are mean features; a small coder, few covers and steps in its training"
    needs = frozenset({Need.SURROGATES, Need.AUXILIARY, Need.REFERENCES})
    recoverable = True

    def __init__(
        self,
        *,
        cover_steps: int = 300,
        cover_step: float = 0.01,
        margin: float = 10.0,
        cover_weight: float = 10.0,
        logit_scale: float = 30.0,
        width: int = 8,
        training_people: int = 16,
        training_steps: int = 400,
        batch: int = 8,
        learning_rate: float = 2e-3,
        recovery_weight: float = 10.0,
        enough: float = 5.0,
    ) -> None:
        self.cover_steps, self.cover_step = whole("cover_steps", cover_steps), positive("cover_step", cover_step)
        self.margin, self.cover_weight = at_least("margin", margin), positive("cover_weight", cover_weight)
        self.logit_scale, self.width = positive("logit_scale", logit_scale), whole("width", width)
        self.training_people = whole("training_people", training_people)
        self.training_steps, self.batch = whole("training_steps", training_steps), whole("batch", batch)
        self.learning_rate = positive("learning_rate", learning_rate)
        self.recovery_weight, self.enough = at_least("recovery_weight", recovery_weight), at_least("enough", enough)
        self.search = CoverSearch(self.cover_steps, self.cover_step, self.margin, self.cover_weight)
        self.covers = TrainingCovers(self.search, self.training_people, self.logit_scale, self.batch)
        self.training = CoderTraining(
            width=self.width,
            scale=self.logit_scale,
            steps=self.training_steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            recovery_weight=self.recovery_weight,
            enough=self.enough,
        )

    def stages(self) -> tuple[Stage, ...]:
        return (self.covers, self.training)

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        closed = ClosedSet.of(self.logit_scale, context, self.batch)
        references = batch.require_references()
        with torch.no_grad():
            features = closed.model.embed(references.flatten(0, 1)).unflatten(0, references.shape[:2])
        own = F.normalize(features.mean(dim=1), dim=1)[batch.owner]
        covers = self.search.covers(
            batch.image_id, batch.images.shape[1:], lambda photos: closed.lead(photos, own), context
        )
        weights = context.trained[self.training.name]
        context.private[_COVER] = covers
        decoder = {name: weight for name, weight in weights.items() if name.startswith(_DECODER)}
        context.private.update(
            {name: weight.expand(len(covers), *weight.shape).contiguous() for name, weight in decoder.items()}
        )
        codes = coder_with(weights).code(batch.images, covers)
        with torch.no_grad():
            right = closed.lead((255 * codes).round() / 255, own) > 0
        context.facts["photos_right"] = float(right.float().mean())
        return codes

    def recover(self, photos: Tensor, keys: Mapping[str, Tensor], people: Tensor) -> Tensor:
        """As in `cloakbench.methods.base.Protector.recover`; keys are covers and decoders, one for each photo."""
        covers = picture_key(self.name, _COVER, keys, photos)
        recovered = torch.empty_like(photos)
        for row in people.unique().tolist():
            coder = coder_with({name: key[row] for name, key in keys.items() if name != _COVER})
            recovered[people == row] = coder.photos(photos[people == row], covers[row])
        return recovered
