"""The training of DPG: a mark that is read back, and that recognisers do not know a face under.

Source: Zhang et al., "DIP-Watermark", arXiv 2404.14693, 2024.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator, layers_draw_from
from cloakbench.methods.base import Stage
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.gan.game import DISCRIMINATOR, GENERATOR, Game, batches_of_steps
from cloakbench.methods.parts.meta_step import meta_gradients
from cloakbench.methods.parts.taught_faces import clean_features, enough, pixels
from cloakbench.methods.parts.transfer.jpeg import through_jpeg
from cloakbench.methods.parts.watermark.networks import MarkDecoder, MarkEncoder, mark_networks

STREAM = "dpg"
ENCODER, DECODER = GENERATOR, DISCRIMINATOR
"""How the names of their tensors begin."""
_BETAS = (0.9, 0.999)
_NOISE_255, _QUALITY, _SHRUNK = 4.0, (60.0, 95.0), 0.6
"""Distortions: deviation of the noise, qualities of JPEG files, and how small a photo is made and enlarged again."""


@dataclass(frozen=True)
class MarkRules:
    """What marks depend on beside photos and bits.

    Attributes:
        epsilon_255: Linf budget in grey levels.
        bits: of a mark.
        width: channels of the first convolution of each network.
        read_weight: of the cross-entropy of bits.
        identity_weight: of the cosine to the clean photo, a mean over surrogates.
        change_weight: of the mean square of masks in [-1, 1].
        look_ahead: length of the step of the identity loss after which bits are to be read still.
    """

    epsilon_255: float
    bits: int
    width: int
    read_weight: float
    identity_weight: float
    change_weight: float
    look_ahead: float

    def marked(self, encoder: nn.Module, photos: Tensor, bits: Tensor) -> tuple[Tensor, Tensor]:
        """Photos ``[N, 3, H, W]`` in [0, 1] with bits ``[N, B]`` of 0 and 1 in them, and the masks in [-1, 1]."""
        masks = encoder(2 * photos - 1, 2 * bits - 1)
        return (photos + self.epsilon_255 / 255 * masks).clamp(0, 1), masks

    def makers(self) -> dict[str, partial[nn.Module]]:
        """What makes the two networks, by the beginning of their tensors' names."""
        return {
            ENCODER: partial(MarkEncoder, self.bits, self.width),
            DECODER: partial(MarkDecoder, self.bits),
        }


class MarkGame(Game):
    """An encoder and a decoder that learn together: a step down what `meta_gradients` says of both losses.

    To train on: ``identity_weight cos(f(x'), f(x)) + change_weight mean(mask^2)``; to be well after a step down that:
    ``read_weight BCE(decoder(distorted x'), bits)``, whose slope holds at w, too.
    """

    taught: ClassVar[str] = "a mark"

    def learn(
        self, rules: MarkRules, photos: Tensor, known: list[Tensor], draws: torch.Generator, context: ProtectContext
    ) -> Tensor:
        """One step of both networks on photos ``[N, 3, H, W]`` whose clean features are known; returns the loss."""
        bits = torch.randint(2, (len(photos), rules.bits), generator=draws).to(photos)
        distort = Distortion.drawn(photos, draws)

        def hides() -> Tensor:
            marked, masks = rules.marked(self.generator, photos, bits)
            cosines = [
                (model.embed(marked) * own).sum(dim=1).mean()
                for model, own in zip(context.surrogates, known, strict=True)
            ]
            return rules.identity_weight * torch.stack(cosines).mean() + rules.change_weight * masks.square().mean()

        def reads() -> Tensor:
            marked, _ = rules.marked(self.generator, photos, bits)
            scores = self.discriminator(2 * distort(marked) - 1)
            return rules.read_weight * F.binary_cross_entropy_with_logits(scores, bits)

        weights = [*self.generator.parameters(), *self.discriminator.parameters()]
        slopes, loss = meta_gradients(weights, [hides], reads, rules.look_ahead)
        for weight, slope in zip(weights, slopes, strict=True):
            weight.grad = slope
        for optimiser in self.optimisers:
            optimiser.step()
        return loss


@dataclass(frozen=True)
class Distortion:
    """What happens to marked photos before they are read: nothing, noise, a JPEG file, or a smaller size and back."""

    kind: int
    noise: Tensor
    quality: Tensor

    @classmethod
    def drawn(cls, photos: Tensor, draws: torch.Generator) -> Distortion:
        """One of the four for all photos of a batch."""
        kind = int(torch.randint(4, (), generator=draws))
        noise = _NOISE_255 / 255 * torch.randn(photos.shape, generator=draws)
        low, high = _QUALITY
        quality = low + (high - low) * torch.rand(len(photos), generator=draws)
        return cls(kind, noise.to(photos), quality.to(photos))

    def __call__(self, photos: Tensor) -> Tensor:
        if self.kind == 1:
            return (photos + self.noise).clamp(0, 1)
        if self.kind == 2:
            return through_jpeg(photos, self.quality)
        if self.kind == 3:
            small = F.interpolate(photos, scale_factor=_SHRUNK, mode="bilinear", antialias=True)
            return F.interpolate(small, size=photos.shape[-2:], mode="bilinear")
        return photos


@dataclass(frozen=True)
class MarkTraining(Stage):
    """Both networks learn on auxiliary faces with bits drawn anew for each.

    Settings are those of `cloakbench.methods.dpg.DPG`. Without a budget nothing is learnt.
    """

    name: ClassVar[str] = "marks"

    rules: MarkRules
    steps: int
    batch: int
    learning_rate: float

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """Weights of encoder and decoder.

        Raises:
            ValueError: there are fewer than two faces, or training diverged.
        """
        faces = enough(context.require_auxiliary(), "marks").images
        with layers_draw_from(context.seed, STREAM):
            encoder, decoder = mark_networks(self.rules.bits, self.rules.width)
        game = MarkGame(encoder.to(context.device), decoder.to(context.device), self.learning_rate, _BETAS)
        if not self.rules.epsilon_255:
            return game.weights()
        clean = clean_features(faces, self.batch, context)
        size = min(self.batch, len(faces))
        batches = batches_of_steps(self.steps, len(faces), size, context.seed, STREAM)

        def step(rows: Tensor, number: int) -> Tensor:
            photos = pixels(faces, rows, context)
            draws = generator(context.seed, STREAM, "step", number)
            return game.learn(self.rules, photos, [own[rows] for own in clean], draws, context)

        game.go_on(batches, step, self.steps, context, "method.learning_rate")
        return game.weights()
