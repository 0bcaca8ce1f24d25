"""Folds of people: whoever judges the photos of some has learnt from those of the others.

People are dealt out in turn, in the order of the publication, so that a fold does not depend on the method whose photos
are judged. Nobody is learnt from and judged by one attacker, under whatever name: see `refuse_shared_photos`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cloakbench.bench.core.errors import ConfigError
from cloakbench.datasets.base import FaceSet


class FoldOverlapError(ValueError):
    """Somebody, or a photo, is both learnt from and judged."""


@dataclass(frozen=True)
class Fold:
    """What one attacker learns from and judges.

    Attributes:
        number: from 0.
        taught: rows that it learns from.
        judged: rows that it judges.
    """

    number: int
    taught: tuple[int, ...]
    judged: tuple[int, ...]


def fold_of(people: Sequence[str], folds: int) -> dict[str, int]:
    """The fold that each of the distinct ``people`` is judged in."""
    return {name: place % folds for place, name in enumerate(people)}


def folds_of(identity: Sequence[str], fold: Mapping[str, int]) -> list[Fold]:
    """The folds of photos that show ``identity``; one in which nobody is judged is left out.

    Raises:
        FoldOverlapError: as `refuse_overlap`.
        ValueError: a fold would learn from fewer than two people.
    """
    found = []
    for number in sorted(set(fold.values())):
        taught = tuple(row for row, name in enumerate(identity) if fold[name] != number)
        judged = tuple(row for row, name in enumerate(identity) if fold[name] == number)
        if not judged:
            continue
        if len({identity[row] for row in taught}) < 2:
            raise ValueError("an attacker learns from fewer than two other people: publish photos of more people")
        refuse_overlap((identity[row] for row in taught), (identity[row] for row in judged))
        found.append(Fold(number, taught, judged))
    return found


def refuse_overlap(taught: Iterable[str], judged: Iterable[str]) -> None:
    """Refuse an attacker who judges what it learnt from.

    Args:
        taught, judged: names of people, or of photos.

    Raises:
        FoldOverlapError: a name is among both.
    """
    if both := sorted(set(taught) & set(judged)):
        raise FoldOverlapError(f"the attacker learns from {both[0]}, which it judges: keep them apart")


def refuse_shared_photos(faces: FaceSet, fold: Mapping[str, int], others: Iterable[FaceSet] = ()) -> None:
    """Refuse people of two folds who share a photo, as somebody does who is listed under two names.

    Args:
        faces: what is published.
        fold: of each person.
        others: more photos of these people that attackers learn from; of anybody else they are not looked at.

    Raises:
        ConfigError: so it is; the message names both photos.
    """
    owners: dict[str, tuple[int, str]] = {}
    for some in (faces, *others):
        for name, identity, digest in zip(some.image_id, some.identity, some.digests(), strict=True):
            if identity not in fold:
                continue
            number, first = owners.setdefault(digest, (fold[identity], name))
            if number != fold[identity]:
                raise ConfigError(
                    f"photos {first} and {name} are one photo of two people: an attacker would learn from whom it "
                    "judges; remove one, or give both one name"
                )
