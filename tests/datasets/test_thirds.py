"""People in three parts that share nobody."""

from __future__ import annotations

import pytest
import torch

from cloakbench.datasets.base import FaceSet
from cloakbench.datasets.thirds import Thirds, faces_of, thirds

PEOPLE = [f"person{number}" for number in range(20)]


def test_everybody_is_in_exactly_one_part_and_parts_are_about_as_large() -> None:
    parts = thirds(PEOPLE, seed=0)
    everyone = [*parts.method, *parts.purifier, *parts.attackers]
    assert sorted(everyone) == sorted(PEOPLE)
    sizes = [len(parts.of(part)) for part in ("method", "purifier", "attackers")]
    assert max(sizes) - min(sizes) <= 1


def test_the_parts_are_a_function_of_the_people_and_the_seed() -> None:
    assert thirds(PEOPLE, 0) == thirds([*reversed(PEOPLE), *PEOPLE[:5]], 0)
    assert thirds(PEOPLE, 0) != thirds(PEOPLE, 1)


def test_somebody_planted_in_two_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="ben is among the people of both purifier and attackers, who must share"):
        Thirds(("ada",), ("ben", "cleo"), ("dora", "ben"))


def test_too_few_people_are_one_line() -> None:
    with pytest.raises(ValueError, match="2 auxiliary people cannot be divided") as problem:
        thirds(["ada", "ben", "ada"], 0)
    assert "\n" not in str(problem.value)


def test_faces_of_a_part_are_all_of_its_people_and_of_nobody_else() -> None:
    names = [person for person in PEOPLE for _ in range(2)]
    faces = FaceSet(torch.zeros(40, 3, 8, 8, dtype=torch.uint8), tuple(map(str, range(40))), tuple(names))
    parts = [faces_of(faces, part, 3) for part in ("method", "purifier", "attackers")]
    assert sum(map(len, parts)) == 40
    assert parts[0].identities() == tuple(name for name in PEOPLE if name in thirds(PEOPLE, 3).method)
