"""`Game`: a generator and a discriminator that learn in turn, step by step, and go on where they were interrupted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.training_state import read_state, state_of

Rows = TypeVar("Rows")
Batch = TypeVar("Batch")

GENERATOR, DISCRIMINATOR = "generator.", "discriminator."


class Game(ABC, Generic[Batch]):
    """Both networks with an Adam each; a subclass says what a step is.

    Args:
        learning_rate: of both.
        generator, discriminator: the networks, on the device of the run.
    """

    betas: ClassVar[tuple[float, float]]
    """Of both."""
    stream: ClassVar[str]
    """Names what is drawn during steps."""

    def __init__(self, learning_rate: float, generator: nn.Module, discriminator: nn.Module) -> None:
        self.generator = generator.train()
        self.discriminator = discriminator.train()
        self.optimisers = [
            torch.optim.Adam(network.parameters(), lr=learning_rate, betas=self.betas)
            for network in (self.generator, self.discriminator)
        ]

    @abstractmethod
    def step(self, batch: Batch, draws: torch.Generator) -> Tensor:
        """One step of each network; returns the losses of both, ``[2]``."""

    def weights(self) -> dict[str, Tensor]:
        """Both networks by name, see `below`."""
        return {f"{side}{name}": value for side, net, _ in self._sides() for name, value in net.state_dict().items()}

    def play(
        self,
        steps: Iterable[Rows],
        batch_of: Callable[[Rows], Batch],
        total: int,
        context: ProtectContext,
        rate_setting: str,
    ) -> None:
        """Play from where the context resumes to the end, and keep every step.

        Args:
            steps: what the batch of each step is made of, always the same.
            batch_of: makes it.
            total: how many steps there are.
            context: resumes, keeps and is told.
            rate_setting: what a user calls the learning rate.

        Raises:
            ValueError: a loss is no longer finite.
        """
        reached = context.resume()
        done = 0 if reached is None else self._restore(reached)
        for step, rows in enumerate(steps):
            if step < done:
                continue
            losses = self.step(batch_of(rows), generator(context.seed, self.stream, "labels", step))
            if not bool(losses.isfinite().all()):
                whose = "generator" if bool(losses[1].isfinite()) else "discriminator"
                raise ValueError(
                    f"training of masks diverged at step {step + 1} of {total}: lower {rate_setting} (the loss of the "
                    f"{whose} is not finite)"
                )
            context.keep(self._state(step + 1))
            context.progress(step + 1, total)

    def descend(self, side: int, loss: Tensor) -> None:
        """A step of the generator (0) or the discriminator (1) against its loss."""
        self.optimisers[side].zero_grad()
        loss.backward()
        self.optimisers[side].step()

    def _state(self, steps: int) -> dict[str, Tensor]:
        return {
            f"{side}{name}": value
            for side, network, optimiser in self._sides()
            for name, value in state_of(steps, network, optimiser).items()
        }

    def _restore(self, tensors: Mapping[str, Tensor]) -> int:
        return min(read_state(below(side, tensors), network, optimiser) for side, network, optimiser in self._sides())

    def _sides(self) -> tuple[tuple[str, nn.Module, torch.optim.Adam], ...]:
        return (
            (GENERATOR, self.generator, self.optimisers[0]),
            (DISCRIMINATOR, self.discriminator, self.optimisers[1]),
        )


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def whole_batches(faces: int, size: int, epochs: int, *stream: object) -> Iterator[Tensor]:
    """Rows of every step: whole batches of a fresh permutation in every epoch."""
    for epoch in range(epochs):
        order = torch.randperm(faces, generator=generator(*stream, "epoch", epoch))
        yield from (rows for rows in order.split(size) if len(rows) == size)
