"""Anchors of FaceCloak, equations 2 to 4: whom embeddings move away from, whom towards, and the loss of the two.

D is one minus the cosine, so that no step depends on a constant of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cloakbench.methods.context import CountedNetwork, ProtectContext

Near = Literal["self", "impostor"]
"""``self``: the seed photo's own embedding. ``impostor``: the most similar stranger of the pool."""
Far = Literal["pool", "fixed", "aim"]
"""``pool``: the least similar stranger of the pool. ``fixed``: the first of the pool, for everybody. ``aim``: somebody
chosen beforehand, whom the photo shall be mistaken for."""

LEAST_PEOPLE = 2
"""Of one person alone there is no nearest and farthest."""

_AT_ONCE = 50
_EQUAL = 1e-6
"""Anchors that are nearer than this pull in no direction."""


@dataclass(frozen=True)
class AnchorPair:
    """Two fixed points for each of M masks, ``[M, D]`` for each surrogate."""

    near: tuple[Tensor, ...]
    far: tuple[Tensor, ...]

    def loss(self, surrogate: int, embeddings: Tensor) -> Tensor:
        """Equation 4 added up over embeddings ``[M, k, D]``, so that no mask's gradient depends on the others."""
        near, far = (points[surrogate].unsqueeze(1) for points in (self.near, self.far))
        return anchor_loss(embeddings, near, far).sum()

    def same(self) -> Tensor:
        """Masks whose two anchors are one face, ``[M]``."""
        gaps = [distance(near, far) for near, far in zip(self.near, self.far, strict=True)]
        return torch.stack(gaps).amax(dim=0) < _EQUAL


def distance(one: Tensor, other: Tensor) -> Tensor:
    """D of unit vectors along the last dimension."""
    return 1 - (one * other).sum(dim=-1)


def nearest(distances: Tensor) -> Tensor:
    """Equation 2: of distances ``[M, G]`` to the faces of a pool the place of the least."""
    return distances.argmin(dim=1)


def farthest(distances: Tensor) -> Tensor:
    """Equation 3: of distances ``[M, G]`` to the faces of a pool the place of the largest."""
    return distances.argmax(dim=1)


def anchor_loss(embeddings: Tensor, near: Tensor, far: Tensor) -> Tensor:
    """Equation 4: ``D(f(x'), far) - D(f(x'), near)``, to be minimised."""
    return distance(embeddings, far) - distance(embeddings, near)


@torch.no_grad()
def find_pair(
    seeds: Tensor,
    near: Near,
    far: Far,
    aims: Tensor | None,
    least_people: int,
    name: str,
    context: ProtectContext,
) -> AnchorPair:
    """The anchors of M seed photos ``[M, 3, H, W]``; with several surrogates a stranger's distance is their mean.

    Args:
        seeds: x_u.
        near, far: see `Near` and `Far`.
        aims: photos ``[M, 3, H, W]`` for ``far="aim"``.
        least_people: of the pool.
        name: of the method, for errors.
        context: surrogates, and the auxiliary faces, of whom everybody's first photo is in the pool.

    Raises:
        ValueError: the pool has fewer people.

    Facts: ``anchor_people``, how many there are.
    """
    own = [model.embed(seeds) for model in context.surrogates]
    if near == "self" and aims is not None:
        return AnchorPair(tuple(own), tuple(model.embed(aims) for model in context.surrogates))
    rows = _pool_rows(least_people, name, context)
    context.facts.update(anchor_people=len(rows))
    pool = [_embedded(model, rows, context) for model in context.surrogates]
    pairs = zip(own, pool, strict=True)
    distances = torch.stack([distance(mine.unsqueeze(1), theirs) for mine, theirs in pairs]).mean(dim=0)
    near_points = own if near == "self" else [points[nearest(distances)] for points in pool]
    if aims is not None:
        far_points = [model.embed(aims) for model in context.surrogates]
    else:
        place = torch.zeros_like(farthest(distances)) if far == "fixed" else farthest(distances)
        far_points = [points[place] for points in pool]
    return AnchorPair(tuple(near_points), tuple(far_points))


def _pool_rows(least_people: int, name: str, context: ProtectContext) -> list[int]:
    """The first photo of each auxiliary person."""
    rows = [rows[0] for rows in context.require_auxiliary().rows_by_identity().values()]
    if len(rows) < least_people:
        fewer = f" or set method.least_people={len(rows)}" if len(rows) >= LEAST_PEOPLE else ""
        raise ValueError(
            f"{name}: the auxiliary faces show {len(rows)} people, fewer than the {least_people} that anchors are "
            f"chosen from; give more (dataset.auxiliary_identities){fewer}"
        )
    return rows


def _embedded(model: CountedNetwork, rows: list[int], context: ProtectContext) -> Tensor:
    """Embeddings ``[G, D]`` of auxiliary faces, some at a time: a pool may have hundreds."""
    faces = context.require_auxiliary().images
    parts = torch.tensor(rows).split(_AT_ONCE)
    return torch.cat([model.embed(faces[part].to(context.device).float() / 255) for part in parts])
