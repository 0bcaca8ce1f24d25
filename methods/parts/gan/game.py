"""A generator and a discriminator in training: their optimisers, their steps, and what is kept of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.training_state import read_state, state_of

Rows = TypeVar("Rows")
Batch = TypeVar("Batch")

GENERATOR, DISCRIMINATOR = "generator.", "discriminator."
"""How the names of their tensors begin."""


class Game:
    """Two networks that learn against each other, each with an Adam of its own.

    Args:
        generator, discriminator: the networks, on the device of the run.
        learning_rate, betas: of both.
    """

    taught: ClassVar[str] = "masks"
    """What the generator makes, as a message calls it."""

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, learning_rate: float, betas: tuple[float, float]
    ) -> None:
        self.generator = generator.train()
        self.discriminator = discriminator.train()
        self.optimisers = [
            torch.optim.Adam(network.parameters(), lr=learning_rate, betas=betas)
            for network in (self.generator, self.discriminator)
        ]

    def weights(self) -> dict[str, Tensor]:
        """Tensors of both networks, whose names begin with `GENERATOR` or `DISCRIMINATOR`."""
        return {f"{side}{name}": value for side, net, _ in self._sides() for name, value in net.state_dict().items()}

    def go_on(
        self,
        steps: Iterable[Rows],
        step: Callable[[Rows, int], Tensor],
        total: int,
        context: ProtectContext,
        rate_setting: str,
    ) -> None:
        """Play from where the context resumes to the end, and keep every step.

        Args:
            steps: what each step is made of, always the same.
            step: plays one, given what it is made of and its number from 0, and returns its losses.
            total: how many steps there are.
            context: resumes, keeps and is told.
            rate_setting: what a user calls the learning rate.

        Raises:
            ValueError: a loss is no longer finite.
        """
        reached = context.resume()
        done = 0 if reached is None else self._restore(reached)
        for number, rows in enumerate(steps):
            if number < done:
                continue
            losses = step(rows, number)
            if not bool(losses.isfinite().all()):
                raise ValueError(
                    f"training of {self.taught} diverged at step {number + 1} of {total}: lower {rate_setting}"
                    + self.blame(losses)
                )
            context.keep(self._state(number + 1))
            context.progress(number + 1, total)

    def blame(self, losses: Tensor) -> str:
        """Whose loss is not finite, as the end of a message; empty where it is not told."""
        return ""

    def descend(self, side: int, loss: Tensor) -> None:
        """One step of the generator (0) or the discriminator (1) down a loss."""
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


class BatchGame(Game, ABC, Generic[Batch]):
    """A game in which every step teaches both networks on one batch.

    Args:
        learning_rate: of both.
        generator, discriminator: the networks, on the device of the run.
    """

    betas: ClassVar[tuple[float, float]]
    """Of both."""
    stream: ClassVar[str]
    """Names what is drawn during steps."""

    def __init__(self, learning_rate: float, generator: nn.Module, discriminator: nn.Module) -> None:
        super().__init__(generator, discriminator, learning_rate, self.betas)

    @abstractmethod
    def step(self, batch: Batch, draws: torch.Generator) -> Tensor:
        """One step of each network; returns the losses of generator and discriminator, ``[2]``."""

    def play(
        self,
        steps: Iterable[Rows],
        batch_of: Callable[[Rows], Batch],
        total: int,
        context: ProtectContext,
        rate_setting: str,
    ) -> None:
        """Play to the end as `go_on`; ``batch_of`` makes what a step learns from of what it is made of."""

        def step(rows: Rows, number: int) -> Tensor:
            return self.step(batch_of(rows), generator(context.seed, self.stream, "labels", number))

        self.go_on(steps, step, total, context, rate_setting)

    def blame(self, losses: Tensor) -> str:
        whose = "generator" if bool(losses[1].isfinite()) else "discriminator"
        return f" (the loss of the {whose} is not finite)"


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def batches_of_steps(steps: int, count: int, size: int, *name: object) -> Iterator[Tensor]:
    """Those of `whole_batches` that so many steps take."""
    return islice(whole_batches(count, size, -(-steps // (count // size)), *name), steps)


def whole_batches(count: int, size: int, epochs: int, *name: object) -> Iterator[Tensor]:
    """Places ``[size]`` of every step: whole batches of a fresh permutation of ``count`` in every epoch.

    Args:
        count, size, epochs: of photos, of a batch, of passes over all.
        name: of the stream that permutes.
    """
    for epoch in range(epochs):
        order = torch.randperm(count, generator=generator(*name, "epoch", epoch))
        yield from (places for places in order.split(size) if len(places) == size)
