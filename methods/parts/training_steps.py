"""`learn`: the steps of one network, or of anything with parameters, resumed where the context left them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.training_state import read_state, state_of


def learn(
    network: nn.Module,
    loss_of: Callable[[Tensor, torch.Generator], Tensor],
    photos: int,
    steps: int,
    batch: int,
    learning_rate: float,
    stream: str,
    context: ProtectContext,
    *,
    falls: bool = True,
    lower: str = "method.learning_rate",
) -> None:
    """Adam; each step on photos of its own draw.

    Args:
        network: what learns, in training mode and on the device of the run.
        loss_of: the loss of the photos at rows ``[B]``, given a generator for whatever else the step draws.
        photos: how many there are.
        steps, batch, learning_rate: of the training; a batch is no larger than there are photos.
        stream: names the draws, and the training in messages.
        context: resumes, keeps and is told.
        falls: whether the rate falls to zero by half a cosine; it stays as it is otherwise.
        lower: what a user calls the learning rate.

    Raises:
        ValueError: the loss is no longer finite.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    reached = context.resume()
    done = 0 if reached is None else read_state(reached, network, optimiser)
    for step in range(done, steps):
        draws = generator(context.seed, stream, "step", step)
        rows = torch.randperm(photos, generator=draws)[:batch]
        if falls:
            optimiser.param_groups[0]["lr"] = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
        loss = loss_of(rows, draws)
        if not bool(loss.isfinite()):
            raise ValueError(f"{stream}: training diverged at step {step + 1} of {steps}: lower {lower}")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        context.keep(state_of(step + 1, network, optimiser))
        context.progress(step + 1, steps)
