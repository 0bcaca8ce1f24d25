"""The two rows every table needs: no protection at all, and noise of the same size that knows nothing."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import grey_levels
from cloakbench.methods.base import Budget, Protector, Scope
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.photo_batch import PhotoBatch


class Identity(Protector):
    """The photo itself: what recognisers do when nobody protects anything. Control, no paper."""

    name: ClassVar[str] = "identity"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = "control"

    budget = Budget("linf", 0)

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        return batch.images


class RandomSign(Protector):
    """Every channel of every pixel one budget up or down by the toss of a coin. Control, no paper.

    It has the Linf norm of the methods exactly and the largest L2 norm any of them can have.

    Args:
        epsilon_255: size of every change in grey levels.
    """

    name: ClassVar[str] = "random_sign"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = "control"

    def __init__(self, epsilon_255: float = 8) -> None:
        self.epsilon_255 = grey_levels("epsilon_255", epsilon_255)
        self.budget = Budget("linf", epsilon_255)

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        streams = ItemStreams(batch.image_id, context.seed, self.name, device=context.device)
        up = streams.uniform(*batch.images.shape[1:]) < 0.5
        return batch.images + torch.where(up, 1.0, -1.0) * (self.epsilon_255 / 255)
