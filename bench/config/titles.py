"""Titles of methods in configs: how reports print a method. No constructor takes one, and no key has one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any, get_type_hints

from hydra.utils import get_method

from cloakbench.methods.base import Protector, without_title


@cache
def builds_method(target: str) -> bool:
    """Whether a ``_target_`` is a class of methods, or a function that says it returns one."""
    try:
        built = get_method(target)
        given = built if inspect.isclass(built) else get_type_hints(built).get("return")
    except Exception:  # importing somebody's module may raise anything; building it will say so
        return False
    return inspect.isclass(given) and issubclass(given, Protector)


def without_titles(value: Any) -> Any:
    """A resolved config without the titles of the methods in it."""
    if isinstance(value, Mapping):
        own = without_title(value) if "_target_" in value and builds_method(str(value["_target_"])) else value
        return {name: without_titles(item) for name, item in own.items()}
    if isinstance(value, list | tuple):
        return [without_titles(item) for item in value]
    return value
