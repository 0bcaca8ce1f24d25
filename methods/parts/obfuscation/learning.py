"""`learn`: the steps of one network, or of anything with parameters, resumed where the context left them."""

from __future__ import annotations

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
    after: Callable[[], None] | None = None,
) -> None:
    """Adam with a rate that falls to zero by half a cosine; each step on photos of its own draw.

    Args:
        network: what learns, in training mode and on the device of the run.
        loss_of: the loss of the photos at rows ``[B]``, given a generator for whatever else the step draws.
        photos: how many there are.
        steps, batch, learning_rate: of the training; a batch is no larger than there are photos.
        stream: names the draws, and the training in messages.
        context: resumes, keeps and is told.
        after: called after every step, such as to bring parameters back to where they are allowed.

    Raises:
        ValueError: the loss is no longer finite.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    reached = context.resume()
    done = 0 if reached is None else read_state(reached, network, optimiser)
    for step in range(done, steps):
        draws = generator(context.seed, stream, "step", step)
        rows = torch.randperm(photos, generator=draws)[:batch]
        share = torch.tensor(step / steps, dtype=torch.float64)
        optimiser.param_groups[0]["lr"] = learning_rate * float((1 + (torch.pi * share).cos()) / 2)
        loss = loss_of(rows, draws)
        if not bool(loss.isfinite()):
            raise ValueError(f"{stream}: training diverged at step {step + 1} of {steps}: lower method.learning_rate")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if after is not None:
            after()
        context.keep(state_of(step + 1, network, optimiser))
        context.progress(step + 1, steps)


def pixels(faces: Tensor, rows: Tensor, context: ProtectContext) -> Tensor:
    """The uint8 faces at rows, as floats in [0, 1] on the device of the run."""
    return faces[rows].to(context.device).float() / 255
