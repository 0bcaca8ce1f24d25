"""The training of Adv-Makeup: a generator makes eyes up, so that several recognisers are deceived at once.

Source: Yin et al., "Adv-Makeup: A New Imperceptible and Transferable Attack on Face Recognition", IJCAI 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.methods.base import Stage
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.gan.game import DISCRIMINATOR, GENERATOR, Game, batches_of_steps
from cloakbench.methods.parts.gan.networks import MaskGenerator, PatchDiscriminator, drawn
from cloakbench.methods.parts.makeup.eye_crop import EyeCrop
from cloakbench.methods.parts.makeup.reference import makeup_strength, points_of
from cloakbench.methods.parts.meta_step import meta_gradients
from cloakbench.methods.parts.taught_faces import clean_features, enough, pixels

STREAM = "adv_makeup"
_BETAS = (0.5, 0.999)
_BLOCKS, _LEVELS = 2, 3


@dataclass(frozen=True)
class EyeRules:
    """What a training depends on beside its photos.

    Attributes:
        width, discriminator_width: channels of the first convolution of each network.
        strength: the most that a value of the crop changes, on the scale of [0, 1].
        adversarial_weight: of the cosines to the clean photo.
        gan_weight: of the crop being taken for a made-up one.
        gradient_weight: of the mean square of what the change adds to differences of neighbouring pixels.
        style_weight: of the distance of colour means and deviations to those of made-up eyes.
        variation_weight: of the mean size of such differences themselves.
        meta_rate: length of the meta-step.
    """

    width: int
    discriminator_width: int
    strength: float
    adversarial_weight: float
    gan_weight: float
    gradient_weight: float
    style_weight: float
    variation_weight: float
    meta_rate: float

    def makers(self) -> dict[str, partial[nn.Module]]:
        """What makes the two networks, by the beginning of their tensors' names."""
        return {
            GENERATOR: partial(MaskGenerator, self.width, _BLOCKS),
            DISCRIMINATOR: partial(PatchDiscriminator, self.discriminator_width, _LEVELS),
        }

    def change(self, generator: nn.Module, crops: Tensor) -> Tensor:
        """The change of crops ``[N, 3, h, w]`` in [0, 1]."""
        return self.strength * generator(2 * crops - 1)


class EyeGame(Game):
    """A generator of eye makeup and a discriminator of made-up eyes, with Adam of betas 0.5 and 0.999."""

    taught: ClassVar[str] = "eye makeup"

    def learn(
        self,
        rules: EyeRules,
        photos: Tensor,
        crop: EyeCrop,
        made_up: Tensor,
        known: list[Tensor],
        held_out: int,
        context: ProtectContext,
    ) -> Tensor:
        """One step of each network; returns the losses of both, ``[2]``.

        Args:
            rules: see `EyeRules`.
            photos: ``[N, 3, H, W]`` in [0, 1].
            crop: where their eyes are.
            made_up: crops of made-up eyes, ``[N, 3, h, w]``.
            known: per surrogate the clean features ``[N, D]`` of the photos.
            held_out: the surrogate that makeup learnt on the others is to deceive.
            context: has the surrogates.
        """
        clean = crop.cut(photos)

        def deceives(place: int) -> Tensor:
            protected = crop.paste(photos, rules.change(self.generator, clean))
            features = context.surrogates[place].embed(protected)
            return rules.adversarial_weight * (features * known[place]).sum(dim=1).mean()

        others = [place for place in range(len(known)) if place != held_out] or [held_out]
        self.discriminator.requires_grad_(False)  # the generator's losses are none of its business
        weights = list(self.generator.parameters())
        train = [partial(deceives, place) for place in others]
        slopes, deception = meta_gradients(weights, train, partial(deceives, held_out), rules.meta_rate)
        change = crop.lids * rules.change(self.generator, clean)
        looks = self._looks(rules, clean, change, made_up)
        self.optimisers[0].zero_grad()
        looks.backward()
        for weight, slope in zip(weights, slopes, strict=True):
            weight.grad = slope if weight.grad is None else weight.grad + slope
        self.optimisers[0].step()

        self.discriminator.requires_grad_(True)
        worn = (clean + change.detach()).clamp(0, 1)
        real, fake = (self.discriminator(2 * crops - 1) for crops in (made_up, worn))
        second = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
        second = second + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
        self.descend(1, second)
        return torch.stack([deception + looks.detach(), second.detach()])

    def _looks(self, rules: EyeRules, clean: Tensor, change: Tensor, made_up: Tensor) -> Tensor:
        """How far made-up crops are from good ones: the adversarial game's loss and the blending losses."""
        worn = (clean + change).clamp(0, 1)
        answers = self.discriminator(2 * worn - 1)
        gan = F.binary_cross_entropy_with_logits(answers, torch.ones_like(answers))
        gradient, style = gradient_loss(worn, clean), style_loss(worn, made_up)
        variation = torch.stack([part.abs().mean() for part in _differences(worn)]).sum()
        return (
            rules.gan_weight * gan
            + rules.gradient_weight * gradient
            + rules.style_weight * style
            + rules.variation_weight * variation
        )


def gradient_loss(worn: Tensor, clean: Tensor) -> Tensor:
    """Mean square of what pixels differ from their neighbours by more, or less, than on the clean crop."""
    pairs = zip(_differences(worn), _differences(clean), strict=True)
    return torch.stack([(one - other).square().mean() for one, other in pairs]).sum()


def style_loss(worn: Tensor, made_up: Tensor) -> Tensor:
    """Mean square distance of means and deviations of channels, of crops ``[N, 3, h, w]`` pair by pair."""
    one, other = (torch.cat([crops.mean(dim=(2, 3)), crops.std(dim=(2, 3))], dim=1) for crops in (worn, made_up))
    return (one - other).square().mean()


def _differences(crops: Tensor) -> tuple[Tensor, Tensor]:
    return crops[:, :, 1:] - crops[:, :, :-1], crops[..., 1:] - crops[..., :-1]


@dataclass(frozen=True)
class EyeMakeup(Stage):
    """Both networks learn on auxiliary faces; the more made-up half of them is what real makeup looks like.

    Settings are those of `cloakbench.methods.adv_makeup.AdvMakeup`.
    """

    name: ClassVar[str] = "eye_makeup"

    rules: EyeRules
    steps: int
    batch: int
    learning_rate: float
    least_surrogates: int

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """Weights of generator and discriminator.

        Raises:
            ValueError: there are fewer than two faces, no landmarks, too few surrogates, or training diverged.
        """
        faces = enough(context.require_auxiliary(), "makeup")
        if len(context.surrogates) < self.least_surrogates:
            raise ValueError(
                f"the meta-step of {STREAM} holds one surrogate out and needs {self.least_surrogates}, there is "
                f"{len(context.surrogates)}: name more, as in plan.limits.{STREAM}.surrogates={{both: [FIRST, SECOND]}}"
            )
        points = points_of(faces).to(context.device)
        strongest = makeup_strength(faces).argsort(descending=True, stable=True)[: len(faces) // 2]
        clean = clean_features(faces.images, self.batch, context)
        makers = self.rules.makers().items()
        made = [drawn(make, context.seed, STREAM, name).to(context.device) for name, make in makers]
        game = EyeGame(made[0], made[1], self.learning_rate, _BETAS)
        size = min(self.batch, len(strongest))
        batches = zip(
            batches_of_steps(self.steps, len(faces), size, context.seed, STREAM, "photos"),
            batches_of_steps(self.steps, len(strongest), size, context.seed, STREAM, "made up"),
            strict=True,
        )

        def photos_at(rows: Tensor) -> tuple[Tensor, EyeCrop]:
            photos = pixels(faces.images, rows, context)
            return photos, EyeCrop(points[rows], *photos.shape[-2:])

        def step(rows: tuple[Tensor, Tensor], number: int) -> Tensor:
            photos, crop = photos_at(rows[0])
            others, eyes = photos_at(strongest[rows[1]])
            known = [own[rows[0]] for own in clean]
            return game.learn(self.rules, photos, crop, eyes.cut(others), known, number % len(known), context)

        game.go_on(batches, step, self.steps, context, "method.learning_rate")
        return game.weights()
