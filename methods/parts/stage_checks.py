"""Checks of methods that are trained: stages that are killed and resumed, and other balls that train nothing anew."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch

from cloakbench.bench.core.checks import NotApplicableError, require
from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.base import Budget, Protector, Stage, Trained
from cloakbench.methods.context import Kept, MemoryCheckpoint, ProtectContext
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos, trained_context

_BALLS = (Budget("linf", 8), Budget("l2", 300))
"""Neither clips a photo of the tiny world."""
_L2_SHARE = 0.05
"""By which rounding to 8 bits may lengthen a mask."""


class _KilledError(Exception):
    """Stands for the end of a process."""


class KilledAt(MemoryCheckpoint):
    """Keeps every step, and lets the process end after some of them.

    Args:
        ends: number of steps kept, of all processes together, after which one ends.

    Attributes:
        steps: kept so far.
    """

    def __init__(self, ends: Collection[int] = ()) -> None:
        super().__init__()
        self.steps = 0
        self._ends = ends

    def save(self, kept: Kept) -> None:
        super().save(kept)
        self.steps += 1
        if self.steps in self._ends:
            raise _KilledError


def check_resumption(protector: Protector) -> str:
    """Every stage gives equal tensors and counts equal passes when it is killed after its first, its last and a random
    step."""
    if not protector.is_trained:
        raise NotApplicableError("no training stage")
    context, resumed = tiny_context(), []
    for stage in protector.stages():
        counted = KilledAt()
        whole = protector.run_stage(stage, replace(context, checkpoint=counted))
        again, kills = _killed(protector, stage, context, counted.steps)
        resumed += [f"{stage.name} ({kills} times)"] * bool(kills)
        for name, tensor in whole.tensors[stage.name].items():
            require(torch.equal(tensor, again.tensors[stage.name][name]), f"{stage.name}: {name} differs when resumed")
        passes = [(cost.forward_images, cost.backward_images) for cost in (whole.cost, again.cost)]
        require(passes[0] == passes[1], f"{stage.name}: forward and backward passes {passes[0]}, resumed {passes[1]}")
        context = replace(context, trained={**context.trained, **whole.tensors})
    return f"equal tensors and passes after {', '.join(resumed) or 'nothing'} was resumed"


def _killed(protector: Protector, stage: Stage, context: ProtectContext, steps: int) -> tuple[Trained, int]:
    """What a stage of so many steps trains when it is killed on the way, and how often it was."""
    draws = generator("conformance", stage.name)
    ends = {1, int(torch.randint(1, steps + 1, (), generator=draws)), steps} if steps else set()
    killed, kills = replace(context, checkpoint=KilledAt(ends)), 0
    while True:
        try:
            return protector.run_stage(stage, killed), kills
        except _KilledError:
            kills += 1


def check_other_balls(plain: Protector, matched: Collection[Protector]) -> str:
    """``match_norm`` sets the budget and the norm of the masks, and trains nothing anew.

    Args:
        plain: the method as it is.
        matched: the same with each of `other_balls`.
    """
    context, used = trained_context(plain), []
    for ball, method in zip(_BALLS, matched, strict=True):
        require(method.budget == ball, f"the budget is {method.budget}, match_norm asks for {ball}")
        require(method.stages() == plain.stages(), f"match_norm {ball.norm} trains anew")
        outcome = method.protect(tiny_photos(), context)
        norms = outcome.linf_255 if ball.norm == "linf" else outcome.l2_255
        slack = 0.5 if ball.norm == "linf" else _L2_SHARE * ball.size_255
        worst = float((norms - ball.size_255).abs().max())
        require(worst <= slack, f"{ball.norm} is off {ball.size_255:g} grey levels by {worst:.2f}")
        used.append(f"{ball.norm} {float(norms.mean()):.1f} of {ball.size_255:g}")
    return f"used {', '.join(used)} grey levels; stages are the same"


def other_balls() -> list[dict[str, float | None]]:
    """Values of ``match_norm``, one for each ball that is checked; they also replace one that names the other norm."""
    return [{"linf": None, "l2": None, ball.norm: ball.size_255} for ball in _BALLS]
