"""Invisible-Face: a small change of a part of the face, after which no attribute is answered as before."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import grey_levels, positive, whole
from cloakbench.methods.base import Budget, Goal, Protector, Scope, Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.gan.game import GENERATOR, below
from cloakbench.methods.parts.gan.networks import with_weights
from cloakbench.methods.parts.invisible.directional import DirectionRules, find_directions
from cloakbench.methods.parts.invisible.game import MaskRules
from cloakbench.methods.parts.invisible.losses import LossWeights
from cloakbench.methods.parts.invisible.region import RegionRules, inside
from cloakbench.methods.parts.invisible.training import LocalMasks, PreparedFaces, own_boxes
from cloakbench.methods.parts.perceptual_distance import PerceptualDistance
from cloakbench.methods.parts.purifying.recipe import PurifierRecipe
from cloakbench.methods.parts.purifying.training import NoisePurifier
from cloakbench.methods.photo_batch import PhotoBatch

_AT_ONCE = 64
"""Photos of one pass of the generator."""


class InvisibleFace(Protector):
    """A generator's mask and a direction by gradients, within a box of the face that the attribute networks look at.

    ``x' = clip(x + A * clip(eps G(A * x) + beta d, eps))``. A is the box (`parts.invisible.region`), d the direction
    (`parts.invisible.directional`), G learns on auxiliary people (`parts.invisible.game`, `losses`) to change answers,
    also those about photos that a purifier has been at.

    Paper: Yang et al., "Invisible-Face: Rethinking Facial Attribute Privacy in Social Media Photo Sharing", TIFS 2025.
    Official settings: epsilon 8, annealing from 10 to 0.1 by 0.95, 10 neighbours, beta 0.03, losses weighted 0.4, 0.1,
    0.15, 0.15 and 0.2, 120 epochs, batch 64, learning rate 1e-3. Architecture, size of photos, optimiser, theta, the
    purifier and its training are not given, and no code is published.
    Deviations: what the paper leaves open or prints otherwise is read as the docstrings of the parts say. Labels are
    the surrogates' answers, at training and after. The contextual loss compares features of the surrogate, of at most
    14 positions a side, since VGG-19 is not here; so does the perceptual one without ``perceptual``. beta is on the
    scale of [-1, 1]: on that of [0, 1] it would leave the generator 0.35 grey levels. Generator, purifier and attackers
    learn from people of their own.

    Args:
        epsilon_255: Linf budget in grey levels.
        region: how boxes are searched; None for the whole photo.
        direction: how directions are found; None for none.
        weights: of the losses.
        purifier: of the resilient loss; None for none.
        perceptual: LPIPS; None for features of the surrogate, which the warnings of every result say.
        width, discriminator_width: channels of the first convolution of each network.
        epochs: walks through the faces that the generator learns from.
        batch: photos of a step.
        learning_rate: of both networks.

    Raises:
        SettingError: a parameter is out of range.

    Facts: ``region_seconds``, ``direction_seconds`` and ``generator_seconds`` of the photos of the call;
    ``region_passes``, of a photo through attribute networks, its clean answer included; ``inside_share`` of the photo.
    """

    name: ClassVar[str] = "invisible_face"
    scope: ClassVar[Scope] = "image"
    goal: Goal = "hide attributes"
    paper: ClassVar[str] = (
        "Yang et al., Invisible-Face: Rethinking Facial Attribute Privacy in Social Media Photo Sharing, TIFS 2025"
    )
    official_settings: ClassVar[str] = "epsilon 8, beta 0.03, 10 neighbours, 120 epochs of batch 64, Adam 1e-3"
    deviations: ClassVar[str] = (
        "readings of C.7; own answers as labels; features of the surrogate where AlexNet and VGG are absent"
    )

    def __init__(
        self,
        epsilon_255: float = 8,
        *,
        region: RegionRules | None = None,
        direction: DirectionRules | None = None,
        weights: LossWeights | None = None,
        purifier: PurifierRecipe | None = None,
        perceptual: PerceptualDistance | None = None,
        width: int = 64,
        discriminator_width: int = 64,
        epochs: int = 120,
        batch: int = 64,
        learning_rate: float = 1e-3,
    ) -> None:
        self.epsilon_255 = grey_levels("epsilon_255", epsilon_255)
        self.region, self.direction = region, direction
        self.weights = weights or LossWeights()
        self.perceptual = perceptual
        self.rules = MaskRules(
            epsilon_255=self.epsilon_255,
            width=whole("width", width),
            discriminator_width=whole("discriminator_width", discriminator_width),
        )
        uses_purifier = purifier is not None and self.weights.resilient > 0
        self.purifier = purifier
        self.noise_purifier = NoisePurifier(purifier) if purifier is not None and uses_purifier else None
        self.prepared = PreparedFaces(region=region, direction=direction)
        self.local_masks = LocalMasks(
            rules=self.rules,
            weights=self.weights,
            size=direction.size if direction else 0.0,
            purifier=self.noise_purifier,
            perceptual=perceptual,
            epochs=whole("epochs", epochs),
            batch=whole("batch", batch, 2),
            learning_rate=positive("learning_rate", learning_rate),
        )
        self.needs = frozenset(
            {Need.ATTRIBUTE_SURROGATES, Need.AUXILIARY} | ({Need.LANDMARKS} if region is not None else set())
        )
        self.budget = Budget("linf", self.epsilon_255)

    def stages(self) -> tuple[Stage, ...]:
        first: tuple[Stage, ...] = (self.prepared,)
        if self.noise_purifier is None:
            return (*first, self.local_masks)
        return (*first, self.noise_purifier, self.local_masks)

    def notes(self) -> tuple[str, ...]:
        if not self.weights.semantic:
            return ()
        stands_in = "the contextual loss compares" if self.perceptual else "LPIPS and the contextual loss compare"
        return (f"{stands_in} features of the surrogate, for want of VGG's and AlexNet's",)

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        photos, size = batch.images, self.local_masks.size
        clock = _Clock(context.device)
        points = batch.require_landmarks() if self.region is not None else None
        before = context.spent.forward_images
        answers, boxes = own_boxes(photos, batch.image_id, points, context, self.region)
        passes = (context.spent.forward_images - before) / len(photos)
        area = inside(boxes, *photos.shape[-2:])
        region_seconds = clock.lap()
        directions = None
        if self.direction is not None and self.direction.at_inference:
            directions = find_directions(photos, batch.image_id, answers, context.seed, self.direction)
        direction_seconds = clock.lap()
        weights = below(GENERATOR, context.trained[self.local_masks.name])
        network = context.counted(with_weights(self.rules.generator, weights))
        with torch.no_grad():
            masks = [
                self.rules.mask(
                    network, photos[rows], area[rows], None if directions is None else directions[rows], size
                )
                for rows in torch.arange(len(photos)).split(_AT_ONCE)
            ]
        context.facts.update(
            region_seconds=region_seconds,
            direction_seconds=direction_seconds,
            generator_seconds=clock.lap(),
            region_passes=passes,
            inside_share=float(area.mean()),
        )
        context.shown["region"] = area
        return photos + torch.cat(masks)


@dataclass
class _Clock:
    """Seconds between laps, those of a GPU included."""

    device: torch.device

    def __post_init__(self) -> None:
        self._begun = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap, or since it was made."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        begun, self._begun = self._begun, time.perf_counter()
        return self._begun - begun
