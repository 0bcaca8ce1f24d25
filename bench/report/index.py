"""Questions a table or figure asks of the measurements: one cell, one mean, which rows and columns there are.

The rules of the averages live here and nowhere else:

* A *black-box mean* runs over every target of the run except those that are the surrogate itself. Targets of the
  surrogate's architecture family stay in and are marked. For methods without a surrogate, such as the clean row, the
  same targets are left out, so that the means of one surrogate's block compare like with like.
* A mean with a missing term is missing. There are no partial means.
* The interval of a mean has the means of the cells' ends. All cells share their identities, and the standard
  deviation of a mean is at most the mean of the standard deviations, so this interval is rather too wide than too
  narrow.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from cloakbench.bench.core.axes import NO_BUDGET, BudgetSize, row_name, split_row_name
from cloakbench.bench.report.labels import CONTROLS, UNTRANSFORMED, method_name, method_order
from cloakbench.bench.report.results import Results

OK = "ok"
MISSING = "missing"


class Place(NamedTuple):
    """Where a number stands, for all methods and judges at once."""

    protocol: str
    metric: str
    condition: str


@dataclass(frozen=True)
class Estimate:
    """One value with its 95 % interval; ``status`` other than ``ok`` means that there is no value to print."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    n_failed: int = 0
    white_box: bool = False
    same_family: bool = False
    status: str = MISSING
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is a value. A failed cell has none, whatever its columns hold."""
        return self.status == OK and not math.isnan(self.value)


@dataclass(frozen=True)
class Run:
    """A method at a budget, the unit of a table row; ``method`` is what the row is called, a variant its own method."""

    method: str
    budget: BudgetSize = NO_BUDGET

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Run:
        """That of a row of the measurements, records or costs."""
        return cls(row_name(row["method"], text(row.get("variant"))), BudgetSize.of(row["epsilon_255"]))

    @property
    def title(self) -> str:
        """In a sentence: ``PGD (steps=2) at 8/255``."""
        return method_name(self.method) + f" at {self.budget.title}" * bool(self.budget)


class DuplicateMeasurementError(ValueError):
    """Two rows of the measurements describe the same cell."""


class Measured:
    """An index over ``Results.measurements``.

    Cells and means are of protocols about the probes; others have judges and surrogates of their own and index their
    rows themselves.

    Attributes:
        results: what was indexed.
        surrogates: surrogate keys in the order of the model cards; ``("",)`` when no method uses one.
        runs: every (method, budget), controls first.
        methods: name of a method's rows to what its class and config say of it (`Results.methods`), in order.
        metrics: names of metrics of protocols about the probes.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        self._cells: dict[tuple[Any, ...], Estimate] = {}
        self._places: dict[Place, None] = {}
        self._foreign = set(results.protocols.loc[results.protocols["publication"] != "", "label"])
        self._protocol_of = self._owners()
        judges: dict[str, dict[str, None]] = {}
        for row in records(results.measurements):
            place = self.place_of(row)
            self._places[place] = None
            if self._protocol_of.get(place.metric) != place.protocol:
                continue
            key = (place.metric, Run.of(row), text(row["surrogate"]), text(row["judge"]), row["condition"])
            if key in self._cells:
                raise DuplicateMeasurementError(f"measured twice: {key}")
            self._cells[key] = estimate_of(row)
            judges.setdefault(place.protocol, {})[key[3]] = None
        lines = {row_name(line["key"], text(line.get("variant"))): line for line in records(results.methods)}
        self.methods: Mapping[str, Mapping[str, Any]] = {row: lines[row] for row in method_order(lines)}
        self._order = list(results.models["name"]) if len(results.models) else []
        self._judges = {protocol: tuple(self.in_order(found)) for protocol, found in judges.items()}
        self.surrogates: tuple[str, ...] = tuple(self.in_order(key[2] for key in self._cells)) or ("",)
        self.metrics: frozenset[str] = frozenset(self._protocol_of)
        self.runs: tuple[Run, ...] = tuple(ordered_runs(key[1] for key in self._cells))
        used: dict[Run, set[str]] = {}
        for key in self._cells:
            if key[2]:
                used.setdefault(key[1], set()).add(key[2])
        self._surrogates_of = {
            run: tuple(name for name in self.surrogates if name in names) for run, names in used.items()
        }
        self._with_surrogate = {run.method for run in self._surrogates_of}
        self._white_box = {(key[2], key[3]) for key, cell in self._cells.items() if cell.white_box}

    def _owners(self) -> dict[str, str]:
        """Metric to the protocol about the probes that it is of; the first of the experiment, where several have it."""
        frame = self.results.measurements
        order = list(self.results.protocols["label"])
        found = {
            (str(protocol), str(metric)) for protocol, metric in zip(frame["protocol"], frame["metric"], strict=True)
        }
        owners: dict[str, str] = {}
        ranked = ((order.index(one[0]) if one[0] in order else len(order), *one) for one in found)
        for _, protocol, metric in sorted(ranked):
            if not self.is_foreign(protocol):
                owners.setdefault(metric, protocol)
        return owners

    def is_foreign(self, protocol: str) -> bool:
        """Whether a protocol is about other photos than the probes."""
        return protocol in self._foreign

    def places(self, protocol: str, metrics: Collection[str] = (), condition: str | None = None) -> frozenset[Place]:
        """What was measured under the name of a protocol, whatever its photos are.

        Args:
            protocol: as in the ``protocol`` column.
            metrics: only these; all when empty.
            condition: only under this; under any when None.
        """
        return frozenset(
            place
            for place in self._places
            if place.protocol == protocol
            and (not metrics or place.metric in metrics)
            and condition in (None, place.condition)
        )

    @property
    def all_places(self) -> tuple[Place, ...]:
        """Everything that was measured."""
        return tuple(self._places)

    @staticmethod
    def place_of(row: Mapping[str, Any]) -> Place:
        """Where a row of the measurements stands."""
        return Place(str(row["protocol"]), str(row["metric"]), text(row["condition"]))

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
        """Printed name of a method: the one of its config, with the settings that make a variant of it."""
        title = text(self.methods.get(method, {}).get("title"))
        return row_name(title, split_row_name(method)[1]) if title else method_name(method)

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

    def is_white_box(self, surrogate: str, target: str) -> bool:
        """Whether the target is the surrogate."""
        return (surrogate, target) in self._white_box

    def cell(self, metric: str, run: Run, surrogate: str, target: str, transform: str = UNTRANSFORMED) -> Estimate:
        """One cell; for a method that uses no surrogate, its only row whatever ``surrogate`` is asked for."""
        source = surrogate if self.uses_surrogate(run.method) else ""
        key = (metric, run, source, target, transform)
        return self._cells.get(key, Estimate())

    def absent(self) -> dict[tuple[Run, str, str], list[str]]:
        """(run, surrogate, target) to the metrics by target that the measurements do not even mention."""
        by_target = sorted({key[0] for key in self._cells if key[3] and key[4] == UNTRANSFORMED})
        targets = self.in_order(key[3] for key in self._cells)
        absent: dict[tuple[Run, str, str], list[str]] = {}
        for run in self.runs:
            for surrogate in self.surrogates_of(run) if self.uses_surrogate(run.method) else ("",):
                for target, metric in itertools.product(targets, by_target):
                    key = (metric, run, surrogate, target, UNTRANSFORMED)
                    if key not in self._cells and target in self.judges(metric):
                        absent.setdefault((run, surrogate, target), []).append(metric)
        return absent

    def black_box(self, metric: str, run: Run, surrogate: str, transform: str = UNTRANSFORMED) -> Estimate:
        """Mean over the targets that are not the surrogate; missing when one of them is."""
        targets = [target for target in self.judges(metric) if not self.is_white_box(surrogate, target)]
        return mean_estimate([self.cell(metric, run, surrogate, target, transform) for target in targets])

    def white_box(self, metric: str, run: Run, surrogate: str) -> Estimate:
        """Mean over the targets that are the surrogate; missing for methods without one."""
        if not self.uses_surrogate(run.method):
            return Estimate()
        targets = [target for target in self.judges(metric) if self.is_white_box(surrogate, target)]
        return mean_estimate([self.cell(metric, run, surrogate, target) for target in targets])

    def black_box_overall(self, metric: str, run: Run, transform: str = UNTRANSFORMED) -> Estimate:
        """Mean of the black-box means of all surrogates; missing when one of them is."""
        return mean_estimate(
            [self.black_box(metric, run, surrogate, transform) for surrogate in self.surrogates_of(run)]
        )

    def white_box_overall(self, metric: str, run: Run) -> Estimate:
        """Mean of the white-box cells of the surrogates that are also targets; missing when one of them is."""
        surrogates = [
            s for s in self.surrogates_of(run) if any(self.is_white_box(s, target) for target in self.judges(metric))
        ]
        return mean_estimate([self.white_box(metric, run, surrogate) for surrogate in surrogates])

    def quality(self, metric: str, run: Run) -> Estimate:
        """A quality metric, averaged over the surrogates."""
        return mean_estimate([self.cell(metric, run, surrogate, "") for surrogate in self.surrogates_of(run)])


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame."""
    columns = [frame[name].tolist() for name in frame.columns]
    return [dict(zip(frame.columns, values, strict=True)) for values in zip(*columns, strict=True)]


def text(value: Any) -> str:
    """A cell of a frame as text; nothing for None and NaN."""
    return "" if value is None or pd.isna(value) else str(value)


def ordered_runs(runs: Iterable[Run]) -> list[Run]:
    """Unique rows in the order of tables: method by method, budgets ascending."""
    unique = set(runs)
    methods = method_order(run.method for run in unique)
    return sorted(unique, key=lambda run: (methods.index(run.method), run.budget))


def is_control(run: Run) -> bool:
    """The clean row or the random-sign row."""
    return run.method in CONTROLS


def mean_estimate(cells: Sequence[Estimate]) -> Estimate:
    """Mean of estimates with a conservative interval; ``n`` is the smallest. Missing if there is none or one fails."""
    if not cells or not all(cell.ok for cell in cells):
        return Estimate(note="incomplete" if cells else "")
    return Estimate(
        value=math.fsum(cell.value for cell in cells) / len(cells),
        low=math.fsum(cell.low for cell in cells) / len(cells),
        high=math.fsum(cell.high for cell in cells) / len(cells),
        n=min(cell.n for cell in cells),
        n_failed=max(cell.n_failed for cell in cells),
        status=OK,
    )


def estimate_of(row: Mapping[str, Any]) -> Estimate:
    """A row of the measurements; without a value unless its status is ``ok``."""
    status = str(row["status"])
    if status == OK and math.isnan(row["value"]):
        status = MISSING
    value, low, high = (float(row[name]) if status == OK else math.nan for name in ("value", "low", "high"))
    return Estimate(
        value=value,
        low=low,
        high=high,
        n=0 if pd.isna(row["n"]) else int(row["n"]),
        n_failed=0 if pd.isna(row["n_failed"]) else int(row["n_failed"]),
        white_box=bool(row["white_box"]),
        same_family=bool(row["same_family"]),
        status=status,
        note=text(row["note"]),
    )
