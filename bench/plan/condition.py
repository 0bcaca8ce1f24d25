"""`Condition`: under what a judge sees published photos, as typed values that nobody has to parse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cloakbench.bench.core.axes import BudgetSize


@dataclass(frozen=True)
class CellPart:
    """Some cells of a publication.

    Attributes:
        methods: keys of methods and controls; empty for all.
        epsilons_255: budgets of those that have one; empty for all.
    """

    methods: frozenset[str] = frozenset()
    epsilons_255: frozenset[float] = frozenset()

    def holds(self, method: str, budget: BudgetSize) -> bool:
        """Whether the cells of a method at a budget are among them."""
        at_budget = not (budget and self.epsilons_255) or budget.number in self.epsilons_255
        return at_budget and (not self.methods or method in self.methods)


EVERY_CELL = CellPart()


@dataclass(frozen=True)
class Condition:
    """One condition.

    Attributes:
        label: in the ``condition`` column of the measurements; unique within a protocol.
        title: as a table prints it.
        family: what kind of condition it is; those of one family share an axis.
        strength: its place on that axis, or None for a kind without one.
        axis: what the strength means.
        order: whether a larger strength is stronger, a smaller one, or both sides of photos as they were published.
        settings: everything else that decides an answer, as plain values.
        draw: which of several repetitions an answer belongs to; a rate is taken over all of them.
        part: the cells that meet it, for conditions of whole cells; the others have no number under it.
    """

    label: str
    title: str = ""
    family: str = ""
    strength: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    draw: int | None = None
    axis: str = ""
    order: Literal["up", "down", "two_sided"] = "up"
    part: CellPart = EVERY_CELL

    @property
    def is_plain(self) -> bool:
        """Whether the photos are as they were published."""
        return not self.family


ADVERSARY = "adversary"
"""Family of conditions in which somebody who prepares for the method acts first."""
AS_PUBLISHED = Condition("none", "As published")
"""Photos as they were published: the only condition of protocols that know no other."""
