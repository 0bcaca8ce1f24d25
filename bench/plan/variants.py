"""`Variant`: a method under settings that ``variants`` of the experiment list, a row of its own in every table."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.config.compose import resolved
from cloakbench.bench.config.given import is_given
from cloakbench.bench.core.axes import in_order, variant_text
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.redaction import without_secret_settings
from cloakbench.bench.plan.limits import Meant
from cloakbench.methods.base import TITLE, without_title

Grid = Mapping[str, Sequence[Any]]
"""Setting to the values that it takes."""
_BUDGET = "epsilon_255"


@dataclass(frozen=True)
class Variant:
    """A method with its settings.

    Attributes:
        text: of the settings that were listed (`variant_text`), without secrets; empty for the method as composed.
        config: resolved settings without the title: those that the method would have if it were composed with them.
        where: its place in the experiment, for errors.
        varied: text of the settings that set the variants of this method apart; the method as composed has it, too.
    """

    text: str
    config: Mapping[str, Any]
    where: str
    varied: str


def read_grids(config: DictConfig, methods: Collection[str], place: str = "") -> dict[str, Grid]:
    """``variants`` of the methods of a publication, by method; see `Meant` for what applies.

    Raises:
        ConfigError: a method that the experiment does not have, or a control.
    """
    grids, meant = {}, Meant(config, "variants", methods, place)
    for method, given in (config.variants or {}).items():
        if method in config.controls and method not in methods:
            raise ConfigError(f"variants names {method}, a control, which has none; name one of {', '.join(methods)}")
        if meant.of(str(method)):
            grids[str(method)] = _left(config, str(method), resolved(given))
    return grids


def _left(config: DictConfig, method: str, grid: Grid) -> Grid:
    """A grid without the settings that were typed for the chosen method: those are no longer what a preset varies."""
    if config.method is None or is_given(config, f"variants.{method}"):
        return grid
    return {name: values for name, values in grid.items() if not is_given(config, f"method.{name}")}


def variants_of(key: str, method: DictConfig, grid: Grid, where: str) -> list[Variant]:
    """A method as composed, then one variant for each combination of the listed values, by their texts.

    Args:
        key: of the method.
        method: its settings.
        grid: the listed values; none for a method without variants.
        where: its place in the experiment, for errors.

    Raises:
        ConfigError: a setting that is unknown or the budget, or settings that the method has already.
    """
    own = _text({name: _own_value(key, method, name) for name in grid})
    found: dict[str, Variant] = {"": Variant("", without_title(resolved(method)), where, own)}
    for values in itertools.product(*grid.values()) if grid else ():
        settings = dict(zip(grid, values, strict=True))
        text = _text(settings)
        if text == own:
            raise ConfigError(f"variants.{key}: {text} is how {key} is set already, and a row of its own: leave it out")
        if text in found:
            raise ConfigError(f"variants.{key}: {text} is listed twice: leave one of them out")
        varied = copy.deepcopy(method)
        for name, value in settings.items():
            OmegaConf.update(varied, name, value)
        found[text] = Variant(text, without_title(resolved(varied)), f"variants.{key}", text)
    return [found[text] for text in in_order(found)]


def _own_value(key: str, method: DictConfig, name: str) -> Any:
    """What a method is set to; ``name`` may lead into a block: ``objective.warmup_steps``."""
    if name == _BUDGET:
        raise ConfigError(f"variants.{key}.{name} is the budget, which is no setting of variants: use epsilons_255")
    node: Any = method
    for step in name.split("."):
        known = [str(one) for one in node if str(one)[0] != "_"] if isinstance(node, DictConfig) else []
        known = [one for one in known if node is not method or one not in (TITLE, _BUDGET)]
        if step not in known:
            raise ConfigError(f"variants.{key} has no setting {name!r}; it has: {', '.join(known) or 'none'}")
        node = node[step]
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _text(settings: Mapping[str, Any]) -> str:
    return variant_text(without_secret_settings(settings))
