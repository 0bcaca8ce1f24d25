"""`Thirds`: auxiliary people in three parts that share nobody: for a method, for its purifier, for attackers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch

from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.base import FaceSet

Part = Literal["method", "purifier", "attackers"]


@dataclass(frozen=True)
class Thirds:
    """Who teaches whom.

    Attributes:
        method: people that a method learns from.
        purifier: people that the purifier inside a method learns from.
        attackers: people whose photos attackers learn to clean.

    Raises:
        ValueError: somebody is in two parts, so that an attacker would know what it should not.
    """

    method: tuple[str, ...]
    purifier: tuple[str, ...]
    attackers: tuple[str, ...]

    def __post_init__(self) -> None:
        parts: dict[Part, tuple[str, ...]] = {
            "method": self.method,
            "purifier": self.purifier,
            "attackers": self.attackers,
        }
        for (one, people), (other, more) in combinations(parts.items(), 2):
            if both := sorted(set(people) & set(more)):
                raise ValueError(
                    f"{both[0]} is among the people of both {one} and {other}, who must share nobody: divide auxiliary "
                    "people with cloakbench.datasets.thirds.thirds"
                )

    def of(self, part: Part) -> tuple[str, ...]:
        """The people of one part."""
        return getattr(self, part)


def thirds(identities: Iterable[str], seed: int) -> Thirds:
    """People divided by chance into three parts whose sizes differ by one at most.

    A function of the set of people and the seed: the order in which people are named, and how often, changes nothing.

    Args:
        identities: names of people.
        seed: of the run.

    Raises:
        ValueError: there are fewer than three people.
    """
    people = sorted(set(identities))
    if len(people) < 3:
        raise ValueError(
            f"{len(people)} auxiliary people cannot be divided among a method, its purifier and attackers: set "
            "dataset.auxiliary_identities to at least 3"
        )
    order = torch.randperm(len(people), generator=generator(seed, "thirds")).tolist()
    return Thirds(*(tuple(people[place] for place in sorted(order[start::3])) for start in range(3)))


def faces_of(faces: FaceSet, part: Part, seed: int) -> FaceSet:
    """The faces of one part of the people, in their order.

    Raises:
        ValueError: as `thirds`.
    """
    people = set(thirds(faces.identity, seed).of(part))
    return faces.select([row for row, identity in enumerate(faces.identity) if identity in people])
