"""Checks that frozen networks of any kind have in common: nothing about them changes by being used."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from cloakbench.bench.core.checks import require


def check_unchanged(model: nn.Module, use: Callable[[], object], doing: str) -> str:
    """Refuse a network whose parameters take gradients, or whose state ``use`` changes, which is ``doing``.

    Raises:
        AssertionError: so it is.
    """
    loose = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    require(not loose, f"{len(loose)} parameters require gradients, {loose[:1]}")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    use()
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    require(not changed, f"{doing} changes {changed[:1]}")
    return f"{len(before)} parameters and buffers take no gradient and do not change"


def check_mode(model: nn.Module, answer: Callable[[], Tensor]) -> str:
    """Refuse a network that ``train()`` puts into training mode, or whose answer is another one after it.

    Raises:
        AssertionError: so it is.
    """
    before = answer()
    model.train()
    training = [name or type(part).__name__ for name, part in model.named_modules() if part.training]
    after = answer()
    model.eval()
    require(not training, f"train() puts {training[0]} into training mode" if training else "")
    require(torch.equal(before, after), "the answer is another one after train()")
    return "same bytes before and after train()"
