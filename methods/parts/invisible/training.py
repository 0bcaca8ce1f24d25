"""The trainings of Invisible-Face: answers, boxes and directions of the faces it learns from, then its networks.

Source: Yang et al., "Invisible-Face", TIFS 2025, section V.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.base import FaceSet
from cloakbench.datasets.thirds import faces_of
from cloakbench.methods.base import Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.attributes.own_answers import OwnAnswers
from cloakbench.methods.parts.gan.game import below, whole_batches
from cloakbench.methods.parts.invisible.directional import DirectionRules, find_directions, pack_signs, unpack_signs
from cloakbench.methods.parts.invisible.game import STREAM, LocalBatch, LocalGame, MaskRules
from cloakbench.methods.parts.invisible.losses import LossWeights
from cloakbench.methods.parts.invisible.region import RegionRules, find_regions, inside
from cloakbench.methods.parts.perceptual_distance import PerceptualDistance
from cloakbench.methods.parts.purifying.training import NoisePurifier
from cloakbench.methods.parts.taught_faces import enough

_AT_ONCE = 64
"""Faces whose boxes and directions are found together."""
_NEEDS = frozenset({Need.ATTRIBUTE_SURROGATES, Need.AUXILIARY})


def own_boxes(
    photos: Tensor,
    names: tuple[str, ...],
    points: Tensor | None,
    context: ProtectContext,
    region: RegionRules | None,
) -> tuple[OwnAnswers, Tensor]:
    """The answers about photos and their boxes; without rules a box is the whole photo.

    Args:
        photos: ``[N, 3, H, W]`` in [0, 1].
        names: one for each.
        points: of the faces, ``[N, L, 2]``, or None.
        context: networks and seed.
        region: how boxes are searched.

    Raises:
        ValueError: an answer is not finite; or as `find_regions`.
    """
    surrogates = context.attribute_surrogates
    with torch.no_grad():
        clean = [model.logits(photos) for model in surrogates]
    answers = OwnAnswers.read(surrogates, clean)
    if region is None:
        height, width = photos.shape[-2:]
        return answers, torch.tensor([0, 0, width - 1, height - 1], device=photos.device).repeat(len(photos), 1)
    return answers, find_regions(photos, names, points, clean, surrogates, context.seed, region)


@dataclass(frozen=True)
class PreparedFaces(Stage):
    """Answers, boxes and directions of the auxiliary faces that a generator learns from, found once for all variants.

    Attributes:
        region: how boxes are searched; None for whole photos.
        direction: how directions are found; None for none.
    """

    name: ClassVar[str] = "prepared_faces"
    needs = _NEEDS

    region: RegionRules | None
    direction: DirectionRules | None

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """``boxes`` int16 ``[M, 4]``, the answers of each surrogate to each attribute, int16 ``[M]``, and with
        directions ``signs`` as `pack_signs` has them.

        Raises:
            ValueError: there are too few people; or as `own_boxes`.
        """
        faces = faces_of(context.require_auxiliary(), "method", context.seed)
        found: list[dict[str, Tensor]] = []
        if (reached := context.resume()) is not None:
            found.append({name: tensor.cpu() for name, tensor in reached.items()})
        for start in range(len(found[0]["boxes"]) if found else 0, len(faces), _AT_ONCE):
            rows = range(start, min(start + _AT_ONCE, len(faces)))
            found = [_joined([*found, self._prepared(faces.select(rows), context)])]
            context.keep(found[0])
            context.progress(rows.stop, len(faces))
        return found[0]

    def _prepared(self, faces: FaceSet, context: ProtectContext) -> dict[str, Tensor]:
        photos = faces.images.to(context.device).float() / 255
        answers, boxes = own_boxes(photos, faces.image_id, faces.landmarks, context, self.region)
        found = {"boxes": boxes.cpu().to(torch.int16)}
        for place, given in enumerate(answers.classes):
            found |= {f"{_answers_of(place)}{name}": classes.cpu().to(torch.int16) for name, classes in given.items()}
        if self.direction is None:
            return found
        signs = find_directions(photos, faces.image_id, answers, context.seed, self.direction)
        return {**found, "signs": pack_signs(signs)}


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True)
class LocalMasks(Stage):
    """The generator and the discriminator learn on auxiliary faces whose boxes and directions are known.

    Attributes:
        rules: of masks.
        weights: of losses.
        size: beta on the scale of [0, 1]; 0 without directions.
        purifier: the stage that trained the purifier; None without one.
        perceptual: what LPIPS is; None for the features of the surrogate.
        epochs, batch, learning_rate: of the training.
    """

    name: ClassVar[str] = "local_masks"
    needs = _NEEDS

    rules: MaskRules
    weights: LossWeights
    size: float
    purifier: NoisePurifier | None
    perceptual: PerceptualDistance | None
    epochs: int
    batch: int
    learning_rate: float

    @property
    def settings(self) -> dict[str, Any]:
        """As of every stage; of what stands for LPIPS its digest."""
        digest = "" if self.perceptual is None else self.perceptual.fingerprint()
        return {**super().settings, "perceptual": digest}

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """Weights of generator and discriminator.

        Raises:
            ValueError: there are too few people or faces, or training diverged.
        """
        faces = enough(faces_of(context.require_auxiliary(), "method", context.seed), "masks")
        purifier = perceptual = None
        if self.purifier is not None:
            purifier = context.counted(self.purifier.purifier(context.trained[self.purifier.name]))
        if self.perceptual is not None and self.weights.semantic and self.weights.perceptual:
            perceptual = self.perceptual.load(context.device)
        game = LocalGame(self.learning_rate, context, self.rules, self.weights, self.size, purifier, perceptual)
        size = min(self.batch, len(faces))
        steps = enumerate(whole_batches(len(faces), size, self.epochs, context.seed, STREAM))
        make = partial(self._batch, faces, context.trained[PreparedFaces.name], context)
        game.play(steps, make, self.epochs * (len(faces) // size), context, "method.learning_rate")
        return game.weights()

    def _batch(
        self, faces: FaceSet, known: Mapping[str, Tensor], context: ProtectContext, turn: tuple[int, Tensor]
    ) -> LocalBatch:
        step, rows = turn
        photos = faces.images[rows].to(context.device).float() / 255
        rows = rows.to(known["boxes"].device)
        directions = None
        if "signs" in known:
            directions = unpack_signs(known["signs"][rows], photos.shape[1:]).to(context.device)
        strengths = None
        if self.purifier is not None:
            strengths = torch.rand(len(rows), generator=generator(context.seed, STREAM, "strength", step))
            strengths = strengths.to(context.device)
        area = inside(known["boxes"][rows].long(), *photos.shape[-2:])
        labels = tuple(
            {name: classes[rows].long() for name, classes in below(_answers_of(place), known).items()}
            for place in range(len(context.attribute_surrogates))
        )
        return LocalBatch(photos, area, directions, labels, strengths)


def _answers_of(surrogate: int) -> str:
    """How names of a surrogate's answers begin."""
    return f"answers{surrogate}."
