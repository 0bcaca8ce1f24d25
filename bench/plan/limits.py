"""`Limit`: the part of a plan that a costly method is kept to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property

from omegaconf import DictConfig

from cloakbench.bench.config.asked import asks_about_probes
from cloakbench.bench.config.compose import resolved
from cloakbench.bench.config.given import is_given, is_taken_out
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.plan.networks import attribute_labels


@dataclass(frozen=True)
class Limit:
    """What a costly method is kept to; None and empty mean that nothing is left out.

    Attributes:
        people: the first people of the photos.
        photos: of each of them the first photos.
        epsilons_255: budgets instead of the experiment's.
        surrogates: label to keys of surrogates, instead of the experiment's; several keys are an ensemble.
    """

    people: int | None = None
    photos: int | None = None
    epsilons_255: tuple[float, ...] = ()
    surrogates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


NO_LIMIT = Limit()


def read_limits(config: DictConfig, methods: Collection[str], place: str = "") -> dict[str, Limit]:
    """``plan.limits`` of the methods of a publication, by method.

    Args:
        config: the experiment.
        methods: the methods of the publication.
        place: the block they stand in, with a dot at its end; empty for the experiment's own.

    Raises:
        ConfigError: a method or surrogate that the experiment does not have, or an unknown key.
    """
    limits, meant = {}, Meant(config, "plan.limits", {*methods, *map(str, config.controls)}, place)
    for method, given in (config.plan.limits or {}).items():
        plain = resolved(given)
        if unknown := sorted(set(plain) - {item.name for item in fields(Limit)}):
            raise ConfigError(f"plan.limits.{method} has no setting {unknown[0]!r}; see conf/config.yaml")
        if not meant.of(str(method)):
            continue
        surrogates = {label: tuple(keys) for label, keys in (plain.get("surrogates") or {}).items()}
        known = {*map(str, config.surrogates), *(key for keys in attribute_labels(config).values() for key in keys)}
        if strangers := [key for keys in surrogates.values() for key in keys if key not in known]:
            raise ConfigError(
                f"plan.limits names {strangers[0]}, which this experiment does not have: set "
                f"plan.limits.{method}.surrogates={{LABEL: [KEY]}}, or null for all surrogates"
            )
        budgets = tuple(plain.get("epsilons_255") or ())
        limits[str(method)] = Limit(plain.get("people"), plain.get("photos"), budgets, surrogates)
    return limits


class Meant:
    """Whether what a setting says of a method is meant for a publication.

    What a preset says of methods that were not chosen, or were taken out, does not apply; nor what it says of those of
    another block.

    Args:
        config: the experiment.
        setting: a mapping from methods, such as ``plan.limits``, or a list of them.
        methods: those of the publication of which it may speak.
        place: the block they stand in, with a dot at its end; empty for the experiment's own.
    """

    def __init__(self, config: DictConfig, setting: str, methods: Collection[str], place: str = "") -> None:
        self._config, self._setting, self._methods, self._place = config, setting, methods, place

    def of(self, method: str) -> bool:
        """Whether it speaks of the method here.

        Raises:
            ConfigError: the experiment does not have the method.
        """
        if method in self._methods:
            return True
        config, lists = self._config, self._lists
        elsewhere = any(method in block for block in lists)
        taken_out = any(is_taken_out(config, f"{block}methods.{method}") for block in ("", self._place))
        is_own = is_given(config, f"{self._setting}.{method}")
        if elsewhere or ((config.method is not None or taken_out) and not is_own):
            return False
        known = ", ".join(sorted({*self._methods, *(str(key) for block in lists for key in block)}))
        raise ConfigError(f"{self._setting} names {method}, which this experiment does not have; it has: {known}")

    @cached_property
    def _lists(self) -> list[Collection[str]]:
        return _method_lists(self._config)  # which builds the protocols: once for all methods


def _method_lists(config: DictConfig) -> list[Collection[str]]:
    """The lists of methods that the experiment really uses."""
    blocks = [protocol for protocol in config.protocols.values() if isinstance(protocol.get("methods"), DictConfig)]
    own = [{str(config.method_key)}] if config.method is not None else [{str(key) for key in config.methods}]
    return [*(own if asks_about_probes(config) else []), *({str(key) for key in block.methods} for block in blocks)]
