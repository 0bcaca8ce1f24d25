"""Labels: keys that mean the same in every run, the order of methods, and budgets as printed."""

from __future__ import annotations

import re
from collections.abc import Iterable

CLEAN = "identity"
RANDOM_SIGN = "random_sign"
CONTROLS = (CLEAN, RANDOM_SIGN)
UNTRANSFORMED = "none"
VARIANT = ", "
"""Between a method's key and the settings that make a variant of it: ``pgd, steps 2``."""


def method_order(keys: Iterable[str], known: Iterable[str]) -> list[str]:
    """Unique method keys: controls, then the others in the order of the experiment, then by name; variants by numbers.

    Args:
        keys: of methods and variants.
        known: every key of the run, in the order of the experiment.
    """
    bases = (key.partition(VARIANT)[0] for key in (*CONTROLS, *known))
    rank = {base: position for position, base in enumerate(dict.fromkeys(bases))}

    def place(key: str) -> tuple[int, str, list[tuple[float, str]], str]:
        method, _, settings = key.partition(VARIANT)
        numbers = re.split(r"(-?\d+(?:\.\d+)?)", settings)
        parts = [(float(part), "") if position % 2 else (0.0, part) for position, part in enumerate(numbers)]
        return rank.get(method, len(rank)), method, parts, key

    return sorted(set(keys), key=place)


def budget_name(epsilon_255: float | None) -> str:
    """``8/255``, or ``no budget``."""
    return "no budget" if epsilon_255 is None else f"{epsilon_255:g}/255"
