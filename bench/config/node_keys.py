"""Keys of config nodes (mappings with a ``_target_``): the settings, code and named files that enter a content key."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from cloakbench.bench.config.given_object import GivenObject
from cloakbench.bench.core.code_digests import code_digest, module_of, portable_target
from cloakbench.bench.core.hashing import file_digest
from cloakbench.models.base import InputSpec

_PROJECT = "cloakbench."
_INPUTS = f"{InputSpec.__module__}.{InputSpec.__qualname__}"
_BY_PATH = frozenset({"hydra.utils.get_class", "hydra.utils.get_method", "hydra.utils.get_object"})
"""Targets whose ``path`` names what they give."""


def node_settings(value: Any, without: Collection[str] = ()) -> Any:
    """A resolved config as a key has it: equal for all spellings of one thing, whatever modules are called.

    A ``_target_`` is given by the content of its module (`portable_target`), the input rule of a network by its
    numbers as they are applied, and beside a string of somebody else's code that names a file stands the digest of
    that file. ``without`` are modules that bring files, see `code_digest`.
    """
    if isinstance(value, Mapping):
        target = str(value.get("_target_", ""))
        if target == _INPUTS:
            own = {key: item for key, item in value.items() if not str(key).startswith("_")}
            return {"_target_": InputSpec.__qualname__, **InputSpec(**own).settings()}
        plain = {str(key): node_settings(item, without) for key, item in value.items()}
        if target:
            plain["_target_"] = _portable(target, without)
            if not target.startswith(_PROJECT) and (files := dict(_named_files(value))):
                plain["_files_"] = files
        return plain
    if isinstance(value, list | tuple):
        return [node_settings(item, without) for item in value]
    return value.digest if isinstance(value, GivenObject) else value


def node_code(*values: Any, base: Collection[str] = (), without: Collection[str] = ()) -> str:
    """Digest of the code behind every ``_target_`` of ``values``, and of the modules ``base``; see `code_digest`."""
    modules = set(base)
    for value in values:
        modules |= set(_modules(value))
    return code_digest(*sorted(modules), without=without)


def _modules(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        target = str(value.get("_target_", ""))
        for path in (target, str(value.get("path", "")) if target in _BY_PATH else ""):
            if path:
                try:
                    yield module_of(path)
                except ModuleNotFoundError:  # built into Python
                    continue
        for item in value.values():
            yield from _modules(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _modules(item)


def _portable(target: str, without: Collection[str]) -> str:
    try:
        return portable_target(target, without)
    except ModuleNotFoundError:
        return target


def _named_files(value: Any) -> Iterator[tuple[str, str]]:
    """Every string below a node that names a regular file, with the file's digest; inner nodes have their own."""
    if isinstance(value, str):
        try:
            if Path(value).is_file():
                yield value, file_digest(Path(value))
        except (OSError, ValueError):  # too long for a path, or not one
            return
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key != "_target_" and not (isinstance(item, Mapping) and "_target_" in item):
                yield from _named_files(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _named_files(item)
