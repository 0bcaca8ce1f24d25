"""The loop that FGSM, PGD, MI-FGSM, TI-DIM and VMI-FGSM share; each of them overrides one or two hooks.

They attack embeddings of aligned faces, where their papers attack class scores: the loss is the squared distance to an
anchor (`cloakbench.methods.parts.objectives`). With an objective of attributes they attack class scores, as the papers
do. Every step is ``x <- clip(x - step * sign(direction))`` onto the Linf ball and the valid pixels together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, get_args

from torch import Tensor

from cloakbench.bench.core.ranges import grey_levels, grey_step, one_of, whole
from cloakbench.methods.base import Budget, Protector, Scope
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.attributes.own_answers import OwnAnswers
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.linf import LinfBall
from cloakbench.methods.parts.objectives import NEEDS, Anchors, Objective, find_anchors, unit_mean
from cloakbench.methods.parts.transfer.ensemble import Gradients, Transfer
from cloakbench.methods.photo_batch import PhotoBatch


@dataclass
class Attack:
    """The state of one call: the fixed part and what the hooks remember between steps."""

    context: ProtectContext
    anchors: Anchors | OwnAnswers
    streams: ItemStreams
    gradients: Gradients
    steps_left: int
    memory: dict[str, Tensor] = field(default_factory=dict)
    per_attribute_l1: bool = False

    def slope(self, photos: Tensor) -> Tensor:
        """Gradient of the objective's loss at photos ``[N, 3, H, W]``, taken as `transfer` says."""
        own = self.anchors
        if isinstance(own, OwnAnswers):
            return self.gradients.combined(
                lambda place, view: own.gradient(place, photos, view, per_attribute_l1=self.per_attribute_l1)
            )
        return self.gradients(photos, own.loss)


class GradientAttack(Protector):
    """Iterated sign method.

    Args:
        epsilon_255: Linf budget in grey levels.
        steps: gradient steps T.
        step_255: grey levels per step; None for ``max(1, 1.5 epsilon / T)``.
        objective: what to move away from or towards; see `cloakbench.methods.parts.objectives.Objective`.
        random_start: begin at uniform noise within the budget, clipped to valid pixels, instead of at the photo.
        transfer: how gradients are taken; None for the mean over surrogates, of the photos themselves.

    Raises:
        ValueError: a parameter is out of range, or ``own`` without a random start: at the photo itself the distance
            to its own embedding has no gradient, so every step would stay there.
    """

    scope: ClassVar[Scope] = "image"

    def __init__(
        self,
        epsilon_255: float,
        steps: int,
        step_255: float | None,
        objective: Objective,
        random_start: bool,
        transfer: Transfer | None = None,
    ) -> None:
        one_of("objective", objective, get_args(Objective))
        grey_levels("epsilon_255", epsilon_255)
        whole("steps", steps)
        if step_255 is not None:
            grey_step("step_255", step_255)
        if objective == "own" and not random_start and steps > 1:
            raise ValueError(
                f"{self.name}: objective=own has no gradient at the photo itself; set random_start=true or "
                "objective=reference"
            )
        self.steps = steps
        self.step_255 = max(1.0, 1.5 * epsilon_255 / steps) if step_255 is None else step_255
        self.objective: Objective = objective
        self.random_start = random_start
        self.transfer = transfer or Transfer()
        self.needs = NEEDS[objective]
        self.targeted = objective == "aim"
        if Need.ATTRIBUTE_SURROGATES in self.needs:
            self.goal = "hide attributes"
        self.budget = Budget("linf", epsilon_255)
        self.epsilon_255 = epsilon_255

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        images, epsilon = batch.images, self.epsilon_255 / 255
        streams = ItemStreams(batch.image_id, context.seed, self.name, device=context.device)
        ball = self.ball(images)
        photos = images.clone()
        if self.random_start:
            noise = streams.uniform(*images.shape[1:], low=-epsilon, high=epsilon)
            ball.project_(photos.add_(noise))
        anchors = self._anchors(batch, context)
        networks = anchors.surrogates if isinstance(anchors, OwnAnswers) else context.surrogates
        gradients = self.transfer.begin(streams, networks, images)
        by_attribute = self.objective == "attributes_l1"
        attack = Attack(context, anchors, streams, gradients, self.steps, per_attribute_l1=by_attribute)
        for step_number in range(self.steps):
            attack.steps_left = self.steps - 1 - step_number
            step = self.step_at(step_number) / 255
            ball.project_(photos.sub_(self.direction(photos, attack).sign(), alpha=step))
        return photos

    def ball(self, images: Tensor) -> LinfBall:
        """Hook: where photos may go; by default everywhere within the budget."""
        return LinfBall.around(images, self.epsilon_255 / 255)

    def step_at(self, number: int) -> float:
        """Hook: grey levels of a step, from 0 on; by default always the same."""
        return self.step_255

    def _anchors(self, batch: PhotoBatch, context: ProtectContext) -> Anchors | OwnAnswers:
        if self.objective in ("attributes", "attributes_l1"):
            return OwnAnswers.of(batch.images, context)
        return find_anchors(self.objective, batch, context)

    def gradient(self, photos: Tensor, attack: Attack) -> Tensor:
        """Hook: gradient of the loss at ``photos``, ``[N, 3, H, W]``; by default as `transfer` says."""
        return attack.slope(photos)

    def direction(self, photos: Tensor, attack: Attack) -> Tensor:
        """Hook: where the loss grows, ``[N, 3, H, W]``; only its sign is used. By default the gradient."""
        return self.gradient(photos, attack)


def add_momentum(gradient: Tensor, attack: Attack, decay: float) -> Tensor:
    """``g <- decay * g + gradient / mean|gradient|``, per photo, and a zero gradient adds nothing."""
    if not decay:
        return gradient  # whose sign is the same
    normalised = unit_mean(gradient)
    if "momentum" in attack.memory:
        normalised = normalised.add_(attack.memory["momentum"], alpha=decay)
    attack.memory["momentum"] = normalised
    return normalised
