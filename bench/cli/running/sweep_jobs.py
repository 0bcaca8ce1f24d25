"""The jobs of a multirun, listed and held against what they need before the first of them begins."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.errors import HydraException
from omegaconf import DictConfig

from cloakbench.bench.config.compose import as_mistake, compose_config, group_options, missing_settings
from cloakbench.bench.config.values import as_typed
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.experiment.parts import build_parts

_LAUNCHERS = {
    "joblib": "hydra_joblib_launcher",
    "submitit_local": "hydra_submitit_launcher",
    "submitit_slurm": "hydra_submitit_launcher",
}
"""Hydra launchers that the extra ``sweep`` brings, to their packages."""


def check_sweep(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> tuple[DictConfig, int]:
    """Compose every job of a multirun and build its parts, so that whatever does not fit is said before any work.

    Returns:
        The config of the first job, and the number of jobs.

    Raises:
        ConfigError: one of them does not fit, or a launcher is not installed.
    """
    jobs = sweep_jobs(overrides, config_dirs)
    first: DictConfig | None = None
    for number, job in enumerate(jobs):
        try:
            config = compose_config(job, config_dirs=config_dirs)
            first = config if first is None else first
            if missing := missing_settings(config):
                raise ConfigError(f"{missing[0]} is not set: {missing[0]}=...")
            build_parts(copy.deepcopy(config))
        except ConfigError as problem:
            if launcher := _missing_launcher(job):
                raise ConfigError(launcher) from problem
            own = [word for word in job if any(word not in other for other in jobs)]
            where = f" (job {number} of the sweep: {' '.join(own)})" if own else ""
            raise ConfigError(f"{problem}{where}") from problem
    assert first is not None
    return first, len(jobs)


def sweep_jobs(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """The overrides of every job of a multirun, in the order that Hydra runs them.

    Raises:
        ConfigError: an override cannot be read, or its values cannot be listed.
    """
    words = [as_typed(word, sweeping=True) for word in overrides]
    try:
        choices = [_choices(one, config_dirs) for one in OverridesParser.create().parse_overrides(words)]
    except HydraException as problem:
        raise as_mistake(problem, words, "config", config_dirs) from problem
    return list(itertools.product(*choices))


def _choices(override: Any, config_dirs: Sequence[str]) -> list[str]:
    if not override.is_sweep_override():
        return [str(override.input_line)]
    key = override.get_key_element()
    if isinstance(override.value(), Glob):
        names = override.value().filter(group_options(override.key_or_group, config_dirs))
    elif override.is_discrete_sweep():
        names = list(override.sweep_string_iterator())
    else:
        raise ConfigError(f"cannot sweep over {override.input_line!r}: list its values, {key}=1,2,3")
    if not names:
        raise ConfigError(f"{override.input_line!r} has no values to sweep over")
    return [f"{key}={name}" for name in names]


def _missing_launcher(overrides: Sequence[str]) -> str:
    """How to get the launcher that a multirun asks for, if it is one of ours and not installed."""
    name = next((word.partition("=")[2] for word in overrides if word.startswith("hydra/launcher=")), "")
    package = _LAUNCHERS.get(name)
    if package is None or find_spec(f"hydra_plugins.{package}") is not None:
        return ""
    return f"hydra/launcher={name} needs a package that is not installed: pip install 'cloakbench[sweep]'"
