"""Given settings: those that stand on the command line, as opposed to those that a preset brings.

A budget that somebody types is meant for this run; one that a preset lists may have no use in it. The command line
notes the dotted names of what was typed in ``given``, a setting of the experiment that is no part of any key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from cloakbench.bench.core.errors import ConfigError

_TAKEN_OUT = "~"
_OWN = frozenset({"given", "method_key"})


def note_given(config: DictConfig, overrides: Sequence[str]) -> None:
    """Write into ``config.given`` what ``overrides`` set; configs without that setting are left alone.

    Raises:
        ConfigError: they set what only this program sets, which would have no effect.
    """
    if "given" in config:
        names = set(_names(overrides))
        if own := sorted(names & _OWN):
            raise ConfigError(f"{own[0]} has no effect, since the command line sets it: leave it out")
        config.given = sorted(names)


def take_out(config: DictConfig, overrides: Sequence[str]) -> None:
    """Finish what ``~GROUP@PLACE`` begins: Hydra takes the choice out and leaves what a preset sets in its place."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if override.is_delete() and override.package and OmegaConf.select(config, override.package) is not None:
            outer, _, name = override.package.rpartition(".")
            block = OmegaConf.select(config, outer) if outer else config
            with open_dict(block):
                del block[name]


def is_given(config: DictConfig, key: str) -> bool:
    """Whether a setting, or something inside it, stands on the command line."""
    return any(name == key or name.startswith(f"{key}.") for name in config.given)


def is_taken_out(config: DictConfig, key: str) -> bool:
    """Whether the command line took a setting out, alone or with what it stands in: ``~methods.apf``."""
    steps = key.split(".")
    wholes = {".".join(steps[: count + 1]) for count in range(len(steps))}
    return not wholes.isdisjoint(name.removeprefix(_TAKEN_OUT) for name in config.given if name[0] == _TAKEN_OUT)


def given_below(config: DictConfig, key: str, last: str) -> list[str]:
    """Settings on the command line that lie somewhere below ``key`` and are called ``last``."""
    return [name for name in config.given if name.startswith(f"{key}.") and name.endswith(f".{last}")]


def _names(overrides: Sequence[str]) -> Iterator[str]:
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.package or override.key_or_group
        if override.is_delete():
            yield f"{_TAKEN_OUT}{key}"
        else:
            yield from _leaves(key, _value(override))


def _value(override: Override) -> Any:
    return None if override.is_sweep_override() else override.value()


def _leaves(key: str, value: Any) -> Iterator[str]:
    """Dotted names of what a mapping sets: one that is typed whole is merged into what the preset says."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    else:
        yield key
