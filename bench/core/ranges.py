"""Values that a setting may take: the checks that constructors share, in one form of words.

Each check returns the value and raises `SettingError`, which reads ``NAME is VALUE: it must be WORDS``. Who builds a
part from a config puts the part's dotted name in front, so that a user reads the setting as it was typed. A bool is no
number, though Python counts with it.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, TypeVar

GREY_LEVELS = "a number from 0 to 255 in grey levels (8 for 8/255)"
LARGEST_WHOLE = 2**63 - 1
"""What an integer tensor holds."""

T = TypeVar("T")


class SettingError(ValueError):
    """A setting of a part has a value of the wrong kind, or out of range.

    Attributes:
        name: the setting, as the constructor calls it.
        value: what was given.
        must: what it must be, in words.
    """

    def __init__(self, name: str, value: object, must: str) -> None:
        super().__init__(name, value, must)
        self.name, self.value, self.must = name, value, must

    def __str__(self) -> str:
        return f"{self.name} is {shown(self.value)}: it must be {self.must}"


def shown(value: object) -> str:
    """A value as it is typed on a command line: on one line, at most 80 characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        text = f"[{', '.join(map(shown, value))}]"
    else:
        text = " ".join(str(value).split()) or "''"
    return text if len(text) <= 80 else f"{text[:77]}..."


def is_number(value: object) -> bool:
    """Whether a value is a finite number, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: object) -> bool:
    """Whether a value is an integer that fits into 64 bits, and no bool; 2.0 is not one."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_WHOLE


def is_grey_levels(value: Any) -> bool:
    """Whether a value is a number from 0 to 255."""
    return is_number(value) and 0 <= value <= 255


def grey_levels(name: str, value: float) -> float:
    """A budget, or another distance in grey levels."""
    return _held(name, value, is_grey_levels(value), GREY_LEVELS)


def grey_step(name: str, value: float) -> float:
    """A step in grey levels, which must lead somewhere."""
    return _held(name, value, is_grey_levels(value) and value > 0, "a number above 0, up to 255, in grey levels")


def whole(name: str, value: int, least: int = 1) -> int:
    """A count."""
    return _held(name, value, is_whole(value) and value >= least, f"a whole number of at least {least}")


def odd(name: str, value: int) -> int:
    """The size of something with a middle."""
    return _held(name, value, is_whole(value) and value >= 1 and value % 2 == 1, "an odd whole number of at least 1")


def number(name: str, value: float) -> float:
    """A finite number."""
    return _held(name, value, is_number(value), "a finite number")


def positive(name: str, value: float) -> float:
    """A finite number above zero."""
    return _held(name, value, is_number(value) and value > 0, "a finite number above 0")


def at_least(name: str, value: float, least: float = 0) -> float:
    """A finite number that is not below ``least``."""
    return _held(name, value, is_number(value) and value >= least, f"a finite number of at least {least:g}")


def share(name: str, value: float) -> float:
    """A number in [0, 1]."""
    return _held(name, value, is_number(value) and 0 <= value <= 1, "a number from 0 to 1")


def share_below_one(name: str, value: float) -> float:
    """A number in [0, 1)."""
    return _held(name, value, is_number(value) and 0 <= value < 1, "a number from 0 to below 1")


def one_of(name: str, value: T, options: Collection[T]) -> T:
    """One of a few words."""
    return _held(name, value, value in options, "one of " + ", ".join(map(str, options)))


def _held(name: str, value: T, holds: bool, must: str) -> T:
    if not holds:
        raise SettingError(name, value, must)
    return value
