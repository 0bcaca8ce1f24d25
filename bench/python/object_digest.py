"""Digest of an object: the code of its classes and everything that its attributes hold, tensors included."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Mapping
from enum import Enum
from operator import attrgetter
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cloakbench.bench.core.code_digests import code_digest, module_of, portable_target
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import content_key, tensor_digest

_BY_NAME = (PurePath, torch.device, torch.dtype, torch.layout, torch.memory_format)


def object_digest(value: Any, where: str) -> str:
    """A digest that two objects share only if they are made of the same code and hold the same.

    Args:
        value: such as a network.
        where: what a message calls it.

    Raises:
        ConfigError: it holds something that has no digest, such as a lambda; one line saying what to write instead.
    """
    walk = _ObjectWalk()
    content = walk.content(value, where)
    return content_key("object", {"content": content, "code": code_digest(*sorted(walk.modules))})


def importable_path(thing: Any, where: str) -> str:
    """The dotted path under which any process finds a class or function.

    Raises:
        ConfigError: it has none: it was made inside a function, or in a notebook or script.
    """
    module, name = str(getattr(thing, "__module__", "")), str(getattr(thing, "__qualname__", ""))
    try:
        found = attrgetter(name)(sys.modules[module]) if module != "__main__" else None
    except (AttributeError, KeyError):
        found = None
    if found is not thing or not name:
        label = name or type(thing).__name__
        raise ConfigError(
            f"{where}: {label} cannot be imported from {module or 'anywhere'} by other processes, nor its code be "
            "named in keys: define it at the top of a module file and import it from there"
        )
    return f"{module}.{name}"


class _ObjectWalk:
    """One walk through an object; remembers where it has been, and which modules the code lies in."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no id is given twice

    def content(self, value: Any, where: str) -> Any:
        """What a value is and holds, as plain JSON."""
        if isinstance(value, Enum):
            return [self._code(type(value), where), value.name]
        if (simple := _simple(value)) is not None:
            return simple
        if id(value) in self._seen:
            return ["again", self._seen[id(value)]]
        self._seen[id(value)] = len(self._seen)
        self._kept.append(value)
        found = self._many(value, where) or self._callable(value, where)
        if found is not None:
            return found
        if not hasattr(value, "__dict__"):
            raise ConfigError(
                f"{where} is a {type(value).__name__}, of which no key can say what it holds: keep plain values, "
                "tensors and objects of your own classes"
            )
        return [self._code(type(value), where), self.content(vars(value), where)]

    def _many(self, value: Any, where: str) -> list[Any] | None:
        """The content of a container; None for anything else."""
        if isinstance(value, Mapping):
            pairs = [[self.content(key, where), self._inside(item, where, key)] for key, item in value.items()]
            return ["mapping", pairs]
        if isinstance(value, list | tuple):
            return ["list", [self._inside(item, where, place) for place, item in enumerate(value)]]
        if isinstance(value, set | frozenset):
            return ["set", sorted(str(self._alone(item, where)) for item in value)]
        return None

    def _alone(self, value: Any, where: str) -> Any:
        """The content of a member of a set, which has no place in the order of the walk."""
        walk = _ObjectWalk()
        found = walk.content(value, where)
        self.modules |= walk.modules
        return found

    def _callable(self, value: Any, where: str) -> list[Any] | None:
        """The content of a class or function; None for anything else."""
        if isinstance(value, functools.partial):
            return ["partial", [self.content(part, where) for part in (value.func, value.args, value.keywords)]]
        if inspect.ismethod(value):
            return ["method", value.__name__, self.content(value.__self__, where)]
        return ["code", self._code(value, where)] if inspect.isclass(value) or inspect.isroutine(value) else None

    def _inside(self, value: Any, where: str, key: Any) -> Any:
        return self.content(value, f"{where}.{key}")

    def _code(self, thing: Any, where: str) -> str:
        """What a class or function says, whatever its module is called."""
        path = importable_path(thing, where)
        try:
            self.modules.add(module_of(path))
            return portable_target(path)
        except ModuleNotFoundError:  # built into Python, whose version decides nothing else either
            return path


def _simple(value: Any) -> list[str] | None:
    """The content of what holds no other values; None for anything else."""
    if value is None or type(value) in (bool, int, float, complex, str, bytes):
        return [type(value).__name__, repr(value)]
    if isinstance(value, _BY_NAME):
        return [type(value).__name__, str(value)]
    if isinstance(value, Tensor):
        return ["tensor", tensor_digest(value.detach().cpu())]
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        return ["array", str(value.dtype), tensor_digest(torch.from_numpy(np.array(value, order="C")))]
    return None
