"""The meta-step against sums done by hand, and weights that are left as they were."""

from __future__ import annotations

import torch
from torch import nn

from cloakbench.methods.parts.meta_step import meta_gradients


def test_gradients_are_those_here_and_those_where_each_step_leads() -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    idle = nn.Parameter(torch.ones(3))  # in no loss
    train = [lambda: weight.square().sum(), lambda: 3 * weight.sum()]
    (slope, none), loss = meta_gradients([weight, idle], train, lambda: weight.pow(3).sum(), 0.1)
    # w = (1, -2). First loss: slope 2w = (2, -4), leads to (0.8, -1.6), where 3w^2 = (1.92, 7.68).
    # Second: slope (3, 3), leads to (0.7, -2.3), where 3w^2 = (1.47, 15.87).
    torch.testing.assert_close(slope, torch.tensor([2 + 1.92 + 3 + 1.47, -4 + 7.68 + 3 + 15.87]))
    assert not none.any()
    assert torch.equal(weight.detach(), torch.tensor([1.0, -2.0])), "to the bit"
    values = 5 + (0.8**3 - 1.6**3) - 3 + (0.7**3 - 2.3**3)
    torch.testing.assert_close(loss, torch.tensor(values))


def test_without_a_length_both_slopes_are_taken_here() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    (slope,), _ = meta_gradients([weight], [lambda: weight.square().sum()], lambda: 5 * weight.sum(), 0.0)
    assert slope.item() == 4 + 5
