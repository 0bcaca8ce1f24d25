"""Values that are names: of files and folders, of runs and models. They are taken as they are typed.

Hydra's grammar gives a meaning to many signs (``[a](b){c}='d',e``) and to words (``2024``, ``1e3``, ``true``), and
knows no accents. Where a setting is a path or a text, its value is quoted here before Hydra reads it. Quotes that a
person wrote for Hydra are still understood.

In a sweep a comma separates values, unless a file or folder of that very name exists, or the value is in quotes; the
``paths.*`` are never swept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.config.flags import pieces
from cloakbench.bench.core.errors import ConfigError

LONGEST_NAME = 200
"""Bytes of a run's name, to which its folder adds nine; file systems take 255."""

_OVERRIDE = re.compile(r"(\+{0,2})([^+~=@][^=@]*)(@[^=]*)?=(.*)", re.DOTALL)
_SWEEP = re.compile(r"(choice|range|glob|interval|shuffle|sort)\(.*\)", re.DOTALL)
_REFERENCE = re.compile(r"\$\{[^{}]+\}")
_PATHS = frozenset({"root", "folder", "path", "cache", "file", "landmarks_file"})
_PATH_ENDINGS = ("_root", "_folder", "_path", "_file", "_dir")
_PATHS_OF_A_COMMAND = frozenset(
    {"input", "output", "references", "auxiliary", "originals", "keys", "pairs", "checkpoints"}
)
"""Settings on the first level; deeper down ``references`` is a count."""
_TEXTS = frozenset(
    {
        *("name", "description", "note", "page", "project", "group"),
        *("family", "head", "backbone", "training_set", "stands_for", "architecture"),
        *("licence_code", "licence_weights", "licence_training_data"),
        *("sha256", "sha256_prefix", "member", "state_key", "strip_prefix", "ignore", "output"),
    }
)


_BLOCKS = (
    "paths",
    "dataset",
    "method",
    "surrogate",
    "target",
    "methods",
    "surrogates",
    "targets",
    "transforms",
    "logger",
)
_NEEDED = frozenset({"paths", "dataset"})


class ValueKind(Enum):
    """What a value stands for, where it is not what Hydra's grammar makes of it."""

    PATH = "path"
    NAME = "name"
    TEXT = "text"
    CHOICE = "choice"


def kind_of(key: str) -> ValueKind | None:
    """What the value of a dotted key stands for; None: whatever Hydra reads."""
    first, _, last = key.partition(".")[0], *key.rpartition(".")[1:]
    if first == "paths" and "." in key:
        return ValueKind.PATH
    if last in _PATHS or last.endswith(_PATH_ENDINGS) or key in _PATHS_OF_A_COMMAND or key.endswith(".layout.photos"):
        return ValueKind.PATH
    if last in _TEXTS:
        return ValueKind.NAME if last == "name" else ValueKind.TEXT
    return ValueKind.CHOICE if key in _groups() else None


@cache
def _groups() -> frozenset[str]:
    return frozenset(entry.name for entry in resources.files("cloakbench.conf").iterdir() if entry.is_dir())


def is_choice(word: str) -> bool:
    """Whether an override chooses a config by its name."""
    match = _OVERRIDE.fullmatch(word)
    return match is not None and (match[3] is not None or kind_of(match[2]) is ValueKind.CHOICE)


def as_typed(word: str, *, sweeping: bool = False) -> str:
    """An override as Hydra must be given it, so that a path or a text keeps every sign."""
    match = _OVERRIDE.fullmatch(word)
    if match is None:
        return word
    plus, key, package, value = match.groups()
    kind = ValueKind.CHOICE if package else kind_of(key)
    if kind is None or not value or value.lower() == "null":
        return word
    if sweeping and _SWEEP.fullmatch(value) and not _exists(value):
        return word
    parts = [_value(kind, part) for part in _parts(kind, key, value, sweeping=sweeping)]
    return word if None in parts else f"{plus}{key}{package or ''}={','.join(str(part) for part in parts)}"


def _parts(kind: ValueKind, key: str, value: str, *, sweeping: bool) -> list[str]:
    """The values of a sweep, or the one value."""
    if not sweeping or key.startswith("paths.") or (kind is ValueKind.PATH and _exists(value)):
        return [value]
    return [part.strip() for part in pieces(value)]


def _value(kind: ValueKind, value: str) -> str | None:
    """One value in quotes; None where Hydra is to read it as it is."""
    if not value:
        return None
    parsed = _parsed(value)
    if kind is ValueKind.CHOICE:
        return quoted(value) if isinstance(parsed, bool | int | float) else value
    if kind is ValueKind.TEXT and value.startswith(("[", "{")):
        return None
    text = parsed.text if isinstance(parsed, QuotedString) else value
    return quoted(_place(text) if kind is ValueKind.PATH else text)


def _parsed(value: str) -> Any:
    """What Hydra makes of a value; None if it cannot read it."""
    try:
        return OverridesParser.create().parse_override(f"key={value}")._value
    except HydraException:
        return None


def quoted(text: str) -> str:
    """A text in quotes of Hydra's grammar."""
    return QuotedString(text, Quote.single).with_quotes()


def _place(text: str) -> str:
    """A path with ``~`` for home. Where such a file exists, ``${`` is no interpolation."""
    if text == "~" or text.startswith("~/"):
        text = str(Path(text).expanduser())
    if text == "???" or (text.startswith("~") and _exists(text)):
        return f"./{text}"  # a name that means something else when it stands alone
    literal = not _REFERENCE.search(text) or _exists(text)
    return re.sub(r"(?<!\\)\$\{", r"\\${", text) if literal else text


def _exists(text: str) -> bool:
    try:
        return Path(text).exists() or Path(text).is_symlink()
    except (OSError, ValueError):  # longer than a path may be
        return False


def file_name(name: str) -> str:
    """A name as part of the name of one file or folder: never a path, and without control signs."""
    return re.sub(r"[/\\\x00-\x1f\x7f]", "_", name)


def check_values(config: DictConfig, words: Mapping[str, str]) -> None:
    """Hold the paths and names of a composed config against what they must be.

    Args:
        config: the config.
        words: the overrides it was composed with, value by key.

    Raises:
        ConfigError: a path or name that is empty, null where one is needed, or a number in somebody's YAML; a name that
            is too long for a folder.
    """
    settings: Any = OmegaConf.to_container(config, resolve=False)
    for key in _BLOCKS:
        block = settings.get(key, {})
        if block is None and key in _NEEDED:
            raise ConfigError(f"{key} is null, and its settings are needed: leave {key}=null out")
        if not isinstance(block, dict) and block not in (None, "???"):
            raise ConfigError(f"{key} is {block}: it holds settings of its own, such as {key}.KEY=VALUE")
    for key, value in _leaves(settings, ""):
        kind = kind_of(key)
        if kind is ValueKind.PATH:
            _check_path(key, value, words)
        elif kind is ValueKind.NAME:
            _check_name(key, value)


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _check_path(key: str, value: Any, words: Mapping[str, str]) -> None:
    if value == "":
        raise ConfigError(f"{key} is empty: name a file or folder with {key}=PATH")
    if isinstance(value, bool | int | float):
        raise ConfigError(f"{key} is {value} without quotes in its YAML: write {key.rpartition('.')[2]}: '{value}'")
    first, last = key.partition(".")[0], key.rpartition(".")[2]
    needed = first in ("paths", "input") or last == "root" or (last == "folder" and first.startswith("method"))
    if value is None and (needed and (first in ("paths", "input") or key in words)):
        raise ConfigError(f"{key} is null, and a path is needed: {key}=PATH (./null for a folder of that name)")


def _check_name(key: str, value: Any) -> None:
    if value is None or value == "":
        shown = "null" if value is None else "empty"
        raise ConfigError(f"{key} is {shown}, and a name is needed: {key}=NAME ('null' in quotes is the name null)")
    if isinstance(value, bool | int | float):
        raise ConfigError(f"{key} is {value} without quotes in its YAML: write name: '{value}'")
    if not isinstance(value, str):
        raise ConfigError(f"{key} is {value}: it must be a name, {key}=NAME")
    if value == "???" or "${" in value:
        return
    if len(value.encode("utf-8")) > LONGEST_NAME:
        raise ConfigError(f"{key} has more than {LONGEST_NAME} bytes: take a shorter name")
