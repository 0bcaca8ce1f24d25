"""Code digests: the code that made a result, a module and everything of its project that it is built on.

Cache keys hold this digest, so an edit that could change a result gives a new key and a stale entry is never read.
What is written how does not count (:mod:`cloakbench.bench.core.canonical_code`), nor do the names and places of
modules: the digest is one of contents.

Two kinds of code are followed from import to import: this project, and what a user wrote beside it (a file or package
that lies in no ``site-packages``). Installed packages count by their version where a user's code imports them. Not
seen: modules imported by a name that is computed, and files that code opens by itself.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import sys
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path

from cloakbench.bench.core import canonical_code
from cloakbench.bench.core.canonical_code import CanonicalCode, Reference, Resolve, read_code
from cloakbench.bench.core.side_cache import SideCache, key_of

_PROJECT = "cloakbench"
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_IN_EVERY_KEY = frozenset({"torch"})
"""Packages whose version is part of every key already (``cloakbench.bench.core.hashing``)."""


def code_digest(*modules: str, without: Collection[str] = ()) -> str:
    """sha256 (first 16 hex digits) over what ``modules`` say and all modules of their project that they import.

    Of an installed package the module itself and the package's version count. Modules in ``without`` and what only
    they import do not count: for code that brings files and whose result is described by the digest of what it
    brought.

    Raises:
        ModuleNotFoundError: a module does not exist or has no source file.
    """
    return _digest(frozenset(modules) - frozenset(without), frozenset(without))


@cache
def _digest(modules: frozenset[str], without: frozenset[str]) -> str:
    roots = sorted({_record(name, without) for name in modules})
    seen: set[str] = set()
    lines: set[str] = set()
    queue = sorted(modules)
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        lines.add(_record(name, without))
        lines |= _versions(name)
        if _is_followed(name):
            read = _read(name)
            followed = {part for reference in read.references for part in _with_parents(reference.module)}
            queue += sorted((followed | set(_with_parents(name))) - seen - without)
    _readings().save()
    return hashlib.sha256("\n".join([*roots, "over", *sorted(lines)]).encode()).hexdigest()[:16]


def module_of(target: str) -> str:
    """The module that a dotted path such as ``package.module.Class.method`` lies in.

    Raises:
        ModuleNotFoundError: no part of the path is a module with a source file.
    """
    module = _longest_module(target)
    if module is None:
        raise ModuleNotFoundError(f"no source file for {target!r}")
    return module


def portable_target(target: str, without: Collection[str] = ()) -> str:
    """A dotted path with the content of its module in place of the module's name.

    Raises:
        ModuleNotFoundError: no part of the path is a module with a source file.
    """
    module = module_of(target)
    what = "" if module in without else _record(module, frozenset(without))[:16]
    return f"{what}{target.removeprefix(module)}"


@dataclass(frozen=True)
class _File:
    """Where a module lies, and whether it is a package."""

    path: Path
    is_package: bool


@cache
def _record(name: str, without: frozenset[str]) -> str:
    """Digest of one module: its code, and what it uses of which other code."""
    read = _read(name)
    uses = sorted(
        f"{reference.uses} {'left out' if reference.module in without else _read(reference.module).digest}"
        for reference in (read.references if _is_followed(name) else ())
    )
    return hashlib.sha256("\n".join([read.digest, *uses]).encode()).hexdigest()


def _versions(name: str) -> set[str]:
    """``package==version`` of what counts by version: an installed module, or what a user's module imports."""
    top = name.partition(".")[0]
    if top == _PROJECT:
        return set()
    if not _is_followed(name):
        return set(_version(top))
    return set().union(*(_version(package) for package in _read(name).foreign))


@cache
def _version(top: str) -> frozenset[str]:
    if top in sys.stdlib_module_names or top in _IN_EVERY_KEY or top == _PROJECT:
        return frozenset()
    distributions = importlib.metadata.packages_distributions().get(top, [])
    return frozenset(f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in distributions)


@cache
def _read(name: str) -> CanonicalCode:
    """The code of one module.

    Raises:
        ModuleNotFoundError: there is no such module, or it has no source file.
    """
    file = _file(name)
    if file is None:
        raise ModuleNotFoundError(f"no source file for module {name!r}")
    content = file.path.read_bytes()
    if file.path.suffix != ".py":
        return CanonicalCode(hashlib.sha256(content).hexdigest(), (), frozenset())
    package = name if file.is_package else name.rpartition(".")[0]
    return _kept_reading(content, package, _followed_module if _is_followed(name) else lambda _: None)


@cache
def _readings() -> SideCache:
    return SideCache("code_readings")


def _kept_reading(content: bytes, package: str, resolve: Resolve) -> CanonicalCode:
    """`read_code`, worked out once for each content and each set of answers that ``resolve`` gives on its way."""
    key = key_of(hashlib.sha256(content).hexdigest(), package, _reader(), sys.version_info[:2])
    kept = _readings().get(key)
    if kept is not None and all(resolve(path) == module for path, module in kept["answers"].items()):
        references = tuple(Reference(*reference) for reference in kept["references"])
        return CanonicalCode(kept["digest"], references, frozenset(kept["foreign"]))
    answers: dict[str, str | None] = {}

    def noted(path: str) -> str | None:
        return answers.setdefault(path, resolve(path))

    read = read_code(content, package, noted)
    references = [[reference.module, reference.uses] for reference in read.references]
    value = {"digest": read.digest, "references": references, "foreign": sorted(read.foreign), "answers": answers}
    _readings().put(key, value)
    return read


@cache
def _reader() -> str:
    """Digest of the code that reads code and keeps what it read."""
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in (canonical_code.__file__, __file__))).hexdigest()


def _followed_module(path: str) -> str | None:
    """The module of this project or of a user's own code that a dotted path names or lies in."""
    top = path.partition(".")[0]
    if top in sys.stdlib_module_names or (top != _PROJECT and not _is_own(top)):
        return None
    return _longest_module(path)


def _longest_module(path: str) -> str | None:
    return next((name for name in reversed(_prefixes(path)) if _file(name) is not None), None)


def _with_parents(name: str) -> list[str]:
    """A module and the packages it lies in, whose ``__init__`` runs before it.

    The project's own package apart: it names all there is for those who import it, and decides nothing.
    """
    return [prefix for prefix in _prefixes(name) if prefix != _PROJECT and _file(prefix) is not None]


def _prefixes(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def _is_followed(name: str) -> bool:
    top = name.partition(".")[0]
    return top == _PROJECT or _is_own(top)


@cache
def _is_own(top: str) -> bool:
    """Whether a top-level name is a user's own code: found, with a source, and neither installed nor Python's."""
    if top in sys.stdlib_module_names and top != "__main__":
        return False
    spec = _find(top)
    if spec is None:
        return False
    places = [spec.origin] if spec.has_location and spec.origin else list(spec.submodule_search_locations or ())
    return bool(places) and not any(_INSTALLED & set(Path(place).parts) for place in places)


@cache
def _file(name: str) -> _File | None:
    """The file of a module, looked up without importing anything."""
    spec = _find(name)
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    return _File(Path(spec.origin), spec.submodule_search_locations is not None)


def _find(name: str) -> ModuleSpec | None:
    """How a module would be imported: as it was, or as the finders say. Its packages are not imported for it."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    if isinstance(spec, ModuleSpec):
        return spec
    parent = name.rpartition(".")[0]
    path = None
    if parent:
        package = _find(parent)
        if package is None or package.submodule_search_locations is None:
            return None
        path = list(package.submodule_search_locations)
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        found = find(name, path) if find is not None and all(name.split(".")) else None
        if found is not None:
            return found
    return None


def forget_sources() -> None:
    """Read every module again at the next call; for a process in which sources change."""
    for cached in (_digest, _record, _read, _readings, _file, _is_own, _version):
        cached.cache_clear()
