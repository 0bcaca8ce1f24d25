"""Configs of a group as parameters of a test: all but the first of each class are slow tests."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pytest

CONF = Path(__file__).parents[2] / "conf"


def one_of_each_class(names: Iterable[str], group: str = "method", *, slow: Collection[str] = ()) -> list[Any]:
    """The names; those after the first of a class are other settings of what has been looked at, and slow tests.

    Args:
        names: configs of the group.
        group: folder of ``conf``.
        slow: names that take long, although they are the first of their class.
    """
    return [pytest.param(name, marks=[pytest.mark.slow] if late else []) for name, late in _late(names, group, slow)]


def _late(names: Iterable[str], group: str, slow: Collection[str]) -> Iterable[tuple[str, bool]]:
    seen: set[str] = set()
    for name in names:
        target = re.search(
            r"^_target_: (\S+)$", (CONF / group / f"{name}.yaml").read_text(encoding="utf-8"), re.MULTILINE
        )
        known = target[1] in seen if target else bool(seen)  # without one it takes that of another file
        yield name, known or name in slow
        seen |= {target[1]} if target else set()
