"""The training of the embedded generator: a variational autoencoder of what lies between two photos of one person.

Each step takes pairs of photos of one person. A reader compares them and gives a code; the generator sees the first
photo and the code and has to make the second. Codes are held near a unit normal distribution (Kingma and Welling,
"Auto-encoding variational Bayes", ICLR 2014; conditional on the first photo: Sohn et al., NeurIPS 2015), so that drawn
ones will do later, and views from drawn codes are asked to be the person: a critic compares them with the person's
centre among its training people. The critic is trained before, by the same recipe, on the same people, and is used
nowhere else: no recogniser that methods attack or are measured by has any part in a view.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.base import FaceSet
from cloakbench.models.base import Recogniser
from cloakbench.models.generation.view_network import SIZE_PX, CodeReader, ViewNetwork, apply_changes
from cloakbench.models.generation.view_recipe import ViewRecipe
from cloakbench.models.training.memory_format import learning_format
from cloakbench.models.training.resumable import ResumableTraining


class Critic(NamedTuple):
    """Who says whether a view is still the person.

    Attributes:
        model: of the training people, and frozen.
        centres: of the training people in the order of their faces, ``[P, D]``.
    """

    model: Recogniser
    centres: Tensor


class PhotoPairs(NamedTuple):
    """The draws of one step.

    Attributes:
        photos, others: uint8 ``[B, 3, 112, 112]``, two photos of each person.
        people: long ``[B]``, their places among the people of the faces.
        unit: normals ``[2, B, code_size]``: for the codes that are read, and the codes that are drawn.
        noise: normals ``[3, 112, 112]``.
    """

    photos: Tensor
    others: Tensor
    people: Tensor
    unit: Tensor
    noise: Tensor


def draw_pairs(faces: FaceSet, labels: Tensor, batch_size: int, code_size: int, stream: torch.Generator) -> PhotoPairs:
    """Pairs of different photos of ``batch_size`` people, half of them mirrored; every person is as likely as another.

    Args:
        faces: photos of one person are adjacent, at least two of each.
        labels: of the faces.
        batch_size, code_size: of the training.
        stream: everything is drawn from it.
    """
    counts = labels.bincount()
    first = counts.cumsum(0) - counts
    people = torch.randint(len(counts), (batch_size,), generator=stream)
    count, place = counts[people], torch.rand(2, batch_size, generator=stream)
    one = (place[0] * count).long()
    other = (one + 1 + (place[1] * (count - 1)).long()) % count
    photos, others = (faces.images[first[people] + row] for row in (one, other))
    mirrored = (torch.rand(batch_size, generator=stream) < 0.5).view(-1, 1, 1, 1)
    photos, others = (torch.where(mirrored, images.flip(-1), images) for images in (photos, others))
    unit = torch.randn(2, batch_size, code_size, generator=stream)
    return PhotoPairs(photos, others, people, unit, torch.randn(3, SIZE_PX, SIZE_PX, generator=stream))


class ViewTraining(ResumableTraining):
    """Trains one generator.

    Args:
        network, reader: trained in place.
        critic: stays as it is.
        faces: uint8 training faces, possibly memory-mapped; photos of one person are adjacent.
        recipe: schedule and weights of the loss.
        seed: names the random streams.
        recipe_digest, checkpoint_path, device: see `ResumableTraining`.

    Raises:
        ValueError: a person with a single photo, or whose photos are not adjacent.
    """

    def __init__(
        self,
        *,
        network: ViewNetwork,
        reader: CodeReader,
        critic: Critic,
        faces: FaceSet,
        recipe: ViewRecipe,
        seed: int,
        recipe_digest: str,
        checkpoint_path: Path,
        device: torch.device,
    ) -> None:
        super().__init__(recipe.steps, recipe_digest, checkpoint_path, device)
        self.labels = faces.labels()
        if int(self.labels.bincount().min()) < 2 or bool((self.labels.diff() < 0).any()):
            raise ValueError("a generator is trained on people with two photos or more each, which lie side by side")
        self.network, self.reader = (
            part.to(device, memory_format=learning_format(device))  # type: ignore[call-overload]
            for part in (network, reader)
        )
        self.critic = Critic(critic.model.to(device), F.normalize(critic.centres.to(device)))
        self.faces, self.recipe, self.seed = faces, recipe, seed
        self.optimiser = torch.optim.Adam([*network.parameters(), *reader.parameters()], lr=recipe.learning_rate)

    def parts(self) -> dict[str, Any]:
        return {"network": self.network, "reader": self.reader, "optimiser": self.optimiser}

    def advance(self) -> Tensor:
        recipe, stream = self.recipe, generator(self.seed, "views", self.step)
        pairs = draw_pairs(self.faces, self.labels, recipe.batch_size, self.network.code_size, stream)
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.rate(self.step)
        loss = self.loss(pairs, recipe.rise(self.step))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([*self.network.parameters(), *self.reader.parameters()], 1.0)
        self.optimiser.step()
        return loss.detach()

    def loss(self, pairs: PhotoPairs, rise: float) -> Tensor:
        """Mean difference of pixels and of areas, divergence of the codes in nats, unlikeness to the person."""
        photos, others = (part.to(self.device, torch.float32) / 255 for part in (pairs.photos, pairs.others))
        unit = pairs.unit.to(self.device)
        means, variances = self.reader(photos, others)
        divergence = 0.5 * (means.square() + variances.exp() - 1 - variances).sum(1).mean()
        codes = means + (0.5 * variances).exp() * unit[0]
        maps = self.network.read(photos)
        again = apply_changes(photos, self.network.changes(maps, codes))
        drawn = apply_changes(photos, self.network.changes(maps, unit[1]))
        pixels = (again - others).abs().mean() + _coarsely(again - others).abs().mean()
        with torch.no_grad():
            wanted = torch.cat([self.critic.model.embed(others), self.critic.centres[pairs.people]])
        seen = torch.cat([again, drawn]) + pairs.noise.to(self.device) * (self.recipe.noise_255 / 255)
        found = self.critic.model.embed(seen.clamp(0, 1))
        unlike = 1 - (found * wanted).sum(1).mean()
        return pixels + self.recipe.identity * unlike + self.recipe.divergence * rise * divergence


def _coarsely(images: Tensor) -> Tensor:
    """Means over areas of 8 x 8 pixels: what has moved by more than a few pixels is seen to come nearer."""
    return F.avg_pool2d(images, 8)
