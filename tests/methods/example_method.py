"""A complete method: one step away from the mean embedding of the owner's other photos. The README shows this file."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cloakbench.methods import Budget, Need, PhotoBatch, ProtectContext, Protector
from cloakbench.methods.parts.objectives import find_anchors, input_gradient


class AwayFromMyself(Protector):
    """One signed step of the whole budget."""

    name = "away_from_myself"
    scope = "image"
    paper = "none: an example"
    needs = frozenset({Need.SURROGATES, Need.REFERENCES})

    def __init__(self, epsilon_255: float = 8) -> None:
        self.epsilon_255 = epsilon_255
        self.budget = Budget("linf", epsilon_255)

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        anchors = find_anchors("reference", batch, context)
        gradient = input_gradient(batch.images, context.surrogates, anchors.loss)
        return batch.images - self.epsilon_255 / 255 * gradient.sign()
