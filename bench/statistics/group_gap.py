"""Groups of photos compared: the largest gap between their means, and how often chance alone makes one as large.

Labels are shuffled and photos stay: among people where everybody has one label, such as complexion, so that the photos
of a person move together; otherwise within each person, such as for glasses or light, so that who is on a photo plays
no part (Ernst 2004, Permutation Methods). The share of shuffles with a gap as large, the observed one among them, is
the p value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloakbench.bench.core.random_streams import stream_seed
from cloakbench.bench.statistics.intervals import Floats

FEWEST_PEOPLE = 5
"""A group of fewer people has no number: it would speak of persons."""
_SHUFFLES = 999
_ROUNDING = 1e-12
"""Gaps closer than this are equal."""


@dataclass(frozen=True)
class Gap:
    """The largest gap between groups; ``highest`` and ``lowest`` are their numbers, ``p`` is not corrected."""

    value: float
    p: float
    highest: int
    lowest: int


def largest_gap(values: Floats, group: NDArray[np.int64], identity: NDArray[np.generic], seed: int) -> Gap | None:
    """The gap between the group with the largest mean and that with the smallest.

    Args:
        values: of each photo, ``[N]``; NaN for a photo without one.
        group: number of its group, ``[N]``; below 0 for a photo that is in none, or in one that does not count.
        identity: the person of each, ``[N]``.
        seed: names the shuffles.

    Returns:
        None where fewer than two groups have a value.
    """
    known = (group >= 0) & ~np.isnan(values)
    values, group = values[known], group[known]
    numbers, place = np.unique(group, return_inverse=True)
    if len(numbers) < 2:
        return None
    _, person = np.unique(np.asarray(identity)[known], return_inverse=True)
    observed = _means(values, place, len(numbers))
    gap = float(observed.max() - observed.min())
    rng = np.random.default_rng(stream_seed(seed, "group gap"))
    shuffle = _shuffled_people if _is_of_people(place, person) else _shuffled_photos
    as_large = 0
    for _ in range(_SHUFFLES):
        means = _means(values, shuffle(place, person, rng), len(numbers))
        as_large += bool(means.max() - means.min() >= gap - _ROUNDING)
    highest, lowest = int(numbers[observed.argmax()]), int(numbers[observed.argmin()])
    return Gap(gap, (1 + as_large) / (1 + _SHUFFLES), highest, lowest)


def _means(values: Floats, place: NDArray[np.int64], groups: int) -> Floats:
    return np.bincount(place, values, groups) / np.bincount(place, minlength=groups)


def _is_of_people(place: NDArray[np.int64], person: NDArray[np.int64]) -> bool:
    """Whether all photos of each person are in one group."""
    return len(np.unique(np.stack([person, place]), axis=1).T) == person.max() + 1


def _shuffled_people(
    place: NDArray[np.int64], person: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Everybody has somebody's label."""
    of_person = np.zeros(person.max() + 1, dtype=np.int64)
    of_person[person] = place
    return rng.permutation(of_person)[person]


def _shuffled_photos(
    place: NDArray[np.int64], person: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Each photo has the label of a photo of the same person."""
    found = np.empty_like(place)
    found[np.argsort(person, kind="stable")] = place[np.lexsort((rng.random(len(place)), person))]
    return found
