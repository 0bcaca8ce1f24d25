"""`meta_gradients`: gradients that help one loss, and another one from where a step down the first would lead.

Sources: Li et al., "Learning to Generalize: Meta-Learning for Domain Generalization", AAAI 2018; Yin et al.,
"Adv-Makeup", IJCAI 2021, section 3.3, for losses of several recognisers. First order: the slope at the place that was
looked ahead to is taken as it is, without that of the step there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn


def meta_gradients(
    parameters: Iterable[nn.Parameter],
    train: Sequence[Callable[[], Tensor]],
    test: Callable[[], Tensor],
    rate: float,
) -> tuple[tuple[Tensor, ...], Tensor]:
    """``sum_i (g_i(w) + g_test(w - rate g_i(w)))`` over the losses to train on, and the sum of all these losses.

    Args:
        parameters: w; they are what they were afterwards.
        train: losses at w as it stands when they are called; at least one.
        test: the loss that is to fall from where each of them leads.
        rate: length of the step ahead, in units of the gradient.
    """
    weights = list(parameters)
    total = [torch.zeros_like(weight) for weight in weights]
    losses = []

    def slopes_of(loss: Tensor) -> tuple[Tensor, ...]:
        slopes = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        losses.append(loss.detach())
        for whole, slope in zip(total, slopes, strict=True):
            whole.add_(slope)
        return slopes

    @torch.no_grad()
    def put(values: Iterable[Tensor]) -> None:
        for weight, value in zip(weights, values, strict=True):
            weight.copy_(value)

    for loss_of in train:
        slopes = slopes_of(loss_of())
        here = [weight.detach().clone() for weight in weights]
        put(weight - rate * slope for weight, slope in zip(here, slopes, strict=True))
        slopes_of(test())
        put(here)
    return tuple(total), torch.stack(losses).sum()
