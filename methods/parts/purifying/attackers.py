"""The purifier of somebody who attacks: learnt on pairs of people whom neither a method nor its own purifier knows.

Source: Yang et al., "Invisible-Face", TIFS 2025, Tables IX and X: the attacker has protected photos with their
originals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from hydra.utils import instantiate
from torch import Tensor

from cloakbench.bench.core.ranges import SettingError
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.base import Protector, Scope, Stage, without_title
from cloakbench.methods.context import NETWORKS, Need, ProtectContext
from cloakbench.methods.parts.purifying.recipe import PurifierRecipe
from cloakbench.methods.parts.purifying.training import NoisePurifier, PurifierTraining, protected_faces
from cloakbench.methods.photo_batch import PhotoBatch

_AT_ONCE = 64
"""Photos of one pass."""


@dataclass(frozen=True)
class NoiseAttacker(NoisePurifier):
    """Pairs of noise: the attacker does not know which method there is."""

    name: ClassVar[str] = "attacker_purifier"
    part = "attackers"


@dataclass(frozen=True)
class MethodAttacker(PurifierTraining):
    """Pairs of a method, which the attacker has: it is trained before, on people of its own.

    Attributes:
        method: its config.
    """

    name: ClassVar[str] = "attacker_purifier"
    part = "attackers"

    method: Mapping[str, Any]

    def built(self) -> Protector:
        """The method."""
        return instantiate(without_title(self.method))

    def networks(self) -> frozenset[Need]:
        return self.built().needs & frozenset(NETWORKS)

    def pairs(self, faces: FaceSet, context: ProtectContext) -> Tensor | None:
        return protected_faces(self.built(), faces, context)

    def disturbed(self, photos: Tensor, changed: Tensor | None, draws: torch.Generator) -> Tensor:
        assert changed is not None
        return changed


class PurifierTrainer(Protector):
    """Trains an attacker's purifier and applies it: photos in, cleaned photos out.

    Args:
        recipe: config of a `PurifierRecipe`, as in ``conf/purifier``.
        method: config of the method whose pairs it learns from, as in ``conf/method``; None for noise.

    Raises:
        SettingError: the method needs more than single photos with their landmarks, networks and auxiliary faces.
    """

    name: ClassVar[str] = "purifier"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = (
        "Yang et al., Invisible-Face: Rethinking Facial Attribute Privacy in Social Media Photo Sharing, TIFS 2025"
    )

    max_change_255 = 255.0

    def __init__(self, recipe: Mapping[str, Any], method: Mapping[str, Any] | None = None) -> None:
        self.recipe: PurifierRecipe = instantiate(recipe)
        self.before: tuple[Stage, ...] = ()
        if method is None:
            self.training: PurifierTraining = NoiseAttacker(self.recipe)
            return
        training = MethodAttacker(self.recipe, method)
        made = training.built()
        if more := sorted(made.needs - {*NETWORKS, Need.AUXILIARY, Need.LANDMARKS}):
            raise SettingError("method", made.name, f"a method that protects single photos, and not one with {more[0]}")
        self.training, self.before = training, tuple(made.stages())

    def stages(self) -> tuple[Stage, ...]:
        return (*self.before, self.training)

    @torch.no_grad()
    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        purifier = context.counted(self.training.purifier(context.trained[self.training.name]))
        return torch.cat([purifier(photos) for photos in batch.images.split(_AT_ONCE)])
