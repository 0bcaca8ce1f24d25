"""Trainings of APF: what its phone does to photos, and two trainings of its server on auxiliary people."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.base import Stage
from cloakbench.methods.context import CountedNetwork, ProtectContext
from cloakbench.methods.parts.apf_enhancer import DRAWS, NoiseEnhancer, diversify
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.linf import project_noise_
from cloakbench.methods.parts.objectives import input_gradient
from cloakbench.methods.parts.training_state import read_state, state_of

log = logging.getLogger(__name__)

_STREAM = "apf"
"""Name of the random streams, with the run seed in front."""


@dataclass(frozen=True)
class DeviceNoise:
    """The phone's settings; see `cloakbench.methods.apf.APF`."""

    epsilon_255: float
    steps: int
    step_255: float
    random_start: bool

    def of(
        self, images: Tensor, names: Sequence[str], known: Tensor, probe: CountedNetwork, context: ProtectContext
    ) -> Tensor:
        """Image-specific noise ``[N, 3, H, W]`` within the budget: all that leaves the phone.

        Args:
            images: the photos, float ``[N, 3, H, W]``.
            names: N names, which seed the random changes of light, size and angle.
            known: embeddings ``[N, D]`` under ``probe`` of what to move away from.
            probe: the small network on the phone.
            context: for seed and device.
        """
        epsilon, step = self.epsilon_255 / 255, self.step_255 / 255
        streams = ItemStreams(names, context.seed, _STREAM, device=context.device)
        noise = torch.zeros_like(images)
        if self.random_start:
            noise = streams.uniform(*images.shape[1:], low=-epsilon, high=epsilon)
        away = _away_from(known)
        for _ in range(self.steps):
            draws = streams.uniform(DRAWS)
            photos = (images + noise).clamp_(0, 1)
            gradient = input_gradient(photos, [probe], away, lambda x, draws=draws: diversify(x, draws))
            noise = project_noise_((photos - step * gradient.sign()).clamp_(0, 1) - images, epsilon)
        return noise


@dataclass(frozen=True)
class UniversalPerturbation(Stage):
    """One pass of signed steps, a batch each, away from what the server's recogniser knows of the people."""

    name: ClassVar[str] = "universal"

    universal_255: float
    batch: int

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """``universal`` ``[1, 3, H, W]`` on the scale of [0, 1], and ``goal`` ``[N, D]``, what it moves away from."""
        pairs = Pairs.of(context)
        server, bound = context.surrogates[-1], self.universal_255 / 255
        with torch.no_grad():
            goal = server.embed(pairs.others)
        mask = torch.zeros_like(pairs.photos[:1])
        batches = range(0, len(pairs.photos), self.batch)
        for start in batches:
            rows = slice(start, start + self.batch)
            moved = (pairs.photos[rows] + mask).clamp(0, 1)
            gradient = input_gradient(moved, [server], lambda _, e, rows=rows: (e - goal[rows]).square().sum())
            mask = project_noise_(mask + 2 * bound / len(batches) * gradient.mean(0, keepdim=True).sign(), bound)
        return {"universal": mask, "goal": goal}


@dataclass(frozen=True)
class ServerTraining(Stage):
    """The enhancer's weights, learnt on auxiliary faces: noise in, transferring noise out.

    They depend on the budget: the noise of the phone lies in it, and the network works in units of it.
    """

    name: ClassVar[str] = "server"

    phone: DeviceNoise
    width: int
    epochs: int
    batch: int
    learning_rate: float

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """The state of a `NoiseEnhancer`."""
        pairs = Pairs.of(context)
        probe, server, epsilon = context.surrogates[0], context.surrogates[-1], self.phone.epsilon_255 / 255
        before = context.trained[UniversalPerturbation.name]
        with torch.no_grad():
            known = probe.embed(pairs.others)
        noise = self.phone.of(pairs.photos, pairs.names, known, probe, context)
        enhancer = NoiseEnhancer.drawn(self.width, pairs.photos.shape[1:], epsilon, context.seed, _STREAM)
        enhancer.to(context.device).get_buffer("universal").copy_(before["universal"])
        if epsilon:
            self._fit(enhancer, pairs.photos, noise, before["goal"], server, context)
        return enhancer.state_dict()

    def _fit(
        self,
        enhancer: nn.Module,
        photos: Tensor,
        noise: Tensor,
        goal: Tensor,
        server: CountedNetwork,
        context: ProtectContext,
    ) -> None:
        optimiser = torch.optim.Adam(enhancer.parameters(), lr=self.learning_rate)
        reached = context.resume()
        done = 0 if reached is None else read_state(reached, enhancer, optimiser)
        total = self.epochs * -(-len(photos) // self.batch)
        for step, rows in enumerate(self._batches(len(photos), context)):
            if step < done:
                continue
            protected = (photos[rows] + enhancer(noise[rows])).clamp(0, 1)
            # The release minimises 10 less this distance, which has the same gradient.
            loss = -(server.embed(protected) - goal[rows]).square().sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            context.keep(state_of(step + 1, enhancer, optimiser))
            context.progress(step + 1, total)
        log.debug("apf: the server has learnt in %d steps", total)

    def _batches(self, photos: int, context: ProtectContext) -> Iterator[Tensor]:
        """Rows of every step: a fresh permutation of all photos in every epoch."""
        for epoch in range(self.epochs):
            order = torch.randperm(photos, generator=generator(context.seed, _STREAM, "epoch", epoch))
            yield from order.to(context.device).split(self.batch)


@dataclass(frozen=True)
class Pairs:
    """The photos that the server trains on.

    Attributes:
        photos: float ``[N, 3, H, W]`` in [0, 1].
        others: for each photo another one of the same person (the next, the last one's next being the first).
        names: of the photos.
    """

    photos: Tensor
    others: Tensor
    names: list[str]

    @classmethod
    def of(cls, context: ProtectContext) -> Pairs:
        """The photos of auxiliary people who have at least two.

        Raises:
            ValueError: nobody has two photos.
        """
        faces: FaceSet = context.require_auxiliary()
        pairs = [
            (row, rows[(place + 1) % len(rows)])
            for rows in faces.rows_by_identity().values()
            if len(rows) > 1
            for place, row in enumerate(rows)
        ]
        if not pairs:
            raise ValueError("apf: training needs auxiliary people with at least two photos each")
        left, right = torch.tensor(pairs).unbind(1)
        images = faces.images.float() / 255
        names = [faces.image_id[row] for row in left.tolist()]
        return cls(images[left].to(context.device), images[right].to(context.device), names)


def _away_from(known: Tensor) -> Callable[[int, Tensor], Tensor]:
    return lambda _, embeddings: -(embeddings - known).square().sum()
