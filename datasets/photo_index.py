"""The listings of all roots of a data set as one table, with every person in one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cloakbench.datasets.base import ManifestEntry, Role
from cloakbench.datasets.listing import UNKNOWN, Listing, Place
from cloakbench.datasets.photos import DatasetError
from cloakbench.datasets.splits import Person

_ALONE: tuple[Role, ...] = ("distractor", "auxiliary", "impostor")
"""Roles of people who may play no other."""


@dataclass(frozen=True)
class Catalogue:
    """What may be opened, by row: the photos of the main root, then those of the others.

    Attributes:
        image_id, identity, place: as in a listing.
        role: the role that the publisher or the root fixes, None where the split decides.
        main: the listing of the main root, whose rows come first; labels and points are its own.
        rejected: what the listings refuse, and a line for each person who is in two roots.
    """

    image_id: list[str]
    identity: list[str]
    place: list[Place]
    role: list[Role | None]
    main: Listing
    rejected: list[ManifestEntry]

    def __len__(self) -> int:
        return len(self.image_id)

    @cached_property
    def people(self) -> list[Person]:
        """Everyone, with the rows of their photos.

        Raises:
            DatasetError: the label files give a person two roles that exclude each other.
        """
        free: dict[str, list[int]] = {}
        fixed: dict[str, dict[Role, list[int]]] = {}
        for row, (name, role) in enumerate(zip(self.identity, self.role, strict=True)):
            rows = free.setdefault(name, [])
            if role is None:
                rows.append(row)
            else:
                fixed.setdefault(name, {}).setdefault(role, []).append(row)
        for name, roles in fixed.items():
            if len(roles) > 1 and roles.keys() & set(_ALONE):
                raise DatasetError(f"the data set gives {name} the roles {', '.join(roles)}: correct its label files")
        return [Person(name, rows, fixed.get(name, {})) for name, rows in free.items()]

    def landmarks(self, row: int) -> Tensor | None:
        """Published points of a photo, float64 ``[5, 2]``, where there are any."""
        points = self.main.landmarks
        if points is None or row >= len(self.main) or not np.isfinite(points[row]).all():
            return None
        return torch.from_numpy(np.asarray(points[row], dtype=np.float64))

    def attributes(self, rows: list[int]) -> dict[str, Tensor]:
        """Labels of photos, int64; ``UNKNOWN`` for photos of other roots."""
        index = np.array(rows)
        own = index < len(self.main)
        labels: dict[str, Tensor] = {}
        for name, values in self.main.attributes.items():
            column = np.full(len(rows), UNKNOWN, dtype=np.int64)
            column[own] = values[index[own]]
            labels[name] = torch.from_numpy(column)
        return labels


def build_catalogue(main: Listing, more: Mapping[Role, Listing]) -> Catalogue:
    """Join the listing of the main root and those of more people for one role each.

    A person who is also in an earlier root is left out there, with the status ``identity_clash``, and a photo whose id
    is taken with the status ``duplicate``.
    """
    roles: list[Role | None] = list(main.role) if len(main.role) else [None] * len(main)
    whole = Catalogue(list(main.image_id), list(main.identity), list(main.place), roles, main, list(main.rejected))
    known, ids = set(whole.identity), set(whole.image_id)
    for role, listing in more.items():
        clashes = Counter(name for name in listing.identity if name in known)
        for name, count in sorted(clashes.items()):
            note = f"an earlier root has a person of this name: remove or rename one ({count} photos not used)"
            whole.rejected.append(ManifestEntry(f"{name}/", name, "", "", "identity_clash", note))
        whole.rejected.extend(listing.rejected)
        for image_id, name, place in zip(listing.image_id, listing.identity, listing.place, strict=True):
            if name in known:
                continue
            if image_id in ids:
                note = "an earlier root has a photo of this name: rename one"
                whole.rejected.append(ManifestEntry(image_id, name, "", "", "duplicate", note))
                continue
            whole.image_id.append(image_id)
            whole.identity.append(name)
            whole.place.append(place)
            whole.role.append(role)
        known.update(listing.identity)
        ids.update(listing.image_id)
    return whole
