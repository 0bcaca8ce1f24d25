"""Lookup: the few questions that pairings and claims ask of the measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from cloakbench.bench.core.axes import BudgetSize
from cloakbench.bench.core.ranges import is_number
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import ALL, CellPlace, Measured, Place, Run
from cloakbench.bench.report.labels import varied_settings
from cloakbench.bench.report.norms import Norms

USUAL_BUDGET = BudgetSize(8.0)


class NotComparableError(Exception):
    """A run has no number for what is asked; the message is the reason to print."""


class NotAskedError(NotComparableError):
    """The run has nothing of the kind: it never asked."""


@dataclass(frozen=True)
class MeasuredMethod:
    """A method as one protocol measured it.

    Attributes:
        run: method and budget.
        surrogates: the surrogates it was measured on; ``("",)`` when it uses none.
        settings: what sets the variants of the method apart, setting to number, for claims about a rise with one.
    """

    run: Run
    surrogates: tuple[str, ...]
    settings: Mapping[str, float] = field(default_factory=dict)


class Lookup:
    """Answers from the index of a run, whatever photos a protocol is about.

    Attributes:
        dataset: name and version of the data set.
        models: model cards, `Results.models`.
        norms: how far the photos of each row really are from their originals.
    """

    def __init__(self, measured: Measured) -> None:
        self.dataset: str = measured.results.dataset
        self.models: pd.DataFrame = measured.results.models
        self.norms = Norms(measured)
        self._measured = measured
        self._judges: dict[tuple[str, str], dict[str, None]] = {}
        self._white_box = {(cell.surrogate, cell.judge) for cell, rate in measured.cells.items() if rate.white_box}
        used: dict[tuple[str, Run], set[str]] = {}
        for cell in measured.cells:
            self._judges.setdefault((cell.place.protocol, cell.place.metric), {})[cell.judge] = None
            used.setdefault((cell.place.protocol, cell.run), set()).add(cell.surrogate)
        self._methods = {
            key: MeasuredMethod(key[1], tuple(measured.in_order(names)) or ("",), self._settings(key[1].method))
            for key, names in used.items()
        }

    def judges(self, protocol: str) -> frozenset[str]:
        """Everybody whom a protocol asked."""
        return frozenset(judge for (label, _), asked in self._judges.items() if label == protocol for judge in asked)

    def methods(self, protocol: str) -> tuple[MeasuredMethod, ...]:
        """Every method that the protocol measured, budgets ascending; empty when it did not run."""
        found = [method for (label, _), method in self._methods.items() if label == protocol]
        return tuple(sorted(found, key=lambda method: method.run.budget))

    def find(
        self, protocol: str, method: str, budget: BudgetSize | None, *, targeted: bool, subject: str = ""
    ) -> MeasuredMethod:
        """A method as the protocol measured it.

        Args:
            protocol: who measured.
            method: what its rows are called.
            budget: at which it ran; for None 8/255 if it ran at several, else the only one.
            targeted: it must aim at another person.
            subject: begins the message.

        Raises:
            NotComparableError: the run has no such method.
        """
        methods = self.methods(protocol)
        if not methods:
            raise NotAskedError(f"no {protocol} in this run")
        same = {one.run.budget: one for one in methods if one.run.method == method}
        if not same:
            raise NotAskedError(f"{subject}not in this run")
        if budget is None:
            budget = USUAL_BUDGET if len(same) > 1 else next(iter(same))
        if budget not in same:
            here = ", ".join(one.title for one in same)
            raise NotComparableError(f"{subject}measured at {here}, not at {budget.title}")
        if targeted and not self._measured.methods.get(method, {}).get("targeted"):
            raise NotComparableError(f"{subject}not aimed at another person in this run")
        return same[budget]

    def conditions(self, protocol: str) -> tuple[str, ...]:
        """The conditions that the protocol measured under."""
        return tuple(sorted({place.condition for place in self._measured.places(protocol)}))

    def why_none(self, protocol: str, metric: str) -> str:
        """Why a run has no number of a metric at all; empty where it has one."""
        cells = [rate for cell, rate in self._measured.cells.items() if cell.place[:2] == (protocol, metric)]
        if any(rate.ok for rate in cells):
            return ""
        return next((rate.note for rate in cells if rate.note), "not measured")

    def is_judged(self, place: Place) -> bool:
        """Whether somebody was asked for a metric; nobody is for one of pictures."""
        return any(self._judges.get((place.protocol, place.metric), {}))

    def rate(self, cell: CellPlace) -> Estimate:
        """One cell; missing when there is none."""
        return self._measured.cells.get(cell, Estimate())

    def over(self, cell: CellPlace, surrogates: Sequence[str]) -> Estimate:
        """Mean over surrogates, whatever ``cell.surrogate`` says; the first that has no value, where one has none."""
        cells = [self.rate(cell._replace(surrogate=name)) for name in surrogates]
        missing = [found for found in cells if not found.ok]
        return missing[0] if missing else self._measured.mean(cells, cell.place, cell.run, ALL)

    def black_box(self, cell: CellPlace) -> Estimate:
        """Mean over the judges of the metric that are not the surrogate, whatever ``cell.judge`` says."""
        cells = [self.rate(cell._replace(judge=judge)) for judge in self.black_box_judges(cell)]
        return self._measured.mean(cells, cell.place, cell.run, cell.surrogate)

    def white_box(self, cell: CellPlace) -> Estimate:
        """Mean over the judges of the metric that are the surrogate, whatever ``cell.judge`` says."""
        judges = self._judges.get((cell.place.protocol, cell.place.metric), {})
        cells = [self.rate(cell._replace(judge=judge)) for judge in judges if self.is_white_box(cell.surrogate, judge)]
        return self._measured.mean(cells, cell.place, cell.run, cell.surrogate, white_box=True)

    def black_box_judges(self, cell: CellPlace) -> list[str]:
        """The judges of the metric that are not the surrogate of ``cell``."""
        judges = self._judges.get((cell.place.protocol, cell.place.metric), {})
        return [judge for judge in judges if not self.is_white_box(cell.surrogate, judge)]

    def is_white_box(self, surrogate: str, judge: str) -> bool:
        """Whether a judge is the surrogate, or one of an ensemble."""
        return (surrogate, judge) in self._white_box

    def _settings(self, method: str) -> dict[str, float]:
        """The settings that make variants of a method, those that are numbers."""
        return {
            name: float(value)
            for name, value in varied_settings(self._measured.methods, method).items()
            if is_number(value)
        }
