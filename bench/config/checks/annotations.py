"""Holds the settings of a part, a block with ``_target_``, against the annotations of what it builds.

So a wrong kind of value is one line for every method, model, transform, data set and protocol, those of other packages
too. A parameter without an annotation takes anything, and so does one whose annotation says nothing of plain values.
Ranges are the constructor's own matter (:mod:`cloakbench.bench.core.ranges`).
"""

from __future__ import annotations

import inspect
import os
import types
from collections import abc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from functools import cache, reduce
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from hydra.utils import get_method

from cloakbench.bench.config.checks.schema import (
    BLOCK,
    BOOL,
    BUDGET,
    MAPPING,
    NAME,
    NULL,
    NUMBER,
    TEXT,
    WHOLE,
    Kind,
    list_of,
    mapping_of,
    one_of,
    row_of,
)
from cloakbench.bench.config.titles import builds_method
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.ranges import GREY_LEVELS
from cloakbench.methods.base import TITLE

_MISSING = "???"
_SIMPLE: Mapping[Any, Kind] = {
    str: TEXT,
    bool: BOOL,
    int: WHOLE,
    float: NUMBER,
    type(None): NULL,
    None: NULL,
    dict: MAPPING,
}
_LISTS = (tuple, list, set, frozenset, abc.Sequence, abc.Collection, abc.Iterable, abc.Set, abc.MutableSequence)
_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)


def check_part(config: Mapping[str, Any], where: str) -> None:
    """Hold a resolved block and the blocks inside it against the annotations of their targets.

    Raises:
        ConfigError: a setting has another kind of value, has none, or does not exist.
    """
    known, kinds, open_ended = _parameters(str(config["_target_"]))
    for name, value in config.items():
        if name.startswith("_"):
            continue
        if known is not None and name not in known and not open_ended:
            raise ConfigError(f"{where} has no setting {name!r}; it has: {', '.join(known) or 'none'}")
        if value == _MISSING:
            raise ConfigError(f"{where}.{name} is not set: {where}.{name}=...")
        kind = kinds.get(name)
        if kind is not None and not kind.accepts(value):
            raise ConfigError(kind.refusal(f"{where}.{name}", value))
        check_inside(value, f"{where}.{name}")


def check_inside(value: Any, where: str) -> None:
    """The same for a value that is such a block, or a mapping or list that holds some."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            check_part(value, where)
        else:
            for name, item in value.items():
                check_inside(item, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            check_inside(item, f"{where}.{place}")


@cache
def _parameters(target: str) -> tuple[tuple[str, ...] | None, Mapping[str, Kind], bool]:
    """Names of a target's parameters, the kinds of those that are annotated, and whether it takes any other name.

    No names where the target cannot be found or looked into: building it will say so.
    """
    try:
        built = get_method(target)
        parameters = inspect.signature(built).parameters
    except Exception:  # importing somebody's module may raise anything
        return None, {}, True
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = tuple(name for name, one in parameters.items() if one.kind in by_name)
    open_ended = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    try:
        hints = get_type_hints(built.__init__ if inspect.isclass(built) else built, include_extras=True)
    except Exception:  # a name that only type checkers can see
        hints = {}
    kinds = {name: kind for name in known if (kind := _kind_of_setting(name, hints.get(name, Any))) is not None}
    if builds_method(target):
        return (*known, TITLE), {**kinds, TITLE: NAME}, open_ended
    return known, kinds, open_ended


def _kind_of_setting(name: str, annotation: Any) -> Kind | None:
    """The kind of a parameter, whose name says the unit: ``_255`` is grey levels, ``epsilon_255`` a budget."""
    kind = kind_of(annotation)
    if name == "epsilon_255":
        return BUDGET | NULL if kind is None or kind.accepts(None) else BUDGET
    if kind is not None and name.endswith("_255") and kind.words.startswith(NUMBER.words):
        return replace(kind, words=kind.words.replace(NUMBER.words, GREY_LEVELS, 1))
    return kind


def kind_of(annotation: Any) -> Kind | None:
    """The kind of plain value that an annotation takes; None if it says nothing of plain values."""
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        kinds = [kind_of(one) for one in arguments]
        return None if None in kinds else reduce(lambda one, other: one | other, filter(None, kinds))
    if origin is Literal:
        return one_of(arguments)
    if origin is Annotated:
        return kind_of(arguments[0])
    return _kind_of_many(annotation, origin, arguments) or _kind_of_class(origin or annotation)


def _kind_of_many(annotation: Any, origin: Any, arguments: Sequence[Any]) -> Kind | None:
    """The kind of lists and mappings; None for other annotations."""
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        return row_of([kind_of(one) for one in arguments])
    if (origin or annotation) in _LISTS:
        return list_of(kind_of(arguments[0]) if arguments else None)
    if (origin or annotation) in _MAPPINGS or is_typeddict(annotation):
        return mapping_of(kind_of(arguments[1]) if len(arguments) == 2 else None)
    return None


def _kind_of_class(one: Any) -> Kind | None:
    """A class of a project, like a function, stands for a block that builds one; Python's own say nothing."""
    if one is abc.Callable:
        return BLOCK
    if not inspect.isclass(one):
        return None
    if issubclass(one, PurePath) or one is os.PathLike:
        return TEXT
    if issubclass(one, Enum) or one.__module__ in ("builtins", "typing", "numbers", "decimal", "fractions", "datetime"):
        return None
    return BLOCK
