"""Trainings of purifiers: of the one inside a method, on photos that noise disturbs, and of an attacker's, on photos
that a method protected. Both are stages, so they are stored, and they go on where they were interrupted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.datasets.base import FaceSet
from cloakbench.datasets.thirds import Part, faces_of
from cloakbench.methods.base import Protector, Stage
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.parts.gan.networks import drawn, with_weights
from cloakbench.methods.parts.purifying.recipe import Disturbances, PurifierRecipe
from cloakbench.methods.parts.taught_faces import pixels
from cloakbench.methods.parts.training_steps import learn
from cloakbench.methods.pgd import PGD
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.models.base import Purifier

_AT_ONCE = 64
"""Photos that are disturbed by a method together."""


@dataclass(frozen=True)
class PurifierTraining(Stage):
    """A purifier's network learns to give the clean photo for the disturbed one.

    Attributes:
        recipe: network, pairs and steps.
    """

    name: ClassVar[str] = "purifier"
    part: ClassVar[Part]
    """Whose photos it learns from; nobody else's."""
    recipe: PurifierRecipe

    @property
    def needs(self) -> frozenset[Need]:  # type: ignore[override]  (of a class elsewhere, of its settings here)
        """Auxiliary faces, and the networks that make pairs."""
        return frozenset({Need.AUXILIARY}) | self.networks()

    @abstractmethod
    def networks(self) -> frozenset[Need]:
        """The networks that make pairs."""

    @abstractmethod
    def pairs(self, faces: FaceSet, context: ProtectContext) -> Tensor | None:
        """Photos that a method changed, uint8 on the CPU in the order of the faces, or None where there is none."""

    @abstractmethod
    def disturbed(self, photos: Tensor, changed: Tensor | None, draws: torch.Generator) -> Tensor:
        """The disturbed photos of a step, ``[N, 3, H, W]`` in [0, 1]; ``changed`` are rows of `pairs` in [0, 1]."""

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """Weights of the network.

        Raises:
            ValueError: there are too few people, or the loss is no longer finite.
        """
        recipe, seed = self.recipe, context.seed
        faces = faces_of(context.require_auxiliary(), self.part, seed)
        network = drawn(recipe.design.make, seed, self.name, "layers").to(context.device)
        changed = self.pairs(faces, context)  # counted anew by who resumes, as part of what was kept

        def loss_of(rows: Tensor, draws: torch.Generator) -> Tensor:
            photos = pixels(faces.images, rows, context)
            seen = self.disturbed(photos, None if changed is None else pixels(changed, rows, context), draws)
            return _distance(network(_blurred(seen, recipe.blur_px, draws)), photos, recipe)

        learn(
            network,
            loss_of,
            photos=len(faces),
            steps=recipe.steps,
            batch=recipe.batch,
            learning_rate=recipe.learning_rate,
            stream=self.name,
            context=context,
            falls=False,
            lower=f"the learning_rate of the purifier {recipe.title}",
        )
        return network.state_dict()

    def purifier(self, weights: Mapping[str, Tensor]) -> Purifier:
        """The frozen purifier with what `run` gave."""
        return Purifier(with_weights(self.recipe.design.make, dict(weights)))


@dataclass(frozen=True)
class NoisePurifier(PurifierTraining):
    """The purifier inside a method: it learns from people of its own, whose photos noise and an attack disturb."""

    part = "purifier"

    def networks(self) -> frozenset[Need]:
        return frozenset({Need.ATTRIBUTE_SURROGATES} if self.recipe.disturbances.attack_255 else ())

    def pairs(self, faces: FaceSet, context: ProtectContext) -> Tensor | None:
        rules = self.recipe.disturbances
        if not rules.attack_255:
            return None
        attack = PGD(rules.attack_255, steps=rules.attack_steps, objective="attributes")
        return protected_faces(attack, faces, context)

    def disturbed(self, photos: Tensor, changed: Tensor | None, draws: torch.Generator) -> Tensor:
        rules = self.recipe.disturbances
        kinds = _kinds(photos, changed, rules, draws)
        drawn_kind = torch.randint(len(kinds), (len(photos),), generator=draws)
        return torch.stack([kinds[kind][row] for row, kind in enumerate(drawn_kind.tolist())]).clamp(0, 1)


def _kinds(photos: Tensor, changed: Tensor | None, rules: Disturbances, draws: torch.Generator) -> list[Tensor]:
    """The photos under each disturbance that the rules have."""
    kinds = [] if changed is None else [changed]
    if rules.uniform_255:
        noise = torch.empty(photos.shape).uniform_(-1, 1, generator=draws).to(photos.device)
        kinds.append(photos + rules.uniform_255 / 255 * noise)
    if rules.gaussian_255:
        levels = torch.rand(len(photos), 1, 1, 1, generator=draws) * rules.gaussian_255 / 255
        kinds.append(photos + (levels * torch.empty(photos.shape).normal_(generator=draws)).to(photos.device))
    return kinds


def protected_faces(method: Protector, faces: FaceSet, context: ProtectContext) -> Tensor:
    """Faces as a method changes them, uint8 ``[N, 3, H, W]`` on the CPU, with the context's networks and counters."""
    rows = torch.arange(len(faces)).split(_AT_ONCE)
    return torch.cat([_protected(method, faces.select(part), context) for part in rows])


def _protected(method: Protector, part: FaceSet, context: ProtectContext) -> Tensor:
    batch = PhotoBatch(
        images=pixels(part.images, torch.arange(len(part)), context),
        image_id=part.image_id,
        owner=part.labels().to(context.device),
        identities=part.identities(),
        landmarks=None if part.landmarks is None else part.landmarks.to(context.device),
    )
    changed = method.perturb(batch, method.fit(batch, context), context).detach()
    return (255 * changed).round().clamp(0, 255).to(torch.uint8).cpu()


def _blurred(photos: Tensor, most_px: float, draws: torch.Generator) -> Tensor:
    """Each photo blurred by a Gaussian whose deviation is drawn up to ``most_px``."""
    if not most_px:
        return photos
    reach = max(1, round(3 * most_px))
    sigma = (torch.rand(len(photos), 1, generator=draws) * most_px).clamp(min=1e-3).to(photos.device)
    places = torch.arange(-reach, reach + 1, device=photos.device)
    kernel = (-(places / sigma).square() / 2).exp()
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(3, dim=0).unsqueeze(1)
    flat = F.pad(photos.flatten(0, 1).unsqueeze(0), (reach,) * 4, mode="replicate")
    across = F.conv2d(flat, kernel.unsqueeze(2), groups=len(kernel))
    return F.conv2d(across, kernel.unsqueeze(3), groups=len(kernel)).view_as(photos)


def _distance(cleaned: Tensor, clean: Tensor, recipe: PurifierRecipe) -> Tensor:
    return F.l1_loss(cleaned, clean) if recipe.distance == "l1" else F.mse_loss(cleaned, clean)
