"""Configs of methods as parameters of a test: all but the first of each class are slow tests."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

METHODS = Path(__file__).parents[2] / "conf" / "method"


def one_of_each_class(names: Iterable[str]) -> list[Any]:
    """The names; those after the first of a class are other settings of what has been looked at."""
    seen: set[str] = set()
    marked = []
    for name in names:
        target = re.search(r"^_target_: (\S+)$", (METHODS / f"{name}.yaml").read_text(encoding="utf-8"), re.MULTILINE)
        known = target is None or target[1] in seen  # without one it takes that of another file
        marked.append(pytest.param(name, marks=pytest.mark.slow) if known else name)
        seen |= {target[1]} if target else set()
    return marked
