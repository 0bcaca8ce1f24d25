"""Pairs of photos that show one person or two, with the faces in them: from a list, or drawn from a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.status import OK
from cloakbench.bench.recognisers.pair_rates import FOLDS, ScoredPairs, folds_by_order, people_of_pairs
from cloakbench.datasets.base import FaceSet

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelledPairs:
    """P pairs over N distinct photos, of which K show a usable face.

    Attributes:
        photo: names of the photos, N.
        status: ``ok``, or why a photo has no face, N.
        note: what to do about it, N.
        images: uint8 ``[K, 3, H, W]``, the faces of the photos that are ``ok``, in order.
        left, right: the photos of each pair, as places in ``photo``, ``[P]``.
        same: whether they show one person, ``[P]``.
        fold: the fold of each pair, ``[P]``.
        left_person, right_person: the people, as integers, ``[P]``.
        how: where the pairs and their folds come from, for the reader of a result.
        left_out: pairs of the list that are not among the P, as ``(photo, photo, same, why)``.
    """

    photo: tuple[str, ...]
    status: tuple[str, ...]
    note: tuple[str, ...]
    images: Tensor
    left: Ints
    right: Ints
    same: Bools
    fold: Ints
    left_person: Ints
    right_person: Ints
    how: str
    left_out: tuple[tuple[str, str, bool, str], ...] = ()

    def scored(self, embeddings: Tensor) -> ScoredPairs:
        """The pairs with the cosines of ``embeddings`` ``[K, D]``; NaN where a photo has no face or no embedding."""
        usable = np.array([status == OK for status in self.status])
        whole = torch.full((len(self.photo), embeddings.shape[1]), torch.nan, dtype=torch.float64)
        whole[torch.from_numpy(usable)] = embeddings.double()
        score = (whole[torch.from_numpy(self.left)] * whole[torch.from_numpy(self.right)]).sum(dim=1).numpy()
        score[~np.isfinite(score)] = np.nan
        return ScoredPairs(score, self.same, self.fold, self.left_person, self.right_person)


def listed_pairs(
    left: Sequence[str],
    right: Sequence[str],
    same: Bools,
    fold: Ints,
    faces: Mapping[str, tuple[str, str, Tensor | None]],
    how: str,
) -> LabelledPairs:
    """Pairs of a list. ``faces`` gives status, note and image of every photo named.

    A list with a single fold gets ten by its order (`cloakbench.bench.recognisers.pair_rates.folds_by_order`).

    Raises:
        ValueError: no photo shows a usable face.
    """
    photo = tuple(faces)
    images = [image for status, _, image in faces.values() if status == OK and image is not None]
    if not images:
        status, note, _ = next(iter(faces.values()))
        raise ValueError(f"none of the {len(photo)} photos of the list can be used: {photo[0]}: {status}: {note}")
    place = {name: row for row, name in enumerate(photo)}
    own = len(np.unique(fold)) > 1
    people = people_of_pairs(left, right, same)
    return LabelledPairs(
        photo=photo,
        status=tuple(status for status, _, _ in faces.values()),
        note=tuple(note for _, note, _ in faces.values()),
        images=torch.stack(images),
        left=np.array([place[name] for name in left]),
        right=np.array([place[name] for name in right]),
        same=same,
        fold=fold if own else folds_by_order(same),
        left_person=people[0],
        right_person=people[1],
        how=f"{how}, " + ("the list's folds" if own else f"{FOLDS} folds by order"),
    )


def drawn_pairs(faces: FaceSet, per_fold: int, seed: int) -> LabelledPairs:
    """Pairs drawn from faces: ten folds without a person in common, in each as many same-person as different-person
    pairs, ``per_fold`` or as many as there are.

    Raises:
        ValueError: under 20 people with two photos.
    """
    names = faces.identities()
    person = faces.labels()
    several = (person.bincount(minlength=len(names)) > 1).nonzero()[:, 0]
    if len(several) < 2 * FOLDS:
        raise ValueError(f"{len(several)} people with two photos: pairs in {FOLDS} folds need {2 * FOLDS}; name a list")
    order = several[torch.randperm(len(several), generator=generator(seed, "pair folds"))]
    rows = []
    for number in range(FOLDS):
        members = torch.isin(person, order[number::FOLDS]).nonzero()[:, 0]
        pairs = members[torch.combinations(torch.arange(len(members)))]
        same = person[pairs[:, 0]] == person[pairs[:, 1]]
        count = min(per_fold, int(same.sum()), int((~same).sum()))
        for kind in (same, ~same):
            chosen = torch.randperm(int(kind.sum()), generator=generator(seed, "pairs", number, bool(kind is same)))
            rows.append((pairs[kind][chosen[:count]], kind is same, number))
    left, right = torch.cat([pairs for pairs, _, _ in rows]).T.numpy()
    whose = person.numpy()
    return LabelledPairs(
        photo=faces.image_id,
        status=(OK,) * len(faces),
        note=("",) * len(faces),
        images=faces.images,
        left=left,
        right=right,
        same=np.concatenate([np.full(len(pairs), same) for pairs, same, _ in rows]),
        fold=np.concatenate([np.full(len(pairs), number) for pairs, _, number in rows]),
        left_person=whose[left],
        right_person=whose[right],
        how=f"drawn from the probes (seed {seed}), {FOLDS} folds without a person in common",
    )
