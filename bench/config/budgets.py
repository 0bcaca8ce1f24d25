"""At which budgets a method runs: its own, those of a list, or those it is limited to.

What stands on the command line goes before what a preset says. Two settings there that both name the budgets of one
method contradict each other, and a list that nothing runs at would be dropped in silence: each is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.config.asked import asks_about_probes
from cloakbench.bench.config.given import given_below, is_given
from cloakbench.bench.core.errors import ConfigError


def budgets_of(
    config: DictConfig, key: str, limited: Sequence[float], place: str = "", *, chosen: bool
) -> list[float] | None:
    """Budgets of a method in grey levels; None for its own ``epsilon_255``.

    A list of the preset, be it for all methods or a limit for this one, is for the methods of the preset: a method
    chosen with ``method=`` runs at its own budget unless the command line says otherwise. A limit of the preset keeps a
    costly method of its list to its budgets whatever the list for all of them.

    Args:
        config: the experiment.
        key: of the method.
        limited: what ``plan.limits`` keeps it to; empty for no limit.
        place: the block whose list it stands in, with a dot at its end; empty for the experiment's own.
        chosen: it was chosen with ``method=`` instead of that list.

    Raises:
        ConfigError: two settings on the command line say it.
    """
    own, limit, everybody = (
        "method.epsilon_255" if chosen else f"{place}methods.{key}.epsilon_255",
        f"plan.limits.{key}.epsilons_255",
        f"{place}epsilons_255",
    )
    typed = _typed(config, key, (own, limit, everybody))
    if typed == own or (chosen and not typed):
        return None
    if not limited or (typed == everybody and chosen):
        return list(OmegaConf.select(config, everybody) or ()) or None
    return list(limited)


def refuse_idle_budgets(
    config: DictConfig, without: Collection[str], place: str = "", *, at_list: bool, chosen: bool
) -> None:
    """Refuse budgets on the command line that no cell runs at.

    Args:
        config: the experiment.
        without: methods that run without a budget.
        place: the block whose methods were planned, with a dot at its end; empty for the experiment's own.
        at_list: whether some method runs at ``epsilons_255``.
        chosen: ``method=`` replaced the methods of that block.

    Raises:
        ConfigError: there are some; the message names the setting that is meant.
    """
    if chosen and (idle := given_below(config, f"{place}methods", "epsilon_255")):
        raise ConfigError(f"{idle[0]} has no effect with method={config.method_key}: set method.epsilon_255")
    if idle := given_below(config, "controls", "epsilon_255"):
        raise ConfigError(f"{idle[0]} has no effect: controls run at every budget of the methods")
    if chosen and place and is_given(config, idle := f"{place}more_epsilons_255"):
        raise ConfigError(f"{idle} has no effect with method={config.method_key}: set {place}epsilons_255")
    if place:
        if is_given(config, "epsilons_255") and config.epsilons_255 and not asks_about_probes(config):
            raise ConfigError(f"epsilons_255 has no effect where nobody asks about probes: set {place}epsilons_255")
    elif is_given(config, "epsilons_255") and config.epsilons_255 and not at_list:
        why = f"{', '.join(without)} has no budget (epsilon_255)" if without else "plan.limits says others"
        raise ConfigError(f"epsilons_255={list(config.epsilons_255)} has no effect: {why}; leave it out")


def _typed(config: DictConfig, key: str, settings: Sequence[str]) -> str:
    """Which of the settings stands on the command line; empty for none."""
    typed = [name for name in settings if is_given(config, name)]
    if len(typed) > 1:
        raise ConfigError(f"{typed[0]} and {typed[1]} both say at which budgets {key} runs: leave one of them out")
    return typed[0] if typed else ""
