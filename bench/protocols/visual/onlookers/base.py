"""`Onlooker`: somebody who has published photos of people and not their keys, and wants to know who they are.

Everything but the key is known to them: the method with its settings, and clean photos of people. What they find is
searched in a gallery of clean photos of the same people that they do not hold, and of the distractors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from cloakbench.bench.core.ranges import SettingError, is_whole
from cloakbench.bench.core.status import OK
from cloakbench.datasets.base import Role


class Onlooker(ABC):
    """One attacker. A subclass takes its settings in ``__init__`` and is built from ``conf/onlooker/NAME.yaml``.

    Attributes:
        title: as tables call it.
        holds: what it has so many of, as tables say it.
        photos: how many it has, one rate for each number.
    """

    title: ClassVar[str]
    holds: ClassVar[str] = "published photos of a person"
    photos: tuple[int, ...] = (1,)

    def needed(self, count: int) -> int:
        """Published photos of a person, the one that is looked at among them, without which nothing can be done."""
        return count


@dataclass(frozen=True)
class Sight:
    """What an onlooker sees of some people.

    Attributes:
        published: their photos in [0, 1], ``[N, 3, H, W]``.
        originals: the same before protection; only those of other photos than the one that is looked at may be used.
        stranger: the mean photo of people in the gallery, ``[3, H, W]``.
        blend_share: share of the photo in what is published, in (0, 1]; a setting of the method, no key.
    """

    published: Tensor
    originals: Tensor
    stranger: Tensor
    blend_share: float


class Opener(Onlooker):
    """An onlooker who makes a picture of each photo, which recognisers and eyes then look at."""

    leaves_photos: ClassVar[bool] = False
    """Whether the picture is the published photo itself."""

    @abstractmethod
    def open(self, sight: Sight, row: int, others: Sequence[int]) -> Tensor:
        """The picture of a photo, ``[3, H, W]``; values outside [0, 1] are cut off.

        Args:
            sight: everything that is seen.
            row: of the photo.
            others: rows of the other photos of the same person that are held.
        """


class Describer(Onlooker):
    """An onlooker who is no recogniser: describes pictures by a fixed rule and compares the descriptions."""

    length: int
    """Of a description."""

    @abstractmethod
    def describe(self, images: Tensor) -> Tensor:
        """Unit vectors ``[N, length]`` of uint8 photos ``[N, 3, H, W]``, each of its photo alone."""

    def view(self, image: Tensor) -> Tensor | None:
        """What it sees of a uint8 photo ``[3, H, W]``, for figures, uint8 of that shape. Default: nothing to show."""
        return None


def numbers(name: str, values: Any, least: int = 1) -> tuple[int, ...]:
    """Numbers of photos that are held, ascending.

    Raises:
        SettingError: there is none, one stands twice, is no whole number or below ``least``.
    """
    given = list(values) if isinstance(values, Sequence) and not isinstance(values, str) else []
    if not given or not all(is_whole(one) and one >= least for one in given) or len(set(given)) < len(given):
        raise SettingError(name, values, f"a list of whole numbers of at least {least}, each once")
    return tuple(sorted(given))


def held(identity: Sequence[str], roles: Sequence[Role], status: Sequence[str], count: int) -> list[list[int]]:
    """For each photo the rows of those that are held with it, itself first; none where there are fewer than ``count``.

    They are of the same person and role and were protected; behind the photo in the order of the faces, and from the
    first on after the last.
    """
    albums: dict[tuple[str, Role], list[int]] = {}
    for row, state in enumerate(status):
        if state == OK:
            albums.setdefault((identity[row], roles[row]), []).append(row)
    found: list[list[int]] = [[] for _ in identity]
    for album in albums.values():
        for place, row in enumerate(album):
            if len(album) >= count:
                found[row] = [album[(place + turn) % len(album)] for turn in range(count)]
    return found
