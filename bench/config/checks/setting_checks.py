"""Every setting of an experiment is looked at before any work: its own, and those of the parts it is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cloakbench.bench.config.checks.annotations import check_inside
from cloakbench.bench.config.checks.schema import KINDS, at_least, check_kinds
from cloakbench.bench.config.compose import missing_settings
from cloakbench.bench.core.errors import ConfigError
from cloakbench.models.services import RemoteService

_MAY_BE_EMPTY = (
    *("methods", "surrogates", "targets", "transforms", "controls", "protocols", "metrics", "logger", "ensembles"),
    *("attribute_surrogates", "attribute_targets", "variants", "services"),
)
"""Lists that ``~NAME`` may take out of an experiment as a whole."""
_REPLACED_BY = {"methods": "method", "surrogates": "surrogate", "targets": "target"}
_BLOCKS = ("plan", "remote", "statistics", "report", "runtime")
_NEEDED = (
    "name",
    "description",
    "seed",
    "dataset",
    "method",
    "surrogate",
    "target",
    "generator",
    "attribute_task",
    "attribute_counts",
    "single_surrogates",
    "epsilons_255",
    *(key for key in KINDS if key.split(".")[0] in _BLOCKS and "*" not in key),
)
"""What ``~KEY`` cannot take out of an experiment."""
_PARTS = (
    "dataset",
    "model",
    "detector",
    "world",
    "impostors",
    "evaluation",
    "way_back",
    "members.*",
    "method",
    "surrogate",
    "target",
    "generator",
    "methods.*",
    "controls.*",
    "surrogates.*",
    "targets.*",
    "attribute_task",
    "attribute_surrogates.*",
    "attribute_targets.*",
    "transforms.*",
    "protocols.*",
    "metrics.*",
    "services.*",
    "logger.*",
)


def check_settings(config: DictConfig) -> None:
    """Hold every setting of an experiment against what it must be; nothing is built, read or rendered.

    Lists that were taken out as a whole become empty ones, in place.

    Raises:
        ConfigError: one is wrong, or has no value; one line with its dotted name.
    """
    with open_dict(config):
        for name in _MAY_BE_EMPTY:
            if config.get(name) is None:
                config[name] = {}
    for key in _NEEDED:
        block, _, name = key.rpartition(".")
        holder = config.get(block) if block else config
        if isinstance(holder, DictConfig) and name not in holder:
            raise ConfigError(f"the experiment has no {key}, which it needs: leave ~{key} out")
    if config.seed is None:
        raise ConfigError(at_least(0).refusal("seed", None))
    check_values(config)


_NETWORKS = ("surrogate", "target", "surrogates.*", "targets.*", "attribute_surrogates.*", "attribute_targets.*")


def _refuse_services(plain: Mapping[str, Any]) -> None:
    """Refuse a service where a network is asked for.

    Raises:
        ConfigError: there is one.
    """
    for where, part in _parts(plain, _NETWORKS):
        if builds_service(part):
            key = where.rpartition(".")[2]
            raise ConfigError(
                f"{where} is a service, which has no gradients and is asked over a network: it can only judge, as "
                f"service@services.{key}=NAME with protocol@protocols.remote=remote"
            )


def builds_service(part: Any) -> bool:
    """Whether a block builds a service; what cannot be found or imported is told when it is built."""
    try:
        built = get_method(part["_target_"])
    except Exception:  # importing somebody's module may raise anything
        return False
    return isinstance(built, type) and issubclass(built, RemoteService)


def check_values(config: DictConfig) -> None:
    """The same for any config: the settings that are there, and those of its parts.

    Raises:
        ConfigError: one is wrong, or has no value; one line with its dotted name.
    """
    plain = _resolved(config)
    check_kinds(plain)
    _refuse_services(plain)
    for where, part in _parts(plain):
        check_inside(part, where)


def _resolved(config: DictConfig) -> dict[str, Any]:
    """Plain values of a config; what has none is ``???``. A list that a single choice replaces is empty.

    Raises:
        ConfigError: a value refers to one that is not there.
    """
    experiment = "protocols" in config  # a command may take the one beside the many
    replaced = [many for many, one in _REPLACED_BY.items() if experiment and config.get(one) is not None]
    used = OmegaConf.masked_copy(config, [str(key) for key in config if key not in replaced])
    try:
        plain: Any = OmegaConf.to_container(used, resolve=True)
    except OmegaConfBaseException as problem:
        if missing := missing_settings(used):
            raise ConfigError(f"{missing[0]} is not set: {missing[0]}=...") from problem
        raise ConfigError(" ".join(str(problem).split())) from problem
    return plain | {many: {} for many in replaced}


def _parts(plain: Mapping[str, Any], keys: Sequence[str] = _PARTS) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Dotted name and config of every part."""
    for key in keys:
        holder = key.removesuffix(".*")
        node: Any = plain
        for step in holder.split("."):
            node = node.get(step) if isinstance(node, Mapping) else None
        if node is not None and key.endswith(".*"):
            yield from ((f"{holder}.{name}", part) for name, part in node.items())
        elif node is not None:
            yield holder, node
