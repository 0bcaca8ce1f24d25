"""What kind of value each of an experiment's own settings takes, so that a wrong one is one line and no traceback.

Settings of methods, models and data sets are checked by their constructors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from cloakbench.bench.plan import ConfigError


@dataclass(frozen=True)
class Kind:
    """A kind of value: what it is in words, and whether a value is one."""

    words: str
    accepts: Callable[[Any], bool]

    def __or__(self, other: Kind) -> Kind:
        return Kind(f"{self.words}, or {other.words}", lambda value: self.accepts(value) or other.accepts(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _at_least(least: int) -> Kind:
    return Kind(
        f"a whole number of at least {least}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least,
    )


NULL = Kind("null", lambda value: value is None)
AUTO = Kind("auto", lambda value: value == "auto")
NUMBERS = Kind(
    "a list of numbers such as [4,8]", lambda value: isinstance(value, ListConfig) and all(map(_is_number, value))
)
NAMES = Kind(
    "a list of names such as [one,two]",
    lambda value: isinstance(value, ListConfig) and all(isinstance(name, str) for name in value),
)
MAPPING = Kind("a mapping such as {key: value}", lambda value: isinstance(value, DictConfig))

KINDS: Mapping[str, Kind] = {
    "seed": _at_least(0),
    "epsilons_255": NUMBERS | NULL,
    "ensembles": MAPPING,
    "plan.chunk_identities": _at_least(1),
    "plan.embed_batch": _at_least(1),
    "plan.limits": MAPPING | NULL,
    "quality.metrics": NAMES,
    "statistics.resamples": _at_least(1),
    "report.examples": _at_least(0),
    "runtime.workers": AUTO | _at_least(0),
    "poisoning.identities": _at_least(2) | NULL,
    "poisoning.other_identities": _at_least(0) | NULL,
    "poisoning.references": _at_least(1),
    "poisoning.epsilons_255": NUMBERS | NULL,
    "poisoning.more_epsilons_255": MAPPING,
    "poisoning.surrogates": NAMES | NULL,
    "poisoning.clean_shares": NUMBERS,
    "poisoning.variants_on": NAMES | NULL,
    "poisoning.seeds": NUMBERS,
    "poisoning.methods": MAPPING,
    "poisoning.attackers": MAPPING,
    "poisoning.regimes": MAPPING,
}


def check_kinds(config: DictConfig) -> None:
    """Hold the settings of an experiment that are there against `KINDS`.

    Raises:
        ConfigError: one has a value of another kind.
    """
    for key, kind in KINDS.items():
        block, _, name = key.rpartition(".")
        holder = OmegaConf.select(config, block) if block else config
        if isinstance(holder, DictConfig) and name in holder and not kind.accepts(holder[name]):
            raise ConfigError(f"{key} is {_shown(holder[name])}: it must be {kind.words}")


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
