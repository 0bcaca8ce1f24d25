"""Composing configs with Hydra, and saying in one line what is wrong with a command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cloakbench.bench.config.checks.mistakes import explain, no_choice
from cloakbench.bench.config.compositions import composition_key, keep_composition, kept_composition
from cloakbench.bench.config.flags import UsageError
from cloakbench.bench.config.given import note_given, take_out
from cloakbench.bench.config.plug_ins import check_targets, project, search_path, sources
from cloakbench.bench.config.values import as_typed, check_values
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.services.keys import refuse_keys

CONFIG_MODULE = "cloakbench.conf"


@contextmanager
def hydra_ready() -> Iterator[None]:
    """Hydra's compose API on this project's groups; a program that uses Hydra itself finds its own again afterwards."""
    others = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module(CONFIG_MODULE, version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = others


WITHOUT_EXPERIMENT = "~experiment"
"""A word for commands about one part, where composing the default experiment would be most of the work."""


def split_config_dirs(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take ``--config-dir DIR`` (also ``-cd``) out of a command line: the folders, and the rest.

    Raises:
        UsageError: the folder is missing.
    """
    folders, rest = [], []
    words = iter(arguments)
    for word in words:
        name, equals, folder = word.partition("=")
        if name not in ("--config-dir", "-cd"):
            rest.append(word)
            continue
        folder = folder if equals else next(words, "")
        if not folder:
            raise UsageError(f"{name} needs a folder behind it")
        folders.append(folder)
    return folders, rest


def compose_config(
    overrides: Sequence[str], config_name: str = "config", config_dirs: Sequence[str] = ()
) -> DictConfig:
    """Compose one config. Paths and texts keep every sign they are typed with (:mod:`cloakbench.bench.config.values`).

    Raises:
        ConfigError: the overrides do not fit; one line with the nearest name that would. Or a class that somebody's
            config names cannot be imported.
    """
    words = [as_typed(word) for word in overrides]
    if mistake := no_choice(words):
        raise ConfigError(mistake)
    config = _composed(words, config_name, config_dirs)
    check_values(config, {word.partition("=")[0].lstrip("+"): word.partition("=")[2] for word in words})
    check_targets(config, config_dirs, own=any("_target_=" in word for word in words))
    return config


def _composed(words: Sequence[str], config_name: str, config_dirs: Sequence[str]) -> DictConfig:
    search = search_path(config_dirs)
    key = composition_key(words, config_name, search)
    if (kept := kept_composition(key)) is not None:
        refuse_keys((), _plain(kept))
        return kept
    with hydra_ready():
        try:
            config = compose(config_name, [*words, *search], return_hydra_config=True)
            method = config.hydra.runtime.choices.get("method")
            config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            if "method_key" in config:
                config.method_key = method
            take_out(config, words)
            note_given(config, words)
        except Exception as problem:  # Hydra's own, and whatever a YAML of somebody's raises in it
            raise as_mistake(problem, words, config_name, config_dirs) from problem
    refuse_keys(words, _plain(config))  # nor is one kept
    keep_composition(key, config)
    return config


def _plain(config: DictConfig) -> dict[str, Any]:
    """A config as plain values, references as they stand."""
    plain: Any = OmegaConf.to_container(config, resolve=False)
    return plain


def group_options(group: str, config_dirs: Sequence[str] = ()) -> list[str]:
    """Names in a config group, those of folders and packages of other people included.

    Raises:
        ConfigError: a folder is not there or cannot be read.
    """
    found = set().union(*(source.names(group) for source in (project(), *sources(config_dirs))))
    return sorted(name for name in found if not name.startswith("_"))


def as_mistake(
    problem: Exception, words: Sequence[str], config_name: str, config_dirs: Sequence[str] = ()
) -> ConfigError:
    """What is wrong with ``words``, in one line, from what Hydra raised."""
    return ConfigError(explain(problem, words, config_dirs, partial(_known_keys, config_name, words, config_dirs)))


def resolved(block: Any) -> dict[str, Any]:
    """A block as plain values, its references filled in."""
    plain: Any = OmegaConf.to_container(block, resolve=True)
    return plain


def missing_settings(config: DictConfig) -> list[str]:
    """Dotted names of the settings that have no value yet."""

    def walk(node: Any, prefix: str) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                yield from walk(value, f"{prefix}{key}.")
        elif node == "???":
            yield prefix.removesuffix(".")

    return sorted(walk(_plain(config), ""))


def _known_keys(config_name: str, overrides: Sequence[str], config_dirs: Sequence[str]) -> list[str]:
    """Every dotted key of the config that the sound overrides give, those of the chosen method first, and every group
    that a word may choose from."""
    search, sound = search_path(config_dirs), []
    with hydra_ready():
        config = compose(config_name)
        for override in overrides:
            try:
                config = compose(config_name, [*sound, override, *search])
            except (HydraException, OmegaConfBaseException):
                continue
            sound.append(override)

    def walk(node: DictConfig, prefix: str) -> Iterator[str]:
        for key in node:
            yield f"{prefix}{key}"
            if not OmegaConf.is_missing(node, key) and isinstance(node._get_node(key), DictConfig):
                child = node[key]
                if child is not None:
                    yield from walk(child, f"{prefix}{key}.")

    return [*walk(config, ""), *sorted(set().union(*(one.groups() for one in (project(), *sources(config_dirs)))))]
