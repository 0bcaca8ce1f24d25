"""Objectives of attacks on one photo: what its embedding is pushed away from or towards, and the gradient of that.

Attributes are an objective, too, with its own part (`cloakbench.methods.parts.attributes.own_answers`).

Embeddings are unit vectors, so squared distance, its mean over dimensions and cosine differ by constants that a `sign`
step does not see. Squared distance is used: its gradient at the anchor itself is exactly zero, where the cosine's
would be rounding noise that `sign` blows up to a full step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.methods.context import CountedNetwork, MissingNeedError, Need, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch

EmbeddingObjective = Literal["own", "reference", "own_and_reference", "aim"]
"""``own``: away from the photo's own clean embedding. ``reference``: away from the mean embedding of other photos of
the person, which has the gradient of the mean distance to each of them. ``own_and_reference``: away from the sum of the
two, at unit length. ``aim``: towards somebody else's photo."""

Objective = Literal["own", "reference", "own_and_reference", "aim", "attributes", "attributes_l1"]
"""Those of embeddings, and ``attributes``: away from what attribute surrogates answer about the clean photo, by the
mean cross-entropy of all attributes. ``attributes_l1``: each attribute's gradient divided by its L1 norm first."""

NEEDS: dict[str, frozenset[Need]] = {
    "own": frozenset({Need.SURROGATES}),
    "reference": frozenset({Need.SURROGATES, Need.REFERENCES}),
    "own_and_reference": frozenset({Need.SURROGATES, Need.REFERENCES}),
    "aim": frozenset({Need.SURROGATES, Need.AIM}),
    "attributes": frozenset({Need.ATTRIBUTE_SURROGATES}),
    "attributes_l1": frozenset({Need.ATTRIBUTE_SURROGATES}),
}
"""What each objective needs of networks and photos."""


@dataclass(frozen=True)
class Anchors:
    """Fixed points in embedding space, ``[N, D]`` for each surrogate, and whether photos go towards them."""

    points: tuple[Tensor, ...]
    towards: bool

    def loss(self, surrogate: int, embeddings: Tensor) -> Tensor:
        """To be minimised: the sum over photos, so that no photo's gradient depends on how many there are."""
        distance = (embeddings - self.points[surrogate]).square().sum()
        return distance if self.towards else -distance


@torch.no_grad()
def find_anchors(objective: EmbeddingObjective, batch: PhotoBatch, context: ProtectContext) -> Anchors:
    """Embed the clean photos an objective looks at, once, without a graph."""
    if objective == "aim":
        points = [model.embed(batch.require_aim_photos())[batch.owner] for model in context.surrogates]
    elif objective == "own":
        points = [model.embed(batch.images) for model in context.surrogates]
    else:
        references = batch.require_references()
        photos, shape = references.flatten(0, 1), references.shape[:2]
        points = [model.embed(photos).unflatten(0, shape).mean(dim=1)[batch.owner] for model in context.surrogates]
    if objective == "own_and_reference":
        own = [model.embed(batch.images) for model in context.surrogates]
        points = [F.normalize(one + other, dim=1) for one, other in zip(own, points, strict=True)]
    return Anchors(tuple(points), towards=objective == "aim")


def input_gradient(
    photos: Tensor,
    surrogates: Sequence[CountedNetwork],
    loss: Callable[[int, Tensor], Tensor],
    transform: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Gradient in the photos of the mean over surrogates of ``loss(surrogate index, embeddings)``.

    One forward and one backward pass per surrogate, one graph alive at a time.

    Args:
        photos: ``[N, 3, H, W]``; not changed, and safe to change in place afterwards.
        surrogates: whose losses are averaged.
        loss: scalar of the embeddings ``[N, D]``.
        transform: differentiable, applied to the photos before every surrogate.

    Raises:
        MissingNeedError: a surrogate gives no gradient.
    """
    leaf = photos.detach().requires_grad_()
    gradients = (_gradient(leaf, index, model, loss, transform) for index, model in enumerate(surrogates))
    total = reduce(torch.add, gradients)
    return total if len(surrogates) == 1 else total / len(surrogates)


def _gradient(
    leaf: Tensor,
    index: int,
    model: CountedNetwork,
    loss: Callable[[int, Tensor], Tensor],
    transform: Callable[[Tensor], Tensor] | None,
) -> Tensor:
    embeddings = model.embed(leaf if transform is None else transform(leaf))
    if not embeddings.requires_grad:
        name = getattr(getattr(model.model, "card", None), "name", f"surrogate {index + 1}")
        raise MissingNeedError(f"{name} gives no gradient: choose a surrogate whose embed is differentiable")
    return torch.autograd.grad(loss(index, embeddings), leaf)[0]


def unit_mean(gradient: Tensor, axes: tuple[int, ...] = (1, 2, 3)) -> Tensor:
    """A gradient over its mean size along ``axes``, by default for each photo of ``[N, 3, H, W]``; zero stays zero.

    Where papers divide by the L1 norm, this is the same up to a constant, which no sign notices, and keeps the numbers
    near one.
    """
    return gradient / mean_size(gradient, axes)


def mean_size(gradient: Tensor, axes: tuple[int, ...] = (1, 2, 3)) -> Tensor:
    """What `unit_mean` divides by, along ``axes`` that are kept: the mean size, or one for a gradient of zeros."""
    size = gradient.abs().mean(dim=axes, keepdim=True)
    return torch.where(size > 0, size, 1.0)
