"""Composing configs with Hydra, and saying in one line what is wrong with a command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cloakbench.bench.plan import ConfigError
from cloakbench.datasets.regular_file import NotRegularError, require_regular

CONFIG_MODULE = "cloakbench.conf"


@contextmanager
def hydra_ready(config_dirs: Sequence[str] = ()) -> Iterator[None]:
    """Hydra's compose API on this project's groups and, before them, any folders of the user."""
    for folder in config_dirs:
        if not Path(folder).is_dir():
            raise ConfigError(f"--config-dir {folder}: there is no such folder")
        for path in sorted(Path(folder).rglob("*.yaml")):
            try:
                require_regular(path)
            except NotRegularError as problem:
                raise ConfigError(f"--config-dir {folder}: {path}: {problem.strerror}: remove it") from problem
            except OSError:  # a link to nowhere: Hydra says so when it is asked for
                continue
    GlobalHydra.instance().clear()
    with initialize_config_module(CONFIG_MODULE, version_base="1.3"):
        yield
    GlobalHydra.instance().clear()


def split_config_dirs(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take ``--config-dir DIR`` (also ``-cd``) out of a command line: the folders, and the rest."""
    folders, rest = [], []
    words = iter(arguments)
    for word in words:
        if word in ("--config-dir", "-cd"):
            folders.append(next(words, ""))
        elif word.startswith("--config-dir="):
            folders.append(word.partition("=")[2])
        else:
            rest.append(word)
    return folders, rest


def compose_config(
    overrides: Sequence[str], config_name: str = "config", config_dirs: Sequence[str] = ()
) -> DictConfig:
    """Compose one config.

    Raises:
        ConfigError: the overrides do not fit; one line with the nearest name that would.
    """
    search = [f"hydra.searchpath=[{','.join('file://' + str(Path(d).resolve()) for d in config_dirs)}]"]
    with hydra_ready(config_dirs):
        try:
            config = compose(config_name, [*overrides, *(search if config_dirs else [])], return_hydra_config=True)
            method = config.hydra.runtime.choices.get("method")
            config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            if "method_key" in config:
                config.method_key = method
            return config
        except (HydraException, OmegaConfBaseException) as problem:
            raise ConfigError(explain(problem, config_name, overrides)) from problem


def group_options(group: str, config_dirs: Sequence[str] = ()) -> list[str]:
    """Names in a config group, those of the user's folders included."""
    with hydra_ready(config_dirs):
        loader = GlobalHydra.instance().config_loader()
        found = set(loader.get_group_options(group))
    for folder in config_dirs:
        found |= {path.stem for path in (Path(folder) / group).glob("*.yaml")}
    return sorted(found)


def check_sweep(overrides: Sequence[str], config_dirs: Sequence[str]) -> None:
    """Compose every value of every swept override once, so that a bad name fails before any work.

    Raises:
        ConfigError: one of them does not fit.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as problem:
        raise ConfigError(explain(problem, "config", ())) from problem
    choices = [
        [f"{one.get_key_element()}={value}" for value in one.sweep_string_iterator()]
        if one.is_sweep_override()
        else [str(one.input_line)]
        for one in parsed
    ]
    first = [values[0] for values in choices]
    compose_config(first, config_dirs=config_dirs)
    for place, values in enumerate(choices):
        for value in values[1:]:
            compose_config([*first[:place], value, *first[place + 1 :]], config_dirs=config_dirs)


def missing_settings(config: DictConfig) -> list[str]:
    """Dotted names of the settings that have no value yet."""

    def walk(node: Any, prefix: str) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                yield from walk(value, f"{prefix}{key}.")
        elif node == "???":
            yield prefix.removesuffix(".")

    return sorted(walk(OmegaConf.to_container(config, resolve=False), ""))


def explain(problem: Exception, config_name: str, overrides: Sequence[str]) -> str:
    """What is wrong, in one line, with the nearest name that exists."""
    if isinstance(problem, MissingConfigException) and problem.missing_cfg_file:
        group, _, name = str(problem.missing_cfg_file).rpartition("/")
        options = sorted(problem.options or [])
        return f"there is no {group or 'config'} called {name!r}{_nearest(name, options)}{_listing(options)}"
    if isinstance(problem, OverrideParseException):
        return f"cannot read {problem.override!r}: write KEY=VALUE, and quote values with commas or brackets"
    lines = str(problem).strip().splitlines()
    if lines[0].startswith("Could not override"):
        key = lines[0].split("'")[1]
        if key == "ensembles" or key.startswith("ensembles."):
            return "write a new ensemble with a plus: +ensembles.LABEL=[key,key]"
        return f"there is no setting {key!r}{_nearest(key, _known_keys(config_name, overrides))}"
    return " ".join(line.strip() for line in lines if not line.strip().startswith(("full_key", "object_type")))


def _nearest(name: str, options: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _listing(options: Sequence[str]) -> str:
    return f" (there are: {', '.join(options)})" if options else ""


def _known_keys(config_name: str, overrides: Sequence[str]) -> list[str]:
    """Every dotted key of the config that the sound overrides give; those of the chosen method rank first."""
    with hydra_ready():
        config = compose(config_name)
        for override in overrides:
            try:
                config = OmegaConf.merge(config, compose(config_name, [override]))
            except (HydraException, OmegaConfBaseException):
                continue
    assert isinstance(config, DictConfig)

    def walk(node: DictConfig, prefix: str) -> Iterator[str]:
        for key in node:
            yield f"{prefix}{key}"
            if not OmegaConf.is_missing(node, key) and isinstance(node._get_node(key), DictConfig):
                child = node[key]
                if child is not None:
                    yield from walk(child, f"{prefix}{key}.")

    return list(walk(config, ""))
