"""The adversarial game of AdvFaces and AdvCloak: one step of a mask generator, then one of its discriminator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.gan.game import DISCRIMINATOR, GENERATOR, BatchGame, below
from cloakbench.methods.parts.gan.networks import MaskGenerator, PatchDiscriminator, drawn, with_weights

_SOFT, _FLIPPED = 0.1, 0.05
"""Soft labels are up to this far from hard ones, and this share of a batch, its last, has them the wrong way round."""
_STREAM = "advfaces"


@dataclass(frozen=True)
class GameRules:
    """What a training of both networks depends on beside its photos.

    Attributes:
        width: channels of the generator's first convolution.
        discriminator_width: of the discriminator's.
        hinge: L2 norm of a mask, on the scale of [0, 1], up to which it costs nothing.
        soft_labels: AdvCloak's labels for the discriminator: 0.9 to 1 and 0 to 0.1, the last 5 % of a batch swapped.
    """

    width: int
    discriminator_width: int
    hinge: float
    soft_labels: bool


@dataclass(frozen=True)
class GameBatch:
    """The photos of one step.

    Attributes:
        photos: float ``[N, 3, H, W]`` in [0, 1].
        shares: how many photos in a row share the mean of their masks; None where each has its own.
        identity: scalar to be minimised, of the protected photos.
    """

    photos: Tensor
    shares: tuple[int, ...] | None
    identity: Callable[[Tensor], Tensor]


class MaskGame(BatchGame[GameBatch]):
    """A generator of masks in [-1, 1], in units of the range of [0, 1], and a discriminator of protected photos.

    ``x' = clip(x + mask)``; both networks see photos in [-1, 1]. The generator minimises the cross entropy of x' taken
    for real, the identity term, and ``mean max(hinge, |mask|_2)``; then the discriminator minimises the cross entropies
    of x and of x', which is a constant to it. Adam, betas 0.5 and 0.9.

    Args:
        rules: see `GameRules`.
        learning_rate: of both.
        generator, discriminator: the networks, on the device of the run.
    """

    betas = (0.5, 0.9)
    stream = _STREAM

    def __init__(self, rules: GameRules, learning_rate: float, generator: nn.Module, discriminator: nn.Module) -> None:
        super().__init__(learning_rate, generator, discriminator)
        self.rules = rules

    @classmethod
    def drawn(cls, rules: GameRules, learning_rate: float, context: ProtectContext) -> MaskGame:
        """New networks with weights drawn for the seed."""
        made = [drawn(make, context.seed, _STREAM, name).to(context.device) for name, make in makers(rules).items()]
        return cls(rules, learning_rate, *made)

    @classmethod
    def of(cls, rules: GameRules, learning_rate: float, weights: Mapping[str, Tensor]) -> MaskGame:
        """Networks as an earlier game left them; what it gave is not changed."""
        own = {name: tensor.clone() for name, tensor in weights.items()}
        made = [with_weights(make, below(name, own)).requires_grad_(True) for name, make in makers(rules).items()]
        return cls(rules, learning_rate, *made)

    def step(self, batch: GameBatch, draws: torch.Generator) -> Tensor:
        """One step of each network; returns the losses of both, ``[2]``."""
        photos = batch.photos
        masks = self.generator(2 * photos - 1)
        if batch.shares is not None:
            masks = torch.stack([part.mean(dim=0) for part in masks.split(batch.shares)])
        protected = (photos + _spread(masks, batch.shares)).clamp(0, 1)
        self.discriminator.requires_grad_(False)  # the generator's loss is none of its business
        looks = self.discriminator(2 * protected - 1)
        norms = torch.linalg.vector_norm(masks.flatten(1), dim=1)
        fooled = F.binary_cross_entropy_with_logits(looks, torch.ones_like(looks))
        first = fooled + batch.identity(protected) + norms.clamp(min=self.rules.hinge).mean()
        self.descend(0, first)

        self.discriminator.requires_grad_(True)
        answers = [self.discriminator(2 * seen - 1) for seen in (photos, protected.detach())]
        targets = [self._labels(answer, real, draws) for answer, real in zip(answers, (True, False), strict=True)]
        second = torch.stack(list(map(F.binary_cross_entropy_with_logits, answers, targets))).sum()
        self.descend(1, second)
        return torch.stack([first.detach(), second.detach()])

    def _labels(self, answers: Tensor, real: bool, draws: torch.Generator) -> Tensor:
        """Targets of the discriminator, of the shape of its answers."""
        wrong = torch.zeros(answers.shape)
        if self.rules.soft_labels:
            wrong.uniform_(0, _SOFT, generator=draws)
            if flipped := int(_FLIPPED * len(answers)):
                wrong[-flipped:] = 1 - wrong[-flipped:]
        return (1 - wrong if real else wrong).to(answers.device)


def makers(rules: GameRules) -> dict[str, Callable[[], nn.Module]]:
    """What makes the two networks of a game, by the beginning of their tensors' names."""
    return {
        GENERATOR: partial(MaskGenerator, rules.width),
        DISCRIMINATOR: partial(PatchDiscriminator, rules.discriminator_width),
    }


def _spread(masks: Tensor, shares: tuple[int, ...] | None) -> Tensor:
    """One mask for each photo."""
    if shares is None:
        return masks
    return torch.cat([mask.expand(count, -1, -1, -1) for mask, count in zip(masks.split(1), shares, strict=True)])
