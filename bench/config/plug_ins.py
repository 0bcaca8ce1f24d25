"""Configs and classes of other people: folders named with ``--config-dir``, and installed packages that announce some.

Names are looked up in this order: this project's, those of each ``--config-dir`` in order, those of packages by the
name of their entry point. A name that comes later is never used, and said so.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from importlib.metadata import entry_points
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.config.flags import nearest
from cloakbench.bench.config.values import quoted
from cloakbench.bench.core.errors import ConfigError

log = logging.getLogger(__name__)

ENTRY_POINTS = "cloakbench.config"
"""Group of the entry points whose value names a package that holds config groups: ``method/NAME.yaml`` and so on."""


@dataclass(frozen=True)
class Source:
    """Where configs come from.

    Attributes:
        label: what a person calls it.
        address: what Hydra calls it.
        folder: its groups.
    """

    label: str
    address: str
    folder: Traversable

    def names(self, group: str) -> set[str]:
        """Names of the configs in a group."""
        return {entry.name.removesuffix(".yaml") for entry in self._files(group)}

    def groups(self) -> set[str]:
        """Names of the groups."""
        return {
            entry.name for entry in self.folder.iterdir() if entry.is_dir() and not entry.name.startswith(("_", "."))
        }

    def text(self, group: str, name: str) -> str:
        """What stands in a config; empty if there is none."""
        for entry in self._files(group):
            if entry.name == f"{name}.yaml":
                return entry.read_bytes().decode("utf-8", errors="replace")
        return ""

    def _files(self, group: str) -> Iterator[Traversable]:
        folder = self.folder / group
        if folder.is_dir():
            yield from (entry for entry in folder.iterdir() if entry.name.endswith(".yaml") and entry.is_file())


def project() -> Source:
    """This project's own configs."""
    return Source("cloakbench", "pkg://cloakbench.conf", resources.files("cloakbench.conf"))


def sources(config_dirs: Sequence[str] = ()) -> list[Source]:
    """Every source beside the project, in the order in which names are looked up.

    Raises:
        ConfigError: a folder that is not there, is none or cannot be read.
    """
    return [*(_folder(folder) for folder in config_dirs), *announced()]


def search_path(config_dirs: Sequence[str] = ()) -> list[str]:
    """The override that tells Hydra of the sources; none without sources."""
    found = sources(config_dirs)
    addresses = (quoted(source.address.replace("${", "\\${")) for source in found)
    return [f"hydra.searchpath=[{','.join(addresses)}]"] if found else []


def config_folder(folder: str) -> Path:
    """The folder that a person means, absolute."""
    path = Path(folder)
    return (path if path.exists() else path.expanduser()).absolute()


def _folder(folder: str) -> Source:
    path = config_folder(folder)
    if not path.is_dir():
        why = "is a file, not a folder" if path.exists() else "there is no such folder"
        raise ConfigError(f"--config-dir {folder}: {why}")
    try:
        next(path.iterdir(), None)
    except OSError as problem:
        raise ConfigError(f"--config-dir {folder}: cannot be read ({problem.strerror})") from problem
    return Source(folder, f"file://{path}", path)


@cache
def announced() -> tuple[Source, ...]:
    """What installed packages announce; what cannot be had is said once and left out."""
    found = []
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        package = point.dist.name if point.dist is not None else "a package"
        try:
            folder = resources.files(point.value)
            if not folder.is_dir():
                raise ModuleNotFoundError(f"{point.value} is no package with a folder of configs")
        except BaseException as problem:  # whatever a stranger's package does when it is imported
            if isinstance(problem, KeyboardInterrupt):
                raise
            log.warning(
                "warning: configs of %s are left out: entry point %s = %s: %s",
                *(package, point.name, point.value, reason(problem)),
            )
            continue
        found.append(Source(f"{package} ({point.value})", f"pkg://{point.value}", folder))
    return tuple(found)


def shadowed(config_dirs: Sequence[str] = ()) -> list[str]:
    """A line for each config that is never used, because its name is taken by one that is looked up first."""
    lines = []
    taken = {(group, name): "this project" for group in project().groups() for name in project().names(group)}
    for source in sources(config_dirs):
        for group in sorted(source.groups()):
            for name in sorted(source.names(group)):
                if owner := taken.get((group, name)):
                    lines.append(
                        f"{source.label}: {group}/{name}.yaml is not used, {owner} has one: give it another name"
                    )
                else:
                    taken[group, name] = source.label
    return lines


def make_importable(config_dirs: Sequence[str]) -> None:
    """Let ``_target_`` name modules in the current folder and beside the folders; worker processes inherit it.

    They come last, so that a folder called like an installed package hides nothing.
    """
    for folder in (Path.cwd(), *(config_folder(one).parent for one in config_dirs)):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))


def check_targets(config: DictConfig, config_dirs: Sequence[str], *, own: bool = False) -> None:
    """Import every class that a config names and that is not of this project (``own``: these, too).

    Raises:
        ConfigError: one cannot be imported: which, where it is named, and what to do.
    """
    for key, target in dict.fromkeys(targets(OmegaConf.to_container(config, resolve=False))):
        if target != "???" and "${" not in target and (own or not target.startswith("cloakbench.")):
            _check_target(key, target, config_dirs)


def targets(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and values of every ``_target_`` in plain values."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        if key == "_target_":
            yield f"{prefix}{key}", str(value)
        yield from targets(value, f"{prefix}{key}.")


def _check_target(key: str, target: str, config_dirs: Sequence[str]) -> None:
    where = _named_in(target, config_dirs) or key
    module, _, name = target.rpartition(".")
    if not module or not all(part.isidentifier() for part in target.split(".")):
        raise ConfigError(f"{where}: _target_ {target!r} is not of the form module.Class")
    try:
        owner = _imported(module)
    except _NotImportedError as problem:
        folders = " or ".join(dict.fromkeys(str(one) for one in _folders(config_dirs)))
        raise ConfigError(
            f"{where}: module {problem.module} cannot be imported ({problem}): mend it, install it, or put it into "
            f"{folders}"
        ) from problem
    if not hasattr(owner, name):
        options = [one for one in vars(owner) if not one.startswith("_")]
        raise ConfigError(f"{where}: module {module} has no {name}{nearest(name, options)}")


class _NotImportedError(Exception):
    def __init__(self, module: str, why: str) -> None:
        super().__init__(why)
        self.module = module


def _imported(module: str) -> Any:
    """A module, or a class in one."""
    try:
        return import_module(module)
    except ModuleNotFoundError as problem:
        outer, _, name = module.rpartition(".")
        if outer and problem.name == module:
            with suppress(AttributeError):
                return getattr(_imported(outer), name)
        raise _NotImportedError(module, reason(problem)) from problem
    except BaseException as problem:  # a stranger's module may do anything when it is imported
        if isinstance(problem, KeyboardInterrupt):
            raise
        raise _NotImportedError(module, reason(problem)) from problem


def _folders(config_dirs: Sequence[str]) -> Iterator[Path]:
    yield Path.cwd()
    for folder in config_dirs:
        yield config_folder(folder).parent


def _named_in(target: str, config_dirs: Sequence[str]) -> str:
    """The YAML file of a plug-in that names a target; empty if none does."""
    for source in sources(config_dirs):
        for group in sorted(source.groups()):
            for name in sorted(source.names(group)):
                if target in source.text(group, name):
                    return str(source.folder / group / f"{name}.yaml")
    return ""


def reason(problem: BaseException) -> str:
    """What an import raised, in one line with its kind."""
    return " ".join(f"{type(problem).__name__}: {problem}".split())
