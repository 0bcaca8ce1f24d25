"""The two trainings of AdvFaces and AdvCloak on auxiliary faces: masks of photos, then masks of people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.methods.base import Stage
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.gan.adversarial import GameBatch, GameRules, MaskGame
from cloakbench.methods.parts.gan.game import whole_batches
from cloakbench.methods.parts.hulls import affine_weights, center_weights, combine, convex_weights
from cloakbench.methods.parts.taught_faces import clean_features, enough, pixels

Subspace = Literal["own", "center", "affine", "convex"]
"""What a person's mask moves each photo away from: its own clean feature, or the nearest point of the mean, the affine
hull or the convex hull of the clean features of the person's photos."""

_STREAM = "advfaces"
_GAP = 1e-7
"""Duality gap of the convex hull; float32 features are no more exact."""


@dataclass(frozen=True)
class ImageMasks(Stage):
    """Stage 1: a generator learns a mask for each auxiliary photo; for AdvFaces, AdvFaces+ and all forms of AdvCloak.

    Settings are those of `cloakbench.methods.advfaces.AdvFaces`.
    """

    name: ClassVar[str] = "image_masks"

    rules: GameRules
    epochs: int
    batch: int
    learning_rate: float
    identity_weight: float

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """Weights of generator and discriminator.

        Raises:
            ValueError: there are fewer than two faces, or training diverged.
        """
        faces = enough(context.require_auxiliary(), "masks").images
        clean = clean_features(faces, self.batch, context)
        game = MaskGame.drawn(self.rules, self.learning_rate, context)

        def batch_of(rows: Tensor) -> GameBatch:
            def alike(protected: Tensor) -> Tensor:
                cosines = [
                    (model.embed(protected) * own[rows]).sum(dim=1).mean()
                    for model, own in zip(context.surrogates, clean, strict=True)
                ]
                return self.identity_weight * torch.stack(cosines).mean()

            return GameBatch(pixels(faces, rows, context), None, alike)

        size = min(self.batch, len(faces))
        total = self.epochs * (len(faces) // size)
        batches = whole_batches(len(faces), size, self.epochs, context.seed, "advfaces")
        game.play(batches, batch_of, total, context, "method.learning_rate")
        return game.weights()


@dataclass(frozen=True)
class PersonMasks(Stage):
    """Stage 2: the generator learns on means over each auxiliary person's photos, which lie on all of them.

    Settings are those of `cloakbench.methods.advcloak.AdvCloak`; ``warmup_epochs`` is 0 but for the convex hull.
    """

    name: ClassVar[str] = "person_masks"

    rules: GameRules
    subspace: Subspace
    warmup_epochs: int
    epochs: int
    people: int
    photos: int
    learning_rate: float
    identity_weight: float

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """Weights of generator and discriminator.

        Raises:
            ValueError: nobody has two photos, or training diverged.
        """
        auxiliary = context.require_auxiliary()
        people = [rows[: self.photos] for rows in auxiliary.rows_by_identity().values() if len(rows) > 1]
        if not people:
            raise ValueError("training masks of people needs auxiliary people with at least two photos each")
        clean = clean_features(auxiliary.images, self.people * self.photos, context)
        game = MaskGame.of(self.rules, self.learning_rate, context.trained[ImageMasks.name])
        groups = [people[start : start + self.people] for start in range(0, len(people), self.people)]

        def batch_of(turn: tuple[int, list[list[int]]]) -> GameBatch:
            epoch, group = turn
            subspace = "center" if epoch < self.warmup_epochs else self.subspace
            rows = torch.tensor([row for person in group for row in person])
            shares = tuple(map(len, group))

            def alike(protected: Tensor) -> Tensor:
                cosines = [
                    subspace_cosine(model.embed(protected), own[rows], shares, subspace)
                    for model, own in zip(context.surrogates, clean, strict=True)
                ]
                return self.identity_weight * torch.stack(cosines).mean()

            return GameBatch(pixels(auxiliary.images, rows, context), shares, alike)

        turns = ((epoch, group) for epoch in range(self.epochs) for group in groups)  # in the order given, as released
        game.play(turns, batch_of, self.epochs * len(groups), context, "method.person_learning_rate")
        return game.weights()


def subspace_cosine(protected: Tensor, clean: Tensor, shares: tuple[int, ...], subspace: Subspace) -> Tensor:
    """The mean cosine of protected features and what they are to leave, found for them as they are now.

    Args:
        protected: unit features ``[N, D]`` of several people's photos, one person after the other.
        clean: unit features ``[N, D]`` of the same photos without the mask.
        shares: photos of each person.
        subspace: see `Subspace`.
    """
    points = [
        _nearest(own.unsqueeze(0), seen.unsqueeze(0), subspace).squeeze(0)
        for own, seen in zip(clean.split(shares), protected.detach().split(shares), strict=True)
    ]
    return F.cosine_similarity(torch.cat(points), protected, dim=1).mean()


def _nearest(clean: Tensor, protected: Tensor, subspace: Subspace) -> Tensor:
    if subspace == "own":
        return clean
    if subspace == "convex":
        return combine(convex_weights(clean, protected, gap=_GAP), clean)
    return combine((center_weights if subspace == "center" else affine_weights)(clean, protected), clean)
