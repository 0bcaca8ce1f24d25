"""k-Same: a face is replaced by the mean of k faces of other people, each of whom it might be."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import whole
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.base import Protector, Scope
from cloakbench.methods.context import Need, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch

_AT_ONCE = 256
"""Auxiliary faces that photos are compared with together."""
_MEANS_AT_ONCE = 16
"""Photos whose means are taken together."""


class KSame(Protector):
    """The mean of the nearest face of each of the k nearest auxiliary people, pixel by pixel.

    Distance is Euclidean between crops. A published photo shows k people in equal shares, so whoever knows all of the
    auxiliary people names one of them with probability 1 / k at best; the photo itself only chose them. Neither its
    owner nor anybody with the very same photo is among them.

    Paper: Newton, Sweeney and Malin, "Preserving Privacy by De-identifying Face Images", IEEE TKDE 2005 (k-Same-Pixel).
    Official settings: k from 2 to 100 on frontal faces of one size (FERET); no code was found.
    Deviations: the k faces are of auxiliary people, one of each, and not of those who publish, as users of a service do
    not have each other's photos; faces are aligned by five points and not by every feature, so that means are ghosts.

    Args:
        k: people in a mean, at least 2.

    Raises:
        SettingError: k is out of range.
    """

    name: ClassVar[str] = "k_same"
    scope: ClassVar[Scope] = "image"
    paper: ClassVar[str] = "Newton, Sweeney and Malin, Preserving Privacy by De-identifying Face Images, TKDE 2005"
    official_settings: ClassVar[str] = "k from 2 to 100, frontal faces"
    deviations: ClassVar[str] = "means of auxiliary people, not of those who publish; aligned by five points"
    needs = frozenset({Need.AUXILIARY})
    max_change_255 = 255.0

    def __init__(self, k: int = 10) -> None:
        self.k = whole("k", k, 2)

    def perturb(self, batch: PhotoBatch, fitted: Any, context: ProtectContext) -> Tensor:
        faces = context.require_auxiliary()
        chosen = self.chosen(batch, faces)
        means = [faces.images[rows].double().mean(dim=1) for rows in chosen.split(_MEANS_AT_ONCE)]
        return torch.cat(means).to(batch.images) / 255

    def chosen(self, batch: PhotoBatch, faces: FaceSet) -> Tensor:
        """Rows ``[N, k]`` of the faces that each photo becomes the mean of, nearest first.

        Raises:
            ValueError: there are fewer than k other people.
        """
        people = faces.rows_by_identity()
        if len(people) - 1 < self.k:  # one of them may be the owner
            raise ValueError(
                f"k_same: {len(people)} auxiliary people are too few for k {self.k}: lower method.k, or set "
                f"dataset.auxiliary_identities to at least {self.k + 1}"
            )
        squares = squared_distances(batch.images, faces.images)
        nearest = [squares[:, rows].min(dim=1) for rows in people.values()]
        distance = torch.stack([found.values for found in nearest], dim=1)
        rows = torch.stack(
            [torch.tensor(own)[found.indices] for own, found in zip(people.values(), nearest, strict=True)], dim=1
        )
        owners = [batch.identities[place] for place in batch.owner.tolist()]
        own = torch.tensor([[owner == person for person in people] for owner in owners])
        distance[own | (distance == 0)] = torch.inf
        return rows.gather(1, distance.argsort(dim=1, stable=True)[:, : self.k])


def squared_distances(photos: Tensor, faces: Tensor) -> Tensor:
    """Squared Euclidean distances ``[N, M]`` in grey levels on the CPU, exact: whole numbers in double precision.

    Args:
        photos: float ``[N, 3, H, W]`` in [0, 1], read as whole grey levels.
        faces: uint8 ``[M, 3, H, W]``.
    """
    ours = (255 * photos).round().flatten(1).double().cpu()
    parts = [part.flatten(1).double() for part in faces.split(_AT_ONCE)]
    cross = torch.cat([ours @ part.T for part in parts], dim=1)
    sizes = torch.cat([part.square().sum(dim=1) for part in parts])
    return ours.square().sum(dim=1, keepdim=True) + sizes - 2 * cross
