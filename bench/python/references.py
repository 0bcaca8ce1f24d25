"""References in memory: photos of each person, points on them, and other pictures made of the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cloakbench.bench.config.networks import build_generator
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import tensor_digest
from cloakbench.bench.engine.views import make_views, view_inputs
from cloakbench.bench.engine.worker import to_float
from cloakbench.bench.plan.plan import check_views
from cloakbench.bench.python.composing import compose_part
from cloakbench.bench.python.pictures import as_photos
from cloakbench.methods.base import Protector
from cloakbench.methods.context import Need
from cloakbench.models.generators import Generator

_OF_REFERENCES = frozenset({Need.REFERENCES, Need.REFERENCE_LANDMARKS, Need.GENERATOR})
"""Needs that photos of a person meet, by themselves or through what is made of them."""


def given_references(protector: Protector, references: Any, owners: Sequence[str]) -> dict[str, Tensor]:
    """Person to photos, uint8 ``[R, 3, H, W]``; nothing where the method asks for none."""
    if not protector.needs & _OF_REFERENCES:
        return {}
    if references is None:
        raise ConfigError(f"{protector.name} needs other photos of each person: give them with references=...")
    several = isinstance(references, Mapping)
    if not several and len(set(owners)) > 1:
        raise ConfigError("references must be a mapping from person to photos where people names several")
    of_people = references if several else dict.fromkeys(owners, references)
    if missing := [person for person in dict.fromkeys(owners) if person not in of_people]:
        raise ConfigError(f"references has no photos of {missing[0]}: give some for everybody in people")
    found = {person: as_photos(of_people[person], "references")[0] for person in dict.fromkeys(owners)}
    if len({len(some) for some in found.values()}) > 1:
        raise ConfigError("references must hold equally many photos of each person: leave some out")
    return found


def given_landmarks(protector: Protector, given: Any, references: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Person to points ``[R, 5, 2]`` on their references; nothing where the method asks for none."""
    if Need.REFERENCE_LANDMARKS not in protector.needs:
        return {}
    if given is None:
        raise ConfigError(
            f"{protector.name} needs five points of the face on each reference: give them with reference_landmarks=..."
        )
    of_people = given if isinstance(given, Mapping) else dict.fromkeys(references, given)
    points = {}
    for person, photos in references.items():
        points[person] = torch.as_tensor(of_people.get(person, ()), dtype=torch.float32)
        if points[person].shape != (len(photos), 5, 2):
            raise ConfigError(
                f"reference_landmarks of {person} are {tuple(points[person].shape)}: give five points (x, y) for each "
                f"of {len(photos)} references"
            )
    return points


def given_generator(protector: Protector, given: str | Generator | None, folders: list[str]) -> Generator | None:
    """What makes other pictures of people; None where the method needs none."""
    if Need.GENERATOR not in protector.needs:
        return None
    check_views(protector, protector.name, chosen=given is not None)
    built = build_generator(compose_part("generator", given, {}, folders)) if isinstance(given, str) else given
    if not isinstance(built, Generator):
        raise ConfigError(f"generator is a {type(given).__name__}: give the name of a generator, or a Generator")
    return built


def views_of_people(
    protector: Protector, generator: Generator | None, references: Mapping[str, Tensor], seed: int, device: torch.device
) -> dict[str, Tensor]:
    """Person to other pictures in [0, 1], ``[K, 3, H, W]``, of the first reference; nothing without a generator."""
    if generator is None:
        return {}
    generator, made = generator.to(device), {}
    for person, photos in references.items():
        asked = view_inputs("", protector.view_count, tensor_digest(photos[:1]), seed)
        made[person] = to_float(make_views(generator, photos[0], asked, device).images, device)
    return made
