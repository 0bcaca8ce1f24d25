"""The training of AMT-GAN: makeup goes from face to face and back, and recognisers do not know who wears it.

Source: Hu et al., "Protecting Facial Privacy: Generating Adversarial Identity Masks via Style-Robust Makeup Transfer",
CVPR 2022, equations 2 to 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.methods.base import Stage
from cloakbench.methods.context import CountedNetwork, ProtectContext
from cloakbench.methods.parts.gan.game import DISCRIMINATOR, GENERATOR, Game, batches_of_steps
from cloakbench.methods.parts.gan.networks import drawn
from cloakbench.methods.parts.makeup.histogram import histogram_losses
from cloakbench.methods.parts.makeup.reference import makeup_strength, points_of
from cloakbench.methods.parts.makeup.regions import face_regions, soft_face
from cloakbench.methods.parts.makeup.transfer_networks import DomainDiscriminators, TransferPair
from cloakbench.methods.parts.taught_faces import clean_features, enough, pixels

STREAM = "amt_gan"
_BETAS = (0.5, 0.999)


@dataclass(frozen=True)
class TransferRules:
    """What a training depends on beside its photos.

    Attributes:
        width, discriminator_width: channels of the first convolution of each network.
        shrink, strength: see `MakeupTransfer`.
        gan_weight, cycle_weight, adversarial_weight, makeup_weight, identity_weight: of the losses.
        lips_weight, eyes_weight, skin_weight: of the regions within the makeup loss.
    """

    width: int
    discriminator_width: int
    shrink: int
    strength: float
    gan_weight: float
    cycle_weight: float
    adversarial_weight: float
    makeup_weight: float
    identity_weight: float
    lips_weight: float
    eyes_weight: float
    skin_weight: float

    def makers(self) -> dict[str, partial[nn.Module]]:
        """What makes the networks, by the beginning of their tensors' names."""
        return {
            GENERATOR: partial(TransferPair, self.width, self.shrink, self.strength),
            DISCRIMINATOR: partial(DomainDiscriminators, self.discriminator_width, self.shrink),
        }


@dataclass(frozen=True)
class MakeupSide:
    """Faces of one kind in a step: photos ``[N, 3, H, W]``, regions, and per surrogate clean features ``[N, D]``."""

    photos: Tensor
    regions: Tensor
    known: tuple[Tensor, ...]

    @cached_property
    def inside(self) -> Tensor:
        """Where makeup goes, ``[N, 1, H, W]``."""
        return soft_face(self.regions)


class TransferGame(Game):
    """A `TransferPair` against `DomainDiscriminators`, with Adam of betas 0.5 and 0.999.

    Args:
        rules: see `TransferRules`.
        learning_rate: of both.
        pair, discriminators: the networks, on the device of the run.
    """

    taught: ClassVar[str] = "makeup"

    def __init__(
        self, rules: TransferRules, learning_rate: float, pair: TransferPair, discriminators: DomainDiscriminators
    ) -> None:
        super().__init__(pair, discriminators, learning_rate, _BETAS)
        self.rules, self.pair, self.discriminators = rules, pair, discriminators

    def terms(
        self, plain: MakeupSide, made_up: MakeupSide, surrogates: tuple[CountedNetwork, ...]
    ) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """What the generator minimises the weighted sum of, and both faces as it makes them: made up, and plain.

        ``gan``: they look like real ones of their kind. ``cycle``: given back what they wore, after H, they are the
        photos again. ``adversarial``: cosine of the made-up face to its person, a mean over surrogates. ``makeup``: see
        `histogram_losses`. ``identity``: a face with its own makeup is itself.
        """
        transfer, purify = self.pair.transfer, self.pair.regulariser
        (x, on_x), (y, on_y) = ((side.photos, side.inside) for side in (plain, made_up))
        worn, taken = transfer(x, y, on_x), transfer(y, x, on_y)
        answers = self.discriminators.looks(worn, True), self.discriminators.looks(taken, False)
        back = (transfer(purify(worn), x, on_x) - x).abs().mean() + (transfer(purify(taken), y, on_y) - y).abs().mean()
        cosines = [
            (model.embed(worn) * own).sum(dim=1).mean() for model, own in zip(surrogates, plain.known, strict=True)
        ]
        rules = self.rules
        weights = x.new_tensor((rules.lips_weight, rules.eyes_weight, rules.skin_weight))
        histograms = histogram_losses(worn, plain.regions, y, made_up.regions)
        histograms = histograms + histogram_losses(taken, made_up.regions, x, plain.regions)
        return {
            "gan": torch.stack([_as(True, one) for one in answers]).sum(),
            "cycle": back,
            "adversarial": torch.stack(cosines).mean(),
            "makeup": (histograms @ weights).mean(),
            "identity": (transfer(x, x, on_x) - x).abs().mean() + (transfer(y, y, on_y) - y).abs().mean(),
        }, (worn.detach(), taken.detach())

    def learn(self, plain: MakeupSide, made_up: MakeupSide, surrogates: tuple[CountedNetwork, ...]) -> Tensor:
        """One step of generator and discriminators; returns the losses of both, ``[2]``."""
        self.discriminator.requires_grad_(False)  # the generator's loss is none of its business
        terms, (worn, taken) = self.terms(plain, made_up, surrogates)
        rules = self.rules
        first = (
            rules.gan_weight * terms["gan"]
            + rules.cycle_weight * terms["cycle"]
            + rules.adversarial_weight * terms["adversarial"]
            + rules.makeup_weight * terms["makeup"]
            + rules.identity_weight * terms["identity"]
        )
        self.descend(0, first)
        self.discriminator.requires_grad_(True)
        judged = ((made_up.photos, True, True), (plain.photos, False, True), (worn, True, False), (taken, False, False))
        second = torch.stack([_as(real, self.discriminators.looks(faces, kind)) for faces, kind, real in judged]).sum()
        self.descend(1, second)
        return torch.stack([first.detach(), second.detach()])


def _as(real: bool, answers: Tensor) -> Tensor:
    """Cross entropy of logits taken for real, or for made."""
    return F.binary_cross_entropy_with_logits(answers, torch.full_like(answers, float(real)))


@dataclass(frozen=True)
class MakeupTraining(Stage):
    """The networks learn on auxiliary faces, of which the more made-up half are those with makeup.

    Settings are those of `cloakbench.methods.amt_gan.AMTGAN`.
    """

    name: ClassVar[str] = "makeup_transfer"

    rules: TransferRules
    steps: int
    batch: int
    learning_rate: float

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """Weights of all networks.

        Raises:
            ValueError: there are fewer than four faces, they have no landmarks, or training diverged.
        """
        faces = enough(context.require_auxiliary(), "makeup", least=4)
        points = points_of(faces)
        order = makeup_strength(faces).argsort(descending=True, stable=True)
        halves = order[len(order) // 2 :], order[: len(order) // 2]
        clean = clean_features(faces.images, self.batch, context)
        makers = self.rules.makers().items()
        pair, judges = (drawn(make, context.seed, STREAM, name).to(context.device) for name, make in makers)
        assert isinstance(pair, TransferPair) and isinstance(judges, DomainDiscriminators)
        game = TransferGame(self.rules, self.learning_rate, pair, judges)
        size = min(self.batch, len(halves[1]))

        def side(rows: Tensor) -> MakeupSide:
            photos = pixels(faces.images, rows, context)
            regions = face_regions(points[rows], *photos.shape[-2:]).to(context.device)
            return MakeupSide(photos, regions, tuple(own[rows] for own in clean))

        def step(places: tuple[Tensor, Tensor], number: int) -> Tensor:
            plain, made_up = (side(half[rows]) for half, rows in zip(halves, places, strict=True))
            return game.learn(plain, made_up, context.surrogates)

        name = (context.seed, STREAM)
        walks = [batches_of_steps(self.steps, len(half), size, *name, kind) for kind, half in enumerate(halves)]
        game.go_on(zip(*walks, strict=True), step, self.steps, context, "method.learning_rate")
        return game.weights()
