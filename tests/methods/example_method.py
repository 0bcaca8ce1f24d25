"""A complete method: one step away from the mean embedding of the owner's other photos. The README shows this file."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cloakbench.methods.base import Budget, People, Protector, Workbench
from cloakbench.methods.parts.objectives import find_anchors, input_gradient


class AwayFromMyself(Protector):
    """One signed step of the whole budget."""

    name = "away_from_myself"
    scope = "image"
    paper = "none: an example"
    needs = frozenset({"surrogates", "references"})

    def __init__(self, epsilon_255: float = 8) -> None:
        self.budget = Budget("linf", epsilon_255)

    def perturb(self, people: People, fitted: Any, bench: Workbench) -> Tensor:
        anchors = find_anchors("reference", people, bench)
        gradient = input_gradient(people.images, bench.surrogates, anchors.loss)
        assert self.budget is not None
        return people.images - self.budget.size_255 / 255 * gradient.sign()
