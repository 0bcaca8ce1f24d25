"""Networks that bring a face back from its mosaic: those that a method learns against, and one that judges it.

Both are trainings of `cloakbench.methods.parts.purifying`, on pairs of a mosaic and its photo, of people who share
nobody.
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
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.mosaic import Mosaic
from cloakbench.methods.parts.purifying.attackers import PurifierTrainer
from cloakbench.methods.parts.purifying.recipe import PurifierRecipe
from cloakbench.methods.parts.purifying.training import PurifierTraining, protected_faces


@dataclass(frozen=True)
class RestorerTraining(PurifierTraining):
    """A restorer that a method has: it learns from the method's third of the auxiliary people.

    Attributes:
        key: the restorer among others.
        tiles: of the mosaic, along a side.
    """

    part = "method"

    key: str
    tiles: int

    @property
    def name(self) -> str:  # type: ignore[override]  (of a class elsewhere, of its settings here)
        """Restorers of one method have a name each."""
        return f"restorer_{self.key}"

    def networks(self) -> frozenset[Need]:
        return frozenset()

    def pairs(self, faces: FaceSet, context: ProtectContext) -> Tensor | None:
        return protected_faces(Mosaic(self.tiles), faces, context)

    def disturbed(self, photos: Tensor, changed: Tensor | None, draws: torch.Generator) -> Tensor:
        assert changed is not None
        return changed


class HeldOutRestorer(PurifierTrainer):
    """Trains a restorer of mosaics on the attackers' third of the auxiliary people, and applies it to photos.

    Args:
        recipe: config of a `PurifierRecipe`, as in ``conf/purifier``.
        tiles: of the mosaics that it learns from, along a side.
        apart_from: recipes of the restorers that methods learnt against, by name.

    Raises:
        SettingError: its network is among those.
    """

    name: ClassVar[str] = "restorer"

    def __init__(
        self,
        recipe: Mapping[str, Any],
        tiles: int,
        apart_from: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        target = f"{Mosaic.__module__}.{Mosaic.__qualname__}"
        super().__init__(recipe, {"_target_": target, "tiles": Mosaic(tiles).tiles})
        for key, other in (apart_from or {}).items():
            known: PurifierRecipe = instantiate(other)
            if known.design.network == self.recipe.design.network:
                raise SettingError(
                    "recipe",
                    self.recipe.title,
                    f"another network than {known.design.network}, which a method has as its restorer {key}: who "
                    "judges restored photos is no surrogate",
                )


def restorer_trainings(restorers: Mapping[str, PurifierRecipe | None], tiles: int) -> tuple[RestorerTraining, ...]:
    """A training for each restorer, by name.

    Raises:
        SettingError: there is none.
    """
    given = {key: recipe for key, recipe in restorers.items() if recipe is not None}
    if not given:
        raise SettingError("restorers", None, "at least one recipe: purifier@method.restorers.NAME=unet")
    return tuple(RestorerTraining(recipe, key, tiles) for key, recipe in given.items())
