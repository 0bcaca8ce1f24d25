"""The training of PrivacyNet: a face is translated to labels that are not its own, and stays the face of its person."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.attribute_task import AttributeTask
from cloakbench.methods.base import Stage
from cloakbench.methods.context import CountedNetwork, Need, ProtectContext
from cloakbench.methods.parts.attributes.matcher import FaceMatcher
from cloakbench.methods.parts.gan.game import DISCRIMINATOR, GENERATOR, Game, whole_batches
from cloakbench.methods.parts.gan.label_networks import LabelDiscriminator, LabelGenerator
from cloakbench.methods.parts.gan.networks import drawn

_STREAM = "privacynet"
_BETAS = (0.5, 0.999)


@dataclass(frozen=True)
class TranslationRules:
    """What a training of both networks depends on beside its photos.

    Attributes:
        width, blocks: of the generator, see `LabelGenerator`.
        discriminator_width: see `LabelDiscriminator`.
        attribute_weight: of the cross-entropy of labels, for both networks.
        cycle_weight: of the way back to the photo.
        penalty_weight: of the discriminator's slope.
        matcher_weight: of the squared distance of unit embeddings.
        shrink: of both networks, see `LabelGenerator`.
    """

    width: int
    blocks: int
    discriminator_width: int
    attribute_weight: float
    cycle_weight: float
    penalty_weight: float
    matcher_weight: float
    shrink: int = 1

    def makers(self, widths: Sequence[int]) -> dict[str, Callable[[], nn.Module]]:
        """What makes the two networks for attributes of so many classes, by the beginning of their tensors' names."""
        return {
            GENERATOR: partial(LabelGenerator, tuple(widths), self.width, self.blocks, self.shrink),
            DISCRIMINATOR: partial(LabelDiscriminator, tuple(widths), self.discriminator_width, self.shrink),
        }


class TranslationGame(Game):
    """A `LabelGenerator` against a `LabelDiscriminator`; photos are ``[N, 3, H, W]`` in [0, 1], classes ``[N, K]``.

    Args:
        rules: see `TranslationRules`.
        widths: classes of each attribute.
        learning_rate: of both networks.
        matcher: the frozen recogniser.
        generator, discriminator: the networks, on the device of the run.
    """

    taught: ClassVar[str] = "a translation"

    def __init__(
        self,
        rules: TranslationRules,
        widths: Sequence[int],
        learning_rate: float,
        matcher: CountedNetwork,
        generator: nn.Module,
        discriminator: nn.Module,
    ) -> None:
        super().__init__(generator, discriminator, learning_rate, _BETAS)
        self.rules = rules
        self.widths = list(widths)
        self.matcher = matcher

    def discriminator_loss(self, photos: Tensor, own: Tensor, other: Tensor, mix: Tensor) -> Tensor:
        """``D(G(x, c')) - D(x) + w_p (|slope| - 1)^2 + w_a CE(x, c)``, means over photos (Wasserstein, with penalty).

        Args:
            photos: real ones.
            own: their labels c.
            other: labels c' they are translated to.
            mix: share of the photo at the point between it and its translation where the slope is taken,
                ``[N, 1, 1, 1]``.
        """
        real = 2 * photos - 1
        with torch.no_grad():
            made = self.generator(real, other)
        between = (mix * real + (1 - mix) * made).requires_grad_()
        (slope,) = torch.autograd.grad(self.discriminator(between)[0].sum(), between, create_graph=True)
        penalty = (torch.linalg.vector_norm(slope.flatten(1), dim=1) - 1).square().mean()
        looks, scores = self.discriminator(real)
        source = self.discriminator(made)[0].mean() - looks.mean()
        rules = self.rules
        return source + rules.penalty_weight * penalty + rules.attribute_weight * self.label_loss(scores, own)

    def generator_terms(self, photos: Tensor, own: Tensor, other: Tensor) -> dict[str, Tensor]:
        """What the generator minimises the weighted sum of: ``source``, ``attributes``, ``cycle`` and ``matcher``."""
        real = 2 * photos - 1
        made = self.generator(real, other)
        looks, scores = self.discriminator(made)
        with torch.no_grad():
            known = self.matcher.embed(photos)
        return {
            "source": -looks.mean(),
            "attributes": self.label_loss(scores, other),
            "cycle": (self.generator(made, own) - real).abs().mean(),
            "matcher": (self.matcher.embed((made + 1) / 2) - known).square().sum(dim=1).mean(),
        }

    def label_loss(self, scores: Tensor, classes: Tensor) -> Tensor:
        """Sum over attributes of the mean cross-entropy of classes ``[N, K]`` under scores ``[N, sum C]``."""
        parts = scores.split(self.widths, dim=1)
        return torch.stack([F.cross_entropy(part, column) for part, column in zip(parts, classes.T, strict=True)]).sum()

    def teach_discriminator(self, photos: Tensor, own: Tensor, other: Tensor, mix: Tensor) -> Tensor:
        """One step of the discriminator; returns its loss."""
        self.discriminator.requires_grad_(True)
        loss = self.discriminator_loss(photos, own, other, mix)
        self.descend(1, loss)
        return loss.detach()

    def teach_generator(self, photos: Tensor, own: Tensor, other: Tensor) -> Tensor:
        """One step of the generator; returns its loss."""
        self.discriminator.requires_grad_(False)  # the generator's loss is none of its business
        rules, terms = self.rules, self.generator_terms(photos, own, other)
        loss = terms["source"] + rules.attribute_weight * terms["attributes"]
        loss = loss + rules.cycle_weight * terms["cycle"] + rules.matcher_weight * terms["matcher"]
        self.descend(0, loss)
        return loss.detach()


@dataclass(frozen=True)
class LabelTranslation(Stage):
    """Learns on labelled auxiliary faces to give a face other labels.

    Settings are those of `cloakbench.methods.privacynet.PrivacyNet`.
    """

    name: ClassVar[str] = "label_translation"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.AUXILIARY})

    rules: TranslationRules
    epochs: int
    batch: int
    learning_rate: float
    critic_steps: int
    task: AttributeTask
    matcher: FaceMatcher

    @property
    def settings(self) -> dict[str, Any]:
        columns = [
            [one.name, one.column, [[part.name, *part.labels] for part in one.classes], _bins(one.bins)]
            for one in self.task.attributes
        ]
        return {**super().settings, "task": columns, "matcher": self.matcher.fingerprint()}

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """Weights of generator and discriminator.

        Raises:
            ValueError: fewer than two faces have labels, or training diverged.
            AttributeTaskError: the faces have no such labels.
        """
        faces = context.require_auxiliary()
        labels = self.task.labels(faces)
        if len(labels.rows) < 2:
            raise ValueError(
                f"training a translation needs two auxiliary faces with labels of {', '.join(self.task.names)}: "
                "set dataset.auxiliary_identities, or method.task to attributes that the data set has"
            )
        classes = torch.stack(list(labels.classes.values()), dim=1)
        widths = classes_of(self.task)
        made = [
            drawn(make, context.seed, _STREAM, name).to(context.device)
            for name, make in self.rules.makers(widths).items()
        ]
        game = TranslationGame(self.rules, widths, self.learning_rate, self.matcher.load(context), *made)

        def step(places: Tensor, number: int) -> Tensor:
            draws = generator(context.seed, _STREAM, "step", number)
            other = torch.stack([torch.randint(width, places.shape, generator=draws) for width in widths], dim=1)
            mix = torch.rand(len(places), 1, 1, 1, generator=draws)
            photos = faces.images[labels.rows[places]].to(context.device).float() / 255
            own, other, mix = (part.to(context.device) for part in (classes[places], other, mix))
            losses = [game.teach_discriminator(photos, own, other, mix)]
            if (number + 1) % self.critic_steps == 0:
                losses.append(game.teach_generator(photos, own, other))
            return torch.stack(losses)

        size = min(self.batch, len(classes))
        total = self.epochs * (len(classes) // size)
        batches = whole_batches(len(classes), size, self.epochs, context.seed, _STREAM)
        game.go_on(batches, step, total, context, "method.learning_rate")
        return game.weights()


def classes_of(task: AttributeTask) -> tuple[int, ...]:
    """How many classes each attribute has."""
    return tuple(len(one.classes) for one in task.attributes)


def _bins(bins: Any) -> list[float] | None:
    return None if bins is None else [bins.start, bins.width]
