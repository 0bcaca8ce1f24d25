"""`BudgetSize` and variants: what sets rows of one method apart, as settings, frames and texts have it.

A *variant* is a method under other settings than its own. Its text names them in one order and one spelling, as in
``decay=0.5, steps=10``; it is empty for the method as it was composed. A row is called by both: ``pgd (steps=10)``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_ROW = re.compile(r"(.+?) \(([^=()]+=.*)\)")
_PLAIN = re.compile(r"[^\s\[\]{}\",=]+( [^\s\[\]{}\",=]+)*")
"""Texts that stand in a variant as they are."""
_NUMBERS = re.compile(r"(-?\d+(?:\.\d+)?(?:e-?\d+)?)")


@dataclass(frozen=True)
class BudgetSize:
    """How far a method may go in grey levels; None for a method that runs without a budget.

    It is true where there is a budget, be it 0. No budget comes before every budget.
    """

    epsilon_255: float | None = None

    @classmethod
    def of(cls, value: Any) -> BudgetSize:
        """From a setting, or a cell of a frame or file: null, NaN and an empty text are no budget."""
        number = math.nan if value is None or value == "" else float(value)
        return NO_BUDGET if math.isnan(number) else cls(number)

    def __bool__(self) -> bool:
        return self.epsilon_255 is not None

    def __lt__(self, other: BudgetSize) -> bool:
        return self._place < other._place

    @property
    def number(self) -> float:
        """As a column of numbers has it: NaN for no budget."""
        return math.nan if self.epsilon_255 is None else self.epsilon_255

    @property
    def text(self) -> str:
        """In a column of grey levels: ``8``, or a dash."""
        return "–" if self.epsilon_255 is None else f"{self.epsilon_255:g}"

    @property
    def title(self) -> str:
        """``8/255``, or ``no budget``."""
        return "no budget" if self.epsilon_255 is None else f"{self.epsilon_255:g}/255"

    @property
    def _place(self) -> float:
        return -1.0 if self.epsilon_255 is None else self.epsilon_255


NO_BUDGET = BudgetSize()


def variant_text(settings: Mapping[str, Any]) -> str:
    """Settings as the text of a variant; `variant_settings` gives them back."""
    return ", ".join(f"{name}={value_text(settings[name])}" for name in sorted(settings))


def variant_settings(text: str) -> dict[str, Any]:
    """Setting to value of the text of a variant; nothing for the method as composed."""
    pairs = (part.partition("=") for part in text.split(", ") if part)
    return {name: _value(value) for name, _, value in pairs}


def read_variant(text: str) -> str:
    """The text of a variant in its one spelling.

    Raises:
        ValueError: it is none.
    """
    if text and not all("=" in part for part in text.split(", ")):
        raise ValueError(f"variant is {text!r}: write settings as in decay=0.5, steps=2")
    return variant_text(variant_settings(text))


def value_text(value: Any) -> str:
    """A setting's value in one spelling: 1 and 1.0 are one, words stand without quotes, all else is JSON."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and _value(value) == value:
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return json.dumps(value, separators=(",", ":"), sort_keys=True, default=str).replace(", ", ",\\u0020")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def row_name(method: str, variant: str) -> str:
    """What rows of a method, or of a variant of it, are called: ``pgd`` or ``pgd (steps=10)``."""
    return f"{method} ({variant})" if variant else method


def split_row_name(name: str) -> tuple[str, str]:
    """Method and variant of the name of a row."""
    found = _ROW.fullmatch(name)
    return (found[1], found[2]) if found else (name, "")


def in_order(variants: Iterable[str]) -> list[str]:
    """Unique texts of variants, the method as composed first, numbers in them by size."""

    def place(text: str) -> list[tuple[float, str]]:
        parts = _NUMBERS.split(text)
        return [(float(part), "") if number % 2 else (0.0, part) for number, part in enumerate(parts)]

    return sorted(set(variants), key=lambda text: (place(text) if text else [], text))
