"""Questions a table or figure asks of the measurements: one cell, one mean, which rows and columns there are.

The rules of the averages live here and nowhere else:

* A *black-box mean* runs over every judge of a metric except those that are the surrogate itself. Judges of the
  surrogate's architecture family stay in and are marked. For methods without a surrogate, such as the clean row, the
  same judges are left out, so that the means of one surrogate's block compare like with like.
* A mean with a missing term is missing. There are no partial means.
* The interval of a mean is its joint one, of one draw of people for all of its cells (``Results.means``). Where a kept
  run has none, it has the means of the cells' ends. All cells share their identities, and the standard deviation of a
  mean is at most the mean of the standard deviations, so such an interval is rather too wide than too narrow.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from cloakbench.bench.core.axes import NO_BUDGET, BudgetSize, row_name, split_row_name
from cloakbench.bench.report.estimate import Estimate, estimate_of, mean_estimate, records, text
from cloakbench.bench.report.labels import CONTROLS, UNTRANSFORMED, method_order
from cloakbench.bench.report.results import Results
from cloakbench.bench.statistics.small_samples import is_small

ALL = "all"
"""Stands for the surrogate in a mean over surrogates."""


class Place(NamedTuple):
    """Where a number stands, for all methods and judges at once."""

    protocol: str
    metric: str
    condition: str


@dataclass(frozen=True)
class Run:
    """A method at a budget, the unit of a table row; ``method`` is what the row is called, a variant its own method."""

    method: str
    budget: BudgetSize = NO_BUDGET

    @classmethod
    def of(cls, row: Mapping[str, Any], side: str = "") -> Run:
        """That of a row of a frame; ``side`` ends the names of its columns."""
        name = row_name(row[f"method{side}"], text(row.get(f"variant{side}")))
        return cls(name, BudgetSize.of(row[f"epsilon_255{side}"]))

    def columns(self) -> dict[str, Any]:
        """As a row of a frame has it."""
        method, variant = split_row_name(self.method)
        return {"method": method, "variant": variant, "epsilon_255": self.budget.number}


class CellPlace(NamedTuple):
    """What a row of the measurements is about; surrogate and judge are empty where there is none."""

    place: Place
    run: Run
    surrogate: str = ""
    judge: str = ""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> CellPlace:
        """That of a row of the measurements."""
        place = Place(str(row["protocol"]), str(row["metric"]), text(row["condition"]))
        return cls(place, Run.of(row), text(row["surrogate"]), text(row["judge"]))


class DuplicateMeasurementError(ValueError):
    """Two rows of the measurements describe the same cell."""


class Measured:
    """An index over ``Results.measurements``.

    Rows, columns and means are of protocols about the probes; those about other photos have judges and surrogates of
    their own and read their ``cells`` themselves. Where several protocols have a metric of one name, it is that of the
    first of the experiment, or of the ``protocol`` that is given (`seen_by`).

    Attributes:
        results: what was indexed.
        cells: every number, in the order of the measurements.
        surrogates: surrogate keys in the order of the model cards; ``("",)`` when no method uses one.
        runs: every (method, budget), controls first.
        methods: name of a method's rows to what its class and config say of it (`Results.methods`), in order.
        metrics: names of metrics of protocols about the probes.
    """

    def __init__(self, results: Results, protocol: str = "") -> None:
        self.results = results
        self._views: dict[str, Measured] = {protocol: self}
        self.cells: dict[CellPlace, Estimate] = {}
        for row in records(results.measurements):
            if (cell := CellPlace.of(row)) in self.cells:
                raise DuplicateMeasurementError(f"measured twice: {cell}")
            self.cells[cell] = estimate_of(row)
        self._publications = dict(zip(results.protocols["label"], results.protocols["publication"], strict=True))
        self._protocol_of = self._owners(protocol)
        self._order = list(results.models["name"]) if len(results.models) else []
        lines = {row_name(str(line["key"]), text(line.get("variant"))): line for line in records(results.methods)}
        self.methods: Mapping[str, Mapping[str, Any]] = {row: lines[row] for row in method_order(lines, lines)}
        self._titles = {split_row_name(row)[0]: text(line.get("title")) for row, line in lines.items()}
        own = [cell for cell in self.cells if self._protocol_of.get(cell.place.metric) == cell.place.protocol]
        self._judges = {
            protocol: tuple(self.in_order(cell.judge for cell in own if cell.place.protocol == protocol))
            for protocol in set(self._protocol_of.values())
        }
        self.surrogates: tuple[str, ...] = tuple(self.in_order(cell.surrogate for cell in own)) or ("",)
        self.metrics: frozenset[str] = frozenset(self._protocol_of)
        self.runs: tuple[Run, ...] = tuple(self.ordered(cell.run for cell in own))
        used = {(cell.run, cell.surrogate) for cell in own if cell.surrogate}
        self._surrogates_of = {
            run: tuple(name for name in self.surrogates if (run, name) in used) for run in {run for run, _ in used}
        }
        self._with_surrogate = {run.method for run in self._surrogates_of}
        self._small: dict[tuple[str, BudgetSize, str], frozenset[Run]] = {}
        self._over: dict[tuple[str, Run, str, str, bool], Estimate] = {}
        self._white_box = {(cell.surrogate, cell.judge) for cell in own if self.cells[cell].white_box}
        self._joint = {
            (Place(line["protocol"], line["metric"], line["condition"]), Run.of(line), line["surrogate"], box): ends
            for line in records(results.means)
            for box, ends in ((bool(line["white_box"]), (line["low"], line["high"])),)
        }

    def seen_by(self, protocol: str) -> Measured:
        """The index by which a protocol reports: this one, but for metrics of its own that others have, too."""
        if protocol not in self._views:
            shared = {
                place.metric for place in self.places(protocol) if self._protocol_of.get(place.metric) != protocol
            }
            hidden = shared and not self.is_foreign(protocol)
            self._views[protocol] = Measured(self.results, protocol) if hidden else self
        return self._views[protocol]

    def _owners(self, first: str) -> dict[str, str]:
        """Metric to the protocol about the probes that it is of, ``first`` before the others of the experiment."""
        order = [first, *self.results.protocols["label"]]
        found = {(cell.place.protocol, cell.place.metric) for cell in self.cells}
        owners: dict[str, str] = {}
        ranked = ((order.index(one[0]) if one[0] in order else len(order), *one) for one in found)
        for _, protocol, metric in sorted(ranked):
            if not self.is_foreign(protocol):
                owners.setdefault(metric, protocol)
        return owners

    def is_foreign(self, protocol: str) -> bool:
        """Whether a protocol is about other photos than the probes."""
        return bool(self.publication(protocol))

    def publication(self, protocol: str) -> str:
        """Which photos a protocol is about; empty for the probes."""
        return text(self._publications.get(protocol, ""))

    def places(self, protocol: str = "", metrics: Collection[str] = (), condition: str = "") -> frozenset[Place]:
        """Everything that was measured, whatever its photos are: by one protocol, of some metrics, under one condition;
        by any, of all, under any where these are empty."""
        return frozenset(
            place
            for place in {cell.place for cell in self.cells}
            if protocol in ("", place.protocol)
            and (not metrics or place.metric in metrics)
            and condition in ("", place.condition)
        )

    def in_order(self, keys: Iterable[str]) -> list[str]:
        """Unique non-empty keys of networks and judges, those of the model cards first."""
        present = {key for key in keys if key}
        return [key for key in self._order if key in present] + sorted(present - set(self._order))

    def judges(self, metric: str) -> tuple[str, ...]:
        """Everybody who was asked by the protocol that measured a metric; nobody for a metric that was not."""
        return self._judges.get(self._protocol_of.get(metric, ""), ())

    @property
    def budgets(self) -> tuple[BudgetSize, ...]:
        """Budgets that occur, ascending; empty when no method has one."""
        return tuple(sorted({run.budget for run in self.runs if run.budget}))

    def title(self, method: str) -> str:
        """Printed name of a method: the one of its config, or its key, with the settings that make a variant of it."""
        key, variant = split_row_name(method)
        return row_name(self._titles.get(key) or key, variant)

    def name(self, run: Run) -> str:
        """Printed name of a method at its budget: ``PGD (steps=2) at 8/255``."""
        return self.title(run.method) + f" at {run.budget.title}" * bool(run.budget)

    def ordered(self, runs: Iterable[Run]) -> list[Run]:
        """Unique rows in the order of tables: controls first, then method by method as the experiment names them,
        budgets ascending."""
        unique = set(runs)
        methods = method_order((run.method for run in unique), self.methods)
        return sorted(unique, key=lambda run: (methods.index(run.method), run.budget))

    def runs_at(self, budget: BudgetSize) -> list[Run]:
        """Rows of one budget's table: methods at that budget and methods without a budget."""
        return [run for run in self.runs if run.budget in (budget, NO_BUDGET)]

    def uses_surrogate(self, method: str) -> bool:
        """Whether any measurement of the method names a surrogate."""
        return method in self._with_surrogate

    def surrogates_of(self, run: Run) -> tuple[str, ...]:
        """The surrogates that a run was measured on, fewer than all where the plan limits a method; all of them for a
        method that uses none, whose row stands beside every surrogate."""
        return self._surrogates_of.get(run, self.surrogates)

    def is_white_box(self, surrogate: str, judge: str) -> bool:
        """Whether the judge is the surrogate."""
        return (surrogate, judge) in self._white_box

    def judges_of(self, metric: str, surrogate: str, *, white_box: bool) -> list[str]:
        """Judges of a metric who are the surrogate, or those who are not."""
        return [judge for judge in self.judges(metric) if self.is_white_box(surrogate, judge) == white_box]

    def cell(self, metric: str, run: Run, surrogate: str, judge: str, condition: str = UNTRANSFORMED) -> Estimate:
        """One cell; for a method that uses no surrogate, its only row whatever ``surrogate`` is asked for."""
        source = surrogate if self.uses_surrogate(run.method) else ""
        return self.cells.get(CellPlace(self._place(metric, condition), run, source, judge), Estimate())

    def absent(self) -> dict[tuple[Run, str, str], list[str]]:
        """(run, surrogate, judge) to the metrics by judge that the measurements do not even mention; with the protocol
        where it is not the metric's first."""
        judged = [cell for cell in self.cells if cell.judge and not self.is_foreign(cell.place.protocol)]
        asked = {(cell.place.protocol, cell.judge) for cell in judged}
        judges = self.in_order(judge for _, judge in asked)
        places = {cell.place for cell in judged if cell.place.condition == UNTRANSFORMED}
        by_metric = sorted(places, key=lambda place: (place.metric, place.protocol))
        absent: dict[tuple[Run, str, str], list[str]] = {}
        for run in self.runs:
            for surrogate in self.surrogates_of(run) if self.uses_surrogate(run.method) else ("",):
                for judge, place in itertools.product(judges, by_metric):
                    if (place.protocol, judge) in asked and CellPlace(place, run, surrogate, judge) not in self.cells:
                        first = self._protocol_of[place.metric] == place.protocol
                        name = place.metric if first else f"{place.metric} ({place.protocol})"
                        absent.setdefault((run, surrogate, judge), []).append(name)
        return absent

    def black_box(self, metric: str, run: Run, surrogate: str = ALL, condition: str = UNTRANSFORMED) -> Estimate:
        """Mean over judges who are not the surrogate, or the mean of these means; missing when one of them is."""
        return self._over_judges(metric, run, surrogate, condition, white_box=False)

    def white_box(self, metric: str, run: Run, surrogate: str = ALL) -> Estimate:
        """Mean over judges who are the surrogate, or the mean over those that judge; missing without a surrogate."""
        return self._over_judges(metric, run, surrogate, UNTRANSFORMED, white_box=True)

    def quality(self, metric: str, run: Run) -> Estimate:
        """A metric without judges, averaged over the surrogates."""
        cells = [self.cell(metric, run, surrogate, "") for surrogate in self.surrogates_of(run)]
        return self.mean(cells, self._place(metric), run, ALL)

    def mean(
        self, cells: Sequence[Estimate], place: Place, run: Run, block: str, *, white_box: bool = False
    ) -> Estimate:
        """The mean of cells, with its joint interval where ``Results.means`` has it for this block of a table."""
        mean = mean_estimate(cells)
        ends = self._joint.get((place, run, block, white_box)) if mean.ok else None
        return replace(mean, low=ends[0], high=ends[1]) if ends else mean

    def is_small(self, metric: str, run: Run, surrogate: str = ALL) -> bool:
        """Whether the mean of a run stands on too few photos or people to be ranked beside those of its budget."""
        key = (metric, run.budget, surrogate)
        if key not in self._small:
            means = {one: self.black_box(metric, one, surrogate) for one in self.runs_at(run.budget)}
            known = {one: mean for one, mean in means.items() if mean.ok}
            counted, people = ([getattr(mean, of) for mean in known.values()] for of in ("n", "n_identities"))
            small = is_small(counted, people, [not is_control(one) for one in known])
            self._small[key] = frozenset(one for one, few in zip(known, small, strict=True) if few)
        return run in self._small[key]

    def _over_judges(self, metric: str, run: Run, surrogate: str, condition: str, *, white_box: bool) -> Estimate:
        key = (metric, run, surrogate, condition, white_box)
        if key not in self._over:
            cells = self._cells_of(*key)
            self._over[key] = self.mean(cells, self._place(metric, condition), run, surrogate, white_box=white_box)
        return self._over[key]

    def _cells_of(self, metric: str, run: Run, surrogate: str, condition: str, white_box: bool) -> list[Estimate]:
        if surrogate == ALL:
            names = self.surrogates_of(run)
            known = [name for name in names if not white_box or self.judges_of(metric, name, white_box=True)]
            return [self._over_judges(metric, run, name, condition, white_box=white_box) for name in known]
        if white_box and not self.uses_surrogate(run.method):
            return []
        judges = self.judges_of(metric, surrogate, white_box=white_box)
        return [self.cell(metric, run, surrogate, judge, condition) for judge in judges]

    def _place(self, metric: str, condition: str = UNTRANSFORMED) -> Place:
        return Place(self._protocol_of.get(metric, ""), metric, condition)


def is_control(run: Run) -> bool:
    """The clean row or the random-sign row."""
    return run.method in CONTROLS
