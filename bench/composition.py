"""Composing configs with Hydra, and saying in one line what is wrong with a command line."""

from __future__ import annotations

import copy
import difflib
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cloakbench.bench.plan import ConfigError, build_cells

CONFIG_MODULE = "cloakbench.conf"
_LAUNCHERS = {
    "joblib": "hydra_joblib_launcher",
    "submitit_local": "hydra_submitit_launcher",
    "submitit_slurm": "hydra_submitit_launcher",
}
"""Hydra launchers that the extra ``sweep`` brings, to their packages."""


@contextmanager
def hydra_ready(config_dirs: Sequence[str] = ()) -> Iterator[None]:
    """Hydra's compose API on this project's groups and, before them, any folders of the user."""
    for folder in config_dirs:
        if not Path(folder).is_dir():
            raise ConfigError(f"--config-dir {folder}: there is no such folder")
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


def check_sweep(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> tuple[DictConfig, int]:
    """Compose every job of a multirun, so that whatever does not fit is said before any work.

    Returns:
        The config of the first job, and the number of jobs.

    Raises:
        ConfigError: one of them does not fit, or a launcher is not installed.
    """
    jobs = sweep_jobs(overrides, config_dirs)
    first: DictConfig | None = None
    for job in jobs:
        try:
            config = compose_config(job, config_dirs=config_dirs)
            first = config if first is None else first
            check_plan(config)
        except ConfigError as problem:
            if launcher := _missing_launcher(job):
                raise ConfigError(launcher) from problem
            own = [word for word in job if any(word not in other for other in jobs)]
            where = f" (job {jobs.index(job)} of the sweep: {' '.join(own)})" if own else ""
            raise ConfigError(f"{problem}{where}") from problem
    assert first is not None
    return first, len(jobs)


def sweep_jobs(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """The overrides of every job of a multirun, in the order that Hydra runs them.

    Raises:
        ConfigError: an override cannot be read, or its values cannot be listed.
    """
    with hydra_ready(config_dirs):
        try:
            parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
            parsed = parser.parse_overrides(list(overrides))
            if unbounded := [one.input_line for one in parsed if one.is_interval_sweep()]:
                raise ConfigError(
                    f"{unbounded[0]}: an interval has no list of values; give some: KEY=A,B or KEY=range(A,B)"
                )
            choices = [
                [f"{one.get_key_element()}={value}" for value in one.sweep_string_iterator()]
                if one.is_sweep_override()
                else [str(one.input_line)]
                for one in parsed
            ]
        except HydraException as problem:
            raise ConfigError(explain(problem, "config", ())) from problem
    if empty := [one.input_line for one, values in zip(parsed, choices, strict=True) if not values]:
        raise ConfigError(f"{empty[0]} has no value to sweep: write KEY=A,B")
    return list(itertools.product(*choices))


def check_plan(config: DictConfig) -> None:
    """Hold what an experiment plans against what it has, as far as that can be seen without photos and weights.

    Raises:
        ConfigError: a setting has no value or one of a wrong kind, or a method cannot be built.
    """
    from cloakbench.bench.experiment import single_choices
    from cloakbench.bench.kinds import check_kinds

    config = copy.deepcopy(config)
    check_kinds(config)
    single_choices(config)
    if missing := [key for key in missing_settings(config) if not key.startswith("hydra")]:
        raise ConfigError(f"{missing[0]} is not set: {missing[0]}=...")
    if config.targets:
        build_cells(config)


def _missing_launcher(overrides: Sequence[str]) -> str:
    """How to get the launcher that a multirun asks for, if it is one of ours and not installed."""
    name = next((word.partition("=")[2] for word in overrides if word.startswith("hydra/launcher=")), "")
    package = _LAUNCHERS.get(name)
    if package is None or find_spec(f"hydra_plugins.{package}") is not None:
        return ""
    return f"hydra/launcher={name} needs a package that is not installed: pip install 'cloakbench[sweep]'"


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
