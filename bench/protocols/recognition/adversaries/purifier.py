"""`OwnPurifier`: a purifier that learnt from one method's own output, on other people.

Source: Yang et al., "Invisible-Face", TIFS 2025, Tables IX and X, where attackers have protected photos with their
originals; here these are of the very method that is judged, at its very budget and settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.hashing import tensor_digest
from cloakbench.bench.core.random_streams import generator, layers_draw_from
from cloakbench.bench.core.ranges import SettingError, is_whole, whole
from cloakbench.bench.engine.learning.folds import Fold, folds_of
from cloakbench.bench.engine.learning.training import Training, train_network
from cloakbench.bench.protocols.recognition.adversaries.base import CleaningAdversary, Collected, Learn
from cloakbench.models.base import Purifier

_STRIDE = 8
"""Sides of photos are multiples of it, for the halvings of the networks."""
_AT_ONCE = 64
"""Photos of one pass."""


class Design(Protocol):
    """What makes an untrained network."""

    def make(self) -> nn.Module: ...


class CleaningRecipe(Protocol):
    """What of a ``conf/purifier`` counts here: the network and how it learns, not what disturbs photos."""

    @property
    def design(self) -> Design: ...
    @property
    def steps(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def distance(self) -> Literal["l1", "l2"]: ...


class OwnPurifier(CleaningAdversary):
    """Pairs of protected and original photos of the people of the other folds teach a network to undo the method.

    Args:
        recipe: network and training, as in ``conf/purifier``.
        folds: of the people who publish, at least 2.
        patch_px: side of the patches that it learns from, at a place drawn for each step, as denoisers do; a multiple
            of 8. It cleans whole photos.
    """

    title: ClassVar[str] = "Purifier of the method"

    def __init__(self, recipe: CleaningRecipe, folds: int = 2, patch_px: int = 56) -> None:
        self.recipe, self.folds = recipe, whole("folds", folds, 2)
        if not (is_whole(patch_px) and patch_px >= _STRIDE and patch_px % _STRIDE == 0):
            raise SettingError("patch_px", patch_px, f"a multiple of {_STRIDE}")
        self.patch_px = patch_px

    def cleaned(self, collected: Collected, learn: Learn) -> Tensor:
        found = torch.empty_like(collected.published)
        for fold in folds_of(collected.faces.identity, collected.fold):
            taught, judged = list(fold.taught), list(fold.judged)
            protected, originals = collected.published[taught], collected.faces.images[taught]
            inputs = {
                "protected": tensor_digest(protected),
                "originals": tensor_digest(originals),
                "seed": [collected.seed, fold.number],
            }
            weights = learn(inputs, self._training(protected, originals, collected, fold))
            found[judged] = self._applied(weights, collected.published[judged], collected.device)
        return found

    def _training(self, protected: Tensor, originals: Tensor, collected: Collected, fold: Fold) -> Training:
        """Mean size, or square, of the differences between cleaned and original photos falls."""
        recipe, device, name = self.recipe, collected.device, (collected.seed, "own purifier", fold.number)
        with layers_draw_from(*name, "layers"):
            network = recipe.design.make().to(device)

        def loss_of(step: int) -> Tensor:
            draws = generator(*name, "step", step)
            rows = torch.randperm(len(protected), generator=draws)[: recipe.batch]
            top, left = (_start(side, self.patch_px, draws) for side in protected.shape[-2:])
            window = (slice(top, top + self.patch_px), slice(left, left + self.patch_px))
            given, wanted = (
                photos[rows][..., window[0], window[1]].to(device).float() / 255 for photos in (protected, originals)
            )
            distance = F.l1_loss if recipe.distance == "l1" else F.mse_loss
            return distance(network(given), wanted)

        return lambda reached, keep: train_network(network, loss_of, recipe.steps, recipe.learning_rate, reached, keep)

    @torch.no_grad()
    def _applied(self, weights: Mapping[str, Tensor], photos: Tensor, device: torch.device) -> Tensor:
        network = self.recipe.design.make()
        network.load_state_dict(dict(weights))
        purifier = Purifier(network).to(device)
        parts = [purifier.purify(some.to(device).float() / 255) for some in photos.split(_AT_ONCE)]
        return torch.cat([(255 * part).round().to(torch.uint8).cpu() for part in parts])


def _start(side: int, patch_px: int, draws: torch.Generator) -> int:
    """Where a patch begins; at 0 where the side is no longer than it."""
    return int(torch.randint(max(1, side - patch_px + 1), (), generator=draws))
