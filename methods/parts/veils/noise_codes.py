"""Noise-like codes: covers of keyed noise that a classifier takes for a person, and a coder of photos into them.

Source: RIC (Liu et al., "Recoverable Privacy-Preserving Image Classification through Noise-like Adversarial Examples",
2023): a code is ``0.2 * encoder(photo, cover) + 0.8 * cover``, so rounding to 8 bits reaches the decoder five times as
large. Networks here are a few channels wide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator, layers_draw_from
from cloakbench.methods.base import Stage
from cloakbench.methods.context import CountedNetwork, Need, ProtectContext
from cloakbench.methods.parts.item_rng import ItemStreams
from cloakbench.methods.parts.training_state import read_state, state_of

SHARE = 0.2
"""Of the encoder's picture in a code; the rest is cover."""
_STREAM = "ric"
_KERNELS = (3, 4, 5)
_INSIDE = 1e-3
"""Noise is held this far from 0 and 1, where the inverse of tanh is finite."""


@dataclass(frozen=True)
class ClosedSet:
    """The classifier that codes are made for: a recogniser with the mean feature of each known person as a class.

    Attributes:
        known: unit vectors ``[C, D]`` of the auxiliary people, whom everybody is told from.
        scale: of cosines, to make logits of them.
        model: the recogniser.
    """

    known: Tensor
    scale: float
    model: CountedNetwork

    @classmethod
    def of(cls, scale: float, context: ProtectContext, batch: int) -> ClosedSet:
        """Auxiliary people, as the first surrogate knows them."""
        faces, model = context.require_auxiliary(), context.surrogates[0]
        with torch.no_grad():
            parts = [model.embed(part.to(context.device).float() / 255) for part in faces.images.split(batch)]
        features = torch.cat(parts)
        means = torch.stack([features[rows].mean(dim=0) for rows in faces.rows_by_identity().values()])
        return cls(F.normalize(means, dim=1), scale, model)

    def lead(self, photos: Tensor, own: Tensor, beside: Tensor | None = None) -> Tensor:
        """The logit of each photo's own class less the largest of all others, ``[N]``.

        Args:
            photos: ``[N, 3, H, W]``.
            own: unit vectors ``[N, D]`` of their classes.
            beside: bool ``[N, C]``, which of the known people count as others; None for all.
        """
        features = self.model.embed(photos)
        others = features @ self.known.mT
        if beside is not None:
            others = others.masked_fill(~beside, -1.0)
        return self.scale * ((features * own).sum(dim=1) - others.amax(dim=1))


@dataclass(frozen=True)
class CoverSearch:
    """How noise is pushed until the classifier takes it for somebody; the loop of Carlini and Wagner in tanh space.

    No term holds it to the noise it began as: of all steps that lead at all, the one farthest from there is kept, as in
    the release.
    """

    steps: int
    step: float
    margin: float
    weight: float

    def covers(
        self, names: Sequence[str], shape: Sequence[int], lead: Callable[[Tensor], Tensor], context: ProtectContext
    ) -> Tensor:
        """Covers ``[N, 3, H, W]`` in [0, 1]: equal for equal names, seed and class.

        Args:
            names: of the keys.
            shape: ``(3, H, W)``.
            lead: of covers, see `ClosedSet.lead`.
            context: with seed and device.
        """
        noise = ItemStreams(names, context.seed, _STREAM, device=context.device).uniform(*shape)
        begun = noise.clamp(_INSIDE, 1 - _INSIDE)
        free = (2 * begun - 1).atanh().requires_grad_()
        optimiser = torch.optim.Adam([free], lr=self.step)
        kept, farthest = begun.clone(), torch.full((len(begun),), -1.0, device=context.device)
        for _ in range(self.steps):
            cover = (free.tanh() + 1) / 2
            ahead = lead(cover)
            loss = self.weight * (self.margin - ahead).clamp(min=0).sum()
            (free.grad,) = torch.autograd.grad(loss, free)
            optimiser.step()
            far = (cover.detach() - begun).square().sum(dim=(1, 2, 3))
            better = (ahead.detach() > 0) & (far > farthest)
            farthest = torch.where(better, far, farthest)
            kept = torch.where(better.view(-1, 1, 1, 1), cover.detach(), kept)
        last = (free.detach().tanh() + 1) / 2
        return torch.where((farthest < 0).view(-1, 1, 1, 1), last, kept)


class Coder(nn.ModuleDict):
    """Encoder and decoder: three stacks of convolutions of 3, 4 and 5 pixels each, weighed by squeeze and excitation.

    Args:
        width: channels of a stack.
    """

    def __init__(self, width: int) -> None:
        super().__init__({"encoder": _Stacks(width, beside=3), "decoder": _Stacks(width, beside=0)})

    def code(self, photos: Tensor, covers: Tensor) -> Tensor:
        """Codes ``[N, 3, H, W]`` in [0, 1], not rounded."""
        return torch.lerp(covers, self["encoder"](photos, covers), SHARE)

    def photos(self, codes: Tensor, covers: Tensor) -> Tensor:
        """Photos ``[N, 3, H, W]`` in [0, 1]."""
        return self["decoder"](written_in(codes, covers))


def written_in(codes: Tensor, covers: Tensor) -> Tensor:
    """What the encoder wrote into each code."""
    return (codes - (1 - SHARE) * covers) / SHARE


class _Stacks(nn.Module):
    """Pictures ``[N, 3, H, W]`` to pictures in [0, 1], with ``beside`` channels seen by the last convolution alone."""

    def __init__(self, width: int, beside: int) -> None:
        super().__init__()
        self.stacks = nn.ModuleList(
            nn.Sequential(*_same_size(3, width, size), *_same_size(width, width, size)) for size in _KERNELS
        )
        channels = len(_KERNELS) * width
        self.weigh = nn.Sequential(nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, channels), nn.Sigmoid())
        self.last = nn.Conv2d(channels + 3 + beside, 3, 3, padding=1)

    def forward(self, pictures: Tensor, *beside: Tensor) -> Tensor:
        centred = pictures - 0.5
        seen = torch.cat([stack(centred) for stack in self.stacks], dim=1)
        seen = seen * self.weigh(seen.mean(dim=(2, 3)))[..., None, None]
        return torch.sigmoid(self.last(torch.cat([seen, 4 * centred, *(one - 0.5 for one in beside)], dim=1)))


def _same_size(inputs: int, outputs: int, kernel: int) -> tuple[nn.Module, ...]:
    """A convolution of odd or even size, and what follows it."""
    before, after = (kernel - 1) // 2, kernel // 2
    return nn.ZeroPad2d((before, after, before, after)), nn.Conv2d(inputs, outputs, kernel), nn.LeakyReLU(0.2)


@dataclass(frozen=True)
class TrainingCovers(Stage):
    """Covers that the coder is taught with: one for each of the first auxiliary people."""

    name: ClassVar[str] = "covers"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.SURROGATES, Need.AUXILIARY})

    search: CoverSearch
    people: int
    scale: float
    batch: int

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """``covers`` ``[K, 3, H, W]``."""
        closed, faces = ClosedSet.of(self.scale, context, self.batch), context.require_auxiliary()
        names = faces.identities()[: self.people]
        others = ~torch.eye(len(closed.known), dtype=torch.bool, device=context.device)[: len(names)]
        lead = partial(closed.lead, own=closed.known[: len(names)], beside=others)
        return {"covers": self.search.covers(names, faces.images.shape[1:], lead, context)}


@dataclass(frozen=True)
class CoderTraining(Stage):
    """Encoder and decoder, by ``recovery_weight * MSE - mean(lead, at most enough)``, the noise of rounding between."""

    name: ClassVar[str] = "coder"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.SURROGATES, Need.AUXILIARY})

    width: int
    scale: float
    steps: int
    batch: int
    learning_rate: float
    recovery_weight: float
    enough: float

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """Weights of a `Coder`."""
        closed, covers = ClosedSet.of(self.scale, context, self.batch), context.trained[TrainingCovers.name]["covers"]
        faces = context.require_auxiliary()
        people = list(faces.rows_by_identity().values())[: len(covers)]
        pairs = torch.tensor([(row, person) for person, rows in enumerate(people) for row in rows])
        apart = ~torch.eye(len(closed.known), dtype=torch.bool, device=context.device)
        with layers_draw_from(context.seed, _STREAM, "first weights"):
            coder = Coder(self.width)
        coder.to(context.device)
        optimiser = torch.optim.Adam(coder.parameters(), lr=self.learning_rate)
        reached = context.resume()
        for step in range(0 if reached is None else read_state(reached, coder, optimiser), self.steps):
            draws = generator(context.seed, _STREAM, "step", step)
            rows, person = pairs[torch.randint(len(pairs), (self.batch,), generator=draws)].unbind(1)
            photos, person = faces.images[rows].to(context.device).float() / 255, person.to(context.device)
            codes = coder.code(photos, covers[person])
            rounding = (torch.rand(codes.shape, generator=draws).to(codes) - 0.5) / 255
            recovered = coder.photos(codes + rounding, covers[person])
            lead = closed.lead(codes, closed.known[person], apart[person])
            loss = self.recovery_weight * F.mse_loss(recovered, photos) - lead.clamp(max=self.enough).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            context.keep(state_of(step + 1, coder, optimiser))
            context.progress(step + 1, self.steps)
        return coder.state_dict()


def coder_with(weights: Mapping[str, Tensor]) -> Coder:
    """The coder that has these weights, frozen; of its decoder alone where there are no others."""
    with torch.device("meta"):
        coder = Coder(weights["decoder.weigh.0.bias"].shape[0])
    coder.load_state_dict(dict(weights), strict=False, assign=True)
    return coder.requires_grad_(False).eval()
