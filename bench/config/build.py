"""Building the parts that a config describes: whatever is wrong with one is a line with the setting's dotted name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.utils import instantiate

from cloakbench.bench.config.checks.annotations import check_part
from cloakbench.bench.core.errors import ConfigError, refusal_of
from cloakbench.bench.core.machine import MachineError, machine_trouble


def build(config: Mapping[str, Any], where: str, *, convert: str = "none") -> Any:
    """What a resolved block with ``_target_`` describes.

    Args:
        config: plain values.
        where: dotted name of the block on the command line.
        convert: how Hydra passes lists and mappings on, where the block does not say (``_convert_``).

    Raises:
        ConfigError: a setting is unknown or wrong, or the constructor refuses.
        MachineError: the machine failed meanwhile.
    """
    check_part(config, where)
    try:
        return instantiate({"_convert_": convert, **config})
    except Exception as problem:  # a constructor may raise anything
        if trouble := machine_trouble(problem):
            raise MachineError(f"{where}: {trouble}") from problem
        raise ConfigError(refusal_of(problem, where)) from problem
