"""`Study`: which photos of a run raters see, under which codes, and in which order each of them does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import tensor_digest
from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.report.results import Example, Results

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Rater:
    """Somebody who fills in a sheet.

    Attributes:
        name: of the sheet, not of the person: ``rater_01``.
        group: what kind of people they belong to; may be empty.
        order: places in ``Study.items``, as this rater meets them.
    """

    name: str
    group: str
    order: tuple[int, ...]


@dataclass(frozen=True)
class Study:
    """Sets of photos, each an original and what methods made of it, in an order of their own for every rater.

    Attributes:
        name: digest of the photos, the methods and the draws; answers of another study have another.
        sets: the faces, numbered from 1 in ``items``.
        codes: label of each method to its code, which says nothing about it.
        items: number of a set and code of a method, for every photo that there is.
    """

    name: str
    sets: tuple[Example, ...]
    codes: Mapping[str, str]
    items: tuple[tuple[int, str], ...]

    @classmethod
    def draw(cls, results: Results, sets: int, seed: int) -> Study:
        """Sets at random of the faces that a run shows, and codes at random for its methods.

        Args:
            results: of the run.
            sets: how many faces.
            seed: names the draws.

        Raises:
            ConfigError: the run shows fewer faces.
        """
        there = len(results.examples)
        if sets > there:
            raise ConfigError(
                f"{sets} sets are asked for, and the run {results.name} shows {there} faces: run it again with "
                f"report.examples={sets}, which protects nothing anew, or ask for sets={there}"
            )
        chosen = torch.randperm(there, generator=generator(seed, "survey", "sets"))[:sets].tolist()
        faces = tuple(results.examples[place] for place in chosen)
        labels = sorted({label for face in results.examples for label in face.protected})
        places = torch.randperm(len(labels), generator=generator(seed, "survey", "codes")).tolist()
        codes = {label: _code(place) for label, place in zip(labels, places, strict=True)}
        items = tuple(
            (number, code)
            for number, face in enumerate(faces, start=1)
            for label, code in codes.items()
            if label in face.protected
        )
        return cls(_digest(faces, codes, seed), faces, codes, items)

    @property
    def labels(self) -> dict[str, str]:
        """Code of each method to its label."""
        return {code: label for label, code in self.codes.items()}

    def rater(self, number: int, groups: Sequence[str], seed: int) -> Rater:
        """The rater of a number from 1 on; groups take turns."""
        order = torch.randperm(len(self.items), generator=generator(seed, "survey", "order", number)).tolist()
        group = groups[(number - 1) % len(groups)] if groups else ""
        return Rater(f"rater_{number:02d}", group, tuple(order))

    def code_list(self, seed: int, raters: Sequence[Rater]) -> dict[str, Any]:
        """What turns answers into a table, and what no rater may see."""
        return {
            "study": self.name,
            "sets": len(self.sets),
            "seed": seed,
            "codes": dict(sorted(self.labels.items())),
            "photos": {str(number): face.image_id for number, face in enumerate(self.sets, start=1)},
            "raters": {rater.name: rater.group for rater in raters},
        }


def _code(place: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    more, last = divmod(place, len(_LETTERS))
    return (_code(more - 1) if more else "") + _LETTERS[last]


def _digest(faces: Sequence[Example], codes: Mapping[str, str], seed: int) -> str:
    photos = [
        [
            face.image_id,
            tensor_digest(face.original),
            {label: tensor_digest(one) for label, one in face.protected.items()},
        ]
        for face in faces
    ]
    text = json.dumps([photos, dict(codes), seed], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
