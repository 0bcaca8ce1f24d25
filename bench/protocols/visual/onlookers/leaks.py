"""Leaks of a veil that all photos of a person share: what several photos tell that one does not.

A blend publishes ``x' = a x + (1 - a) v`` with one v for all photos of a person, so that two photos cancel the veil,
``x'_1 - x'_2 = a (x_1 - x_2)``; the mean of many is ``a mean(x) + (1 - a) v``; and one photo that is known as it was
gives the veil itself, ``v = (x' - a x) / (1 - a)``, which opens all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from torch import Tensor

from cloakbench.bench.protocols.visual.onlookers.base import Opener, Sight, numbers


class Published(Opener):
    """A recogniser that looks at the photo as it was published. Those that are not the surrogate are the plainest
    attackers of all."""

    title: ClassVar[str] = "Recogniser"
    leaves_photos: ClassVar[bool] = True

    def open(self, sight: Sight, row: int, others: Sequence[int]) -> Tensor:
        return sight.published[row]


class PhotoDifference(Opener):
    """Two photos of a person: their difference over the share of the photo, put onto the mean face of strangers."""

    title: ClassVar[str] = "Difference of two"
    photos: tuple[int, ...] = (2,)

    def open(self, sight: Sight, row: int, others: Sequence[int]) -> Tensor:
        return sight.stranger + (sight.published[row] - sight.published[others[0]]) / sight.blend_share


class MeanPhoto(Opener):
    """The mean of a person's photos: if their mean face were that of strangers, what is left of the mean is the veil.

    Of two photos it is `PhotoDifference` at half the contrast.

    Args:
        photos: how many photos the mean is of, each at least 2.
    """

    title: ClassVar[str] = "Mean of many"

    def __init__(self, photos: Iterable[int] = (5, 10)) -> None:
        self.photos = numbers("photos", photos, 2)

    def open(self, sight: Sight, row: int, others: Sequence[int]) -> Tensor:
        mean = sight.published[[row, *others]].mean(dim=0)
        return sight.stranger + (sight.published[row] - mean) / sight.blend_share


class KnownPairs(Opener):
    """Other photos of the person that the attacker has both as they were and as they were published.

    Each pair gives the veil, and with it the photo that is looked at; several take rounding out of their mean.

    Args:
        photos: how many pairs are known, each at least 1.
    """

    title: ClassVar[str] = "Known pairs"
    holds: ClassVar[str] = "other photos of a person, original and published"

    def __init__(self, photos: Iterable[int] = (1, 5)) -> None:
        self.photos = numbers("photos", photos)

    def needed(self, count: int) -> int:
        return count + 1

    def open(self, sight: Sight, row: int, others: Sequence[int]) -> Tensor:
        known, published = (photos[list(others)].mean(dim=0) for photos in (sight.originals, sight.published))
        return known + (sight.published[row] - published) / sight.blend_share
