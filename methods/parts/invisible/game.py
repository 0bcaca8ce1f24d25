"""LD-MAN, the networks of Invisible-Face: a generator of local masks and a discriminator that learn in turn.

Source: Yang et al., "Invisible-Face", TIFS 2025, section V, equations 5 to 7 and 20.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.attributes.own_answers import Labels
from cloakbench.methods.parts.gan.game import BatchGame
from cloakbench.methods.parts.gan.networks import MaskGenerator, PatchDiscriminator, drawn, recomputed_by_few
from cloakbench.methods.parts.invisible import losses
from cloakbench.methods.parts.invisible.features import SurrogateFeatures
from cloakbench.methods.parts.perceptual_distance import LoadedDistance

STREAM = "invisible_face"
_BLOCKS, _LEVELS = 4, 4
"""Residual blocks of the generator, and convolutions of stride 2 of the discriminator."""

_MAPS, _MOST_BYTES = 20, 2**30
"""Maps of full size and first width that a step of the generator keeps, about; and above how many bytes of them
networks are computed again instead. It changes no gradient beyond rounding, and settings decide it."""
_FEW = 16
"""Photos that a purifier, which looks at each alone, is computed again for at once: all its maps are kept meanwhile."""


@dataclass(frozen=True)
class MaskRules:
    """How a generator's answer becomes a mask.

    Attributes:
        epsilon_255: Linf budget in grey levels.
        width, discriminator_width: channels of the first convolutions.
    """

    epsilon_255: float
    width: int
    discriminator_width: int

    def generator(self) -> nn.Module:
        """The untrained generator."""
        return MaskGenerator(self.width, _BLOCKS, "instance_layer", 3, 3)

    def discriminator(self) -> nn.Module:
        """The untrained discriminator."""
        return PatchDiscriminator(self.discriminator_width, _LEVELS)

    def mask(self, network: nn.Module, photos: Tensor, area: Tensor, directions: Tensor | None, size: float) -> Tensor:
        """Equation 6 within the box: ``A * clip(eps G(A * x) + beta d, eps)``, ``[N, 3, H, W]``.

        Args:
            network: the generator.
            photos: ``[N, 3, H, W]`` in [0, 1].
            area: A, ``[N, 1, H, W]``.
            directions: d, ``[N, 3, H, W]``, or None.
            size: beta on the scale of [0, 1].
        """
        epsilon = self.epsilon_255 / 255
        answer = epsilon * network(2 * area * photos - 1)
        if directions is not None:
            answer = answer + size * directions
        return area * answer.clamp(-epsilon, epsilon)


@dataclass(frozen=True)
class LocalBatch:
    """Photos of a step, boxes as A ``[N, 1, H, W]``, directions, clean answers, the purifier's strengths."""

    photos: Tensor
    area: Tensor
    directions: Tensor | None
    labels: tuple[Labels, ...]
    strengths: Tensor | None


class LocalGame(BatchGame[LocalBatch]):
    """LD-MAN: a step of the generator against the weighted losses, then one of the discriminator.

    Args:
        learning_rate: of both networks.
        context: draws their weights, and has the surrogates.
        rules: of masks.
        weights: of losses.
        size: beta on the scale of [0, 1].
        purifier: frozen, counted; None without the resilient loss.
        perceptual: makes the distance to clean photos; None for the features of the surrogate.
    """

    betas = (0.5, 0.999)
    stream = STREAM

    def __init__(
        self,
        learning_rate: float,
        context: ProtectContext,
        rules: MaskRules,
        weights: losses.LossWeights,
        size: float,
        purifier: nn.Module | None,
        perceptual: LoadedDistance | None,
    ) -> None:
        makers = {"generator": rules.generator, "discriminator": rules.discriminator}
        made = [drawn(make, context.seed, STREAM, name).to(context.device) for name, make in makers.items()]
        super().__init__(learning_rate, *made)
        self.surrogates, self.rules, self.lambdas = context.attribute_surrogates, rules, weights
        self.size, self.purifier, self.perceptual = size, purifier, perceptual
        self._features: SurrogateFeatures | None = None

    def step(self, batch: LocalBatch, draws: torch.Generator) -> Tensor:
        self.generator.recompute = self._is_large(batch.photos)  # type: ignore[assignment]
        mask = self.rules.mask(self.generator, batch.photos, batch.area, batch.directions, self.size)
        protected = (batch.photos + mask).clamp(0, 1)
        first = self._generator_loss(batch, mask, protected)
        self.descend(0, first)
        if not self.lambdas.gan:
            return torch.stack([first.detach(), first.detach().new_zeros(())])
        self.discriminator.requires_grad_(True)
        looks = [self.discriminator(2 * seen - 1) for seen in (batch.photos, protected.detach())]
        second = losses.discriminator_loss(*looks)
        self.descend(1, second)
        return torch.stack([first.detach(), second.detach()])

    def _is_large(self, photos: Tensor) -> bool:
        pixels = len(photos) * photos.shape[-2] * photos.shape[-1]
        return pixels * self.rules.width * photos.element_size() * _MAPS > _MOST_BYTES

    def _cleaned(self, purifier: nn.Module, protected: Tensor, strengths: Tensor) -> Tensor:
        """What a purifier makes of protected photos; of many, a few at a time and again on the way back."""
        if not self._is_large(protected):
            return purifier(protected, strengths)  # type: ignore[no-any-return]
        return recomputed_by_few(purifier, _FEW, protected, strengths)

    def _generator_loss(self, batch: LocalBatch, mask: Tensor, protected: Tensor) -> Tensor:
        """Equation 20, and the game's term."""
        weights = self.lambdas
        total = self._answers(batch, protected)
        if weights.perturbation:
            total = total + weights.perturbation * losses.perturbation_loss(mask)
        if weights.naturalness:
            natural = losses.naturalness_loss(batch.photos, protected, mask, weights)
            total = total + weights.naturalness * natural
        if batch.strengths is not None and self.purifier is not None:
            cleaned = self._cleaned(self.purifier, protected, batch.strengths)
            terms = [
                losses.adversarial_loss(model.logits(cleaned), labels)
                for model, labels in zip(self.surrogates, batch.labels, strict=True)
            ]
            total = total + weights.resilient * torch.stack(terms).mean()
        if weights.gan:
            self.discriminator.requires_grad_(False)  # the generator's loss is none of its business
            total = total + weights.gan * losses.generator_game_loss(self.discriminator(2 * protected - 1))
        return total

    def _answers(self, batch: LocalBatch, protected: Tensor) -> Tensor:
        """The adversarial and the semantic loss, from the same passes of the surrogates."""
        weights, terms = self.lambdas, []
        by_features = weights.semantic and (weights.contextual or (weights.perceptual and self.perceptual is None))
        semantic = protected.new_zeros(())
        for place, (model, labels) in enumerate(zip(self.surrogates, batch.labels, strict=True)):
            features = self._features_of(batch.photos) if by_features and place == 0 else None
            with features.kept() if features else nullcontext([]) as ours:
                scores = model.logits(protected)
            terms.append(losses.adversarial_loss(scores, labels))
            if features:
                with torch.no_grad(), features.kept() as theirs:
                    model.logits(batch.photos)
                semantic = semantic + self._semantic(ours, theirs)
        if weights.semantic and weights.perceptual and self.perceptual is not None:
            semantic = semantic + weights.perceptual * self.perceptual.to(batch.photos)(protected).mean()
        return weights.adversarial * torch.stack(terms).mean() + weights.semantic * semantic

    def _semantic(self, ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
        """Equation 18 by maps of the surrogate."""
        weights, total = self.lambdas, ours[0].new_zeros(())
        if weights.perceptual and self.perceptual is None:
            total = total + weights.perceptual * losses.feature_distance(ours, theirs)
        if weights.contextual:
            total = total + weights.contextual * losses.contextual_loss(ours, theirs)
        return total

    def _features_of(self, photos: Tensor) -> SurrogateFeatures:
        if self._features is None:
            self._features = SurrogateFeatures(self.surrogates[0].model, photos[:1])
        return self._features
