"""The plan: from a composed config to cells, chunks of people, and units of work.

A *cell* is a method at a budget on a surrogate; a *unit* is a cell applied to one chunk of people
(:mod:`cloakbench.bench.plan.chunks`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.config.asked import asks_about_probes
from cloakbench.bench.config.budgets import budgets_of, refuse_idle_budgets
from cloakbench.bench.config.build import build
from cloakbench.bench.core.axes import BudgetSize, row_name
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.plan.chunks import Chunk
from cloakbench.bench.plan.labels import SurrogateLabels
from cloakbench.bench.plan.limits import NO_LIMIT, Limit, read_limits
from cloakbench.bench.plan.variants import Variant, read_grids, variants_of
from cloakbench.methods.base import TITLE, Protector, without_title
from cloakbench.methods.context import Need

NO_SURROGATE = ""


@dataclass(frozen=True)
class Cell:
    """A method at one budget on one surrogate (or ensemble).

    Attributes:
        method: key of the method in the experiment.
        config: resolved method config with the budget in place.
        budget: how far it may go.
        surrogate: label of the surrogate or ensemble, empty for methods that use none.
        surrogates: keys of the models behind the label.
        where: place of the method on the command line, for errors.
        title: how reports print the method; decides nothing and is in no key.
        variant, varied: `Variant.text` and `Variant.varied`; they are in no key, since the config says the same.
        limit: the part of the plan that the method is kept to.
    """

    method: str
    config: Mapping[str, Any]
    budget: BudgetSize
    surrogate: str
    surrogates: tuple[str, ...]
    where: str = ""
    title: str = ""
    variant: str = ""
    varied: str = ""
    limit: Limit = NO_LIMIT

    @cached_property
    def protector(self) -> Protector:
        """The method itself, built at the first call in each process.

        Raises:
            ConfigError: a setting is unknown or wrong, in the user's spelling.
        """
        return make_protector(self.config, self.method, self.where)

    def on(self, surrogate: str, surrogates: tuple[str, ...]) -> Cell:
        """The same on a surrogate; the method, in which no surrogate is a setting, is not built again."""
        cell = replace(self, surrogate=surrogate, surrogates=surrogates)
        vars(cell)["protector"] = self.protector
        return cell

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a worker: it builds the method for itself."""
        return {name: value for name, value in vars(self).items() if name != "protector"}

    @property
    def row(self) -> str:
        """Method and variant, as tables name it."""
        return row_name(self.method, self.variant)

    @property
    def method_label(self) -> str:
        """Method and budget, as figures print them: ``pgd 8/255``, ``pgd (steps=2) 8/255``."""
        return self.row + f" {self.budget.title}" * bool(self.budget)

    @property
    def label(self) -> str:
        """What logs and progress call the cell."""
        return self.method_label + (f" on {self.surrogate}" if self.surrogate else "")

    @property
    def axes(self) -> dict[str, Any]:
        """Its place in a frame."""
        return {
            "method": self.method,
            "variant": self.variant,
            "epsilon_255": self.budget.number,
            "surrogate": self.surrogate,
        }


@dataclass(frozen=True)
class Unit:
    """One cell on one chunk of a publication: the smallest piece of work that is stored."""

    cell: Cell
    chunk: Chunk
    key: str
    publication: str


def build_cells(config: DictConfig, place: str = "") -> list[Cell]:
    """Every cell of a publication: controls, methods and their variants, at each budget, on each surrogate.

    At which budgets a method runs, `budgets_of` says. Controls run at every budget that some method runs at.
    ``plan.limits`` keeps a costly method and its variants to some budgets and surrogates.

    Args:
        config: the experiment.
        place: the block whose ``methods`` are planned, with a dot at its end; empty for the experiment's own.

    Raises:
        ConfigError: no method was asked for, a method needs a surrogate and there is none, or more of them together
            than it is given, a setting of a method is wrong, a limit or a variant fits nothing, or a budget on the
            command line has no effect.
    """
    block = OmegaConf.select(config, place.rstrip(".")) if place else config
    chosen = is_chosen(config, place)
    methods = chosen_methods(config, place)
    if not methods and not place:
        raise ConfigError("the experiment has no method: choose one with method=NAME (see cloakbench list methods)")
    labels = SurrogateLabels.of(config).only(block.get("surrogates") if place else None, place)
    more = {} if chosen or not place else dict(block.get("more_epsilons_255") or {})
    if missing := [key for key in more if key not in methods]:
        raise ConfigError(f"{place}more_epsilons_255 names {missing[0]}, which is not among {place}methods")

    cells: list[Cell] = []
    limits, grids = read_limits(config, methods, place), read_grids(config, methods, place)
    without, at_list = [], False
    for key, method in methods.items():
        limit = limits.get(key, NO_LIMIT)
        axis = budgets_of(config, key, limit.epsilons_255, place, chosen=chosen)
        if key in more:
            axis = axis or [method.epsilon_255]
            axis += [value for value in more[key] if value not in axis]
        where = "method" if chosen else f"{place}methods.{key}"
        variants = variants_of(key, method, grids.get(key, {}), where)
        own = list(_cells_of(key, variants, _title(key, method), axis, labels, limit))
        without += [] if own[0].budget else [key]
        at_list |= axis == list(block.get("epsilons_255") or ()) and bool(own[0].budget)
        cells += own
    refuse_idle_budgets(config, without, place, at_list=at_list, chosen=chosen)
    budgets = sorted({cell.budget.number for cell in cells if cell.budget})
    controls = [
        cell
        for key, method in config.controls.items()
        if key not in methods
        for cell in _cells_of(
            str(key),
            variants_of(str(key), method, {}, f"controls.{key}"),
            _title(str(key), method),
            budgets or None,
            labels,
            limits.get(str(key), NO_LIMIT),
        )
    ]
    cells = controls + cells
    for cell in cells:
        if Need.GENERATOR in cell.protector.needs:
            check_views(cell.protector, cell.row, chosen=config.get("generator") is not None)
    return cells


def check_views(protector: Protector, row: str, *, chosen: bool) -> None:
    """Refuse a method that needs a generator where none is chosen, or that asks it for nothing.

    Args:
        protector: a method that needs one.
        row: how tables name it.
        chosen: whether a generator is.

    Raises:
        ConfigError: so it is.
    """
    if not chosen:
        raise ConfigError(f"{row} needs a generator: choose one with generator=NAME (see cloakbench list generators)")
    if protector.view_count < 1:
        raise ConfigError(
            f"{row} asks its generator for {protector.view_count} views of a person: at least 1 is needed"
        )


def is_chosen(config: DictConfig, place: str) -> bool:
    """Whether ``method=`` replaces the methods of a block: the experiment's own, or where they are all there is."""
    return config.method is not None and (not place or not asks_about_probes(config))


def chosen_methods(config: DictConfig, place: str = "") -> dict[str, DictConfig]:
    """The methods of a block by key: the one chosen with ``method=``, or those of its list."""
    if is_chosen(config, place):
        return {str(config.method_key): config.method}
    block = OmegaConf.select(config, place.rstrip(".")) if place else config
    return {str(key): method for key, method in block.methods.items()}


def _title(key: str, method: DictConfig) -> str:
    return str(method.get(TITLE) or key)


def _cells_of(
    key: str,
    variants: Sequence[Variant],
    title: str,
    axis: Sequence[float] | None,
    labels: SurrogateLabels,
    limit: Limit,
) -> Iterator[Cell]:
    """The cells of one method: at every budget of ``axis``, or its own, on every surrogate if it uses one."""
    for variant, epsilon_255 in ((one, size) for one in variants for size in _sizes(one, axis)):
        at_budget = {**variant.config, **({"epsilon_255": epsilon_255} if epsilon_255 is not None else {})}
        told = (variant.where, title, variant.text, variant.varied, limit)
        first = Cell(key, at_budget, BudgetSize.of(epsilon_255), NO_SURROGATE, (), *told)
        needs = first.protector.needs
        if not needs & {Need.SURROGATES, Need.ATTRIBUTE_SURROGATES}:
            yield first
            continue
        for label, keys in (limit.surrogates or labels.met(needs, key)).items():
            if len(keys) < (least := first.protector.least_surrogates):
                raise ConfigError(
                    f"{key} needs an ensemble of at least {least} surrogates, {label} is {len(keys)}: name more, as in "
                    f"plan.limits.{key}.surrogates={{both: [FIRST, SECOND]}}"
                )
            yield first.on(label, keys)


def _sizes(variant: Variant, axis: Sequence[float] | None) -> Sequence[float | None]:
    """Budgets of a method; None for one that runs without, whatever the others run at."""
    own = variant.config.get("epsilon_255")
    return [own] if own is None or not axis else axis


def make_protector(config: Mapping[str, Any], key: str, where: str = "") -> Protector:
    """Build a method.

    Args:
        config: resolved config; a title in it is for reports and left out.
        key: of the method in the experiment.
        where: its place on the command line, for errors; ``methods.KEY`` if left out.

    Raises:
        ConfigError: a setting that is unknown or wrong, in the user's spelling.
    """
    where = where or f"methods.{key}"
    protector = build(without_title(config), where, convert="all")
    if not isinstance(protector, Protector):
        raise ConfigError(f"{where}: {config['_target_']} built a {type(protector).__name__}, not a Protector")
    return protector
