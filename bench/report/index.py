"""Questions a table or figure asks of the measurements: one cell, one mean, which rows and columns there are.

The rules of the averages live here and nowhere else:

* A *black-box mean* runs over every target of the run except those that are the surrogate itself. Targets of the
  surrogate's architecture family stay in and are marked. For methods without a surrogate, such as the clean row, the
  same targets are left out, so that the means of one surrogate's block compare like with like.
* A mean with a missing term is missing. There are no partial means.
* The interval of a mean is its joint one, of one draw of people for all of its cells (``Results.means``). Where a kept
  run has none, it has the means of the cells' ends. All cells share their identities, and the standard deviation of a
  mean is at most the mean of the standard deviations, so such an interval is rather too wide than too narrow.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pandas as pd

from cloakbench.bench.report.estimate import Estimate, estimate_of, mean_estimate, records, text
from cloakbench.bench.report.labels import CONTROLS, UNTRANSFORMED, VARIANT, budget_name, method_order
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
    """A method at a budget, the unit of a table row. ``epsilon_255`` is None for methods without a budget."""

    method: str
    epsilon_255: float | None


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
            key = (place.metric, row["method"], self.budget_of(row))
            key += (text(row["surrogate"]), text(row["judge"]), row["condition"])
            if key in self._cells:
                raise DuplicateMeasurementError(f"measured twice: {key}")
            self._cells[key] = estimate_of(row)
            judges.setdefault(place.protocol, {})[key[4]] = None
        self._titles = {str(line["key"]): text(line.get("title")) for line in records(results.methods)}
        for key, title in list(self._titles.items()):  # what variants are variants of, for a sweep's tables
            self._titles.setdefault(key.partition(VARIANT)[0], title)
        self._order = list(results.models["name"]) if len(results.models) else []
        self._judges = {protocol: tuple(self.in_order(found)) for protocol, found in judges.items()}
        self.surrogates: tuple[str, ...] = tuple(self.in_order(key[3] for key in self._cells)) or ("",)
        self.metrics: frozenset[str] = frozenset(self._protocol_of)
        runs = {Run(key[1], key[2]) for key in self._cells}
        methods = self.methods_in_order(run.method for run in runs)
        self.runs: tuple[Run, ...] = tuple(
            sorted(runs, key=lambda run: (methods.index(run.method), run.epsilon_255 or 0.0))
        )
        used: dict[Run, set[str]] = {}
        for key in self._cells:
            if key[3]:
                used.setdefault(Run(key[1], key[2]), set()).add(key[3])
        self._surrogates_of = {
            run: tuple(name for name in self.surrogates if name in names) for run, names in used.items()
        }
        self._with_surrogate = {run.method for run in self._surrogates_of}
        self._joint = JointMeans(results.means)
        self._small: dict[tuple[str, float | None, str], frozenset[Run]] = {}
        self._white_box = {(key[3], key[4]) for key, cell in self._cells.items() if cell.white_box}

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

    @staticmethod
    def budget_of(row: Mapping[str, Any]) -> float | None:
        """Budget of a row of the measurements; None for methods without one."""
        return None if pd.isna(row["epsilon_255"]) else float(row["epsilon_255"])

    def in_order(self, keys: Iterable[str]) -> list[str]:
        """Unique non-empty keys of networks and judges, those of the model cards first."""
        present = {key for key in keys if key}
        return [key for key in self._order if key in present] + sorted(present - set(self._order))

    def judges(self, metric: str) -> tuple[str, ...]:
        """Everybody who was asked by the protocol that measured a metric; nobody for a metric that was not."""
        return self._judges.get(self._protocol_of.get(metric, ""), ())

    @property
    def budgets(self) -> tuple[float, ...]:
        """Budgets that occur, ascending; empty when no method has one."""
        return tuple(sorted({run.epsilon_255 for run in self.runs if run.epsilon_255 is not None}))

    def title(self, method: str) -> str:
        """Printed name of a method: the one of its config, or its key, with the settings that make a variant of it."""
        key, comma, settings = method.partition(VARIANT)
        return (self._titles.get(method) or self._titles.get(key) or key) + comma + settings

    def name(self, run: Run) -> str:
        """Printed name of a method at its budget: ``PGD at 8/255``."""
        return self.title(run.method) + ("" if run.epsilon_255 is None else f" at {budget_name(run.epsilon_255)}")

    def methods_in_order(self, keys: Iterable[str]) -> list[str]:
        """Unique keys of methods: controls first, then as the experiment names them."""
        return method_order(keys, self._titles)

    def runs_at(self, epsilon_255: float | None) -> list[Run]:
        """Rows of one budget's table: methods at that budget and methods without a budget."""
        return [run for run in self.runs if run.epsilon_255 in (epsilon_255, None)]

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
        key = (metric, run.method, run.epsilon_255, source, target, transform)
        return self._cells.get(key, Estimate())

    def absent(self) -> dict[tuple[Run, str, str], list[str]]:
        """(run, surrogate, target) to the metrics by target that the measurements do not even mention."""
        by_target = sorted({key[0] for key in self._cells if key[4] and key[5] == UNTRANSFORMED})
        targets = self.in_order(key[4] for key in self._cells)
        absent: dict[tuple[Run, str, str], list[str]] = {}
        for run in self.runs:
            for surrogate in self.surrogates_of(run) if self.uses_surrogate(run.method) else ("",):
                for target, metric in itertools.product(targets, by_target):
                    key = (metric, run.method, run.epsilon_255, surrogate, target, UNTRANSFORMED)
                    if key not in self._cells and target in self.judges(metric):
                        absent.setdefault((run, surrogate, target), []).append(metric)
        return absent

    def judges_of(self, metric: str, surrogate: str, *, white_box: bool) -> list[str]:
        """Judges of a metric who are the surrogate, or those who are not."""
        return [target for target in self.judges(metric) if self.is_white_box(surrogate, target) == white_box]

    def black_box(self, metric: str, run: Run, surrogate: str, transform: str = UNTRANSFORMED) -> Estimate:
        """Mean over the targets that are not the surrogate; missing when one of them is."""
        targets = self.judges_of(metric, surrogate, white_box=False)
        mean = mean_estimate([self.cell(metric, run, surrogate, target, transform) for target in targets])
        return self._with_joint_ends(mean, metric, run, surrogate, transform)

    def white_box(self, metric: str, run: Run, surrogate: str) -> Estimate:
        """Mean over the targets that are the surrogate; missing for methods without one."""
        if not self.uses_surrogate(run.method):
            return Estimate()
        targets = self.judges_of(metric, surrogate, white_box=True)
        mean = mean_estimate([self.cell(metric, run, surrogate, target) for target in targets])
        return self._with_joint_ends(mean, metric, run, surrogate, white=True)

    def black_box_overall(self, metric: str, run: Run, transform: str = UNTRANSFORMED) -> Estimate:
        """Mean of the black-box means of all surrogates; missing when one of them is."""
        mean = mean_estimate(
            [self.black_box(metric, run, surrogate, transform) for surrogate in self.surrogates_of(run)]
        )
        return self._with_joint_ends(mean, metric, run, ALL, transform)

    def white_box_overall(self, metric: str, run: Run) -> Estimate:
        """Mean of the white-box cells of the surrogates that are also targets; missing when one of them is."""
        surrogates = [s for s in self.surrogates_of(run) if self.judges_of(metric, s, white_box=True)]
        mean = mean_estimate([self.white_box(metric, run, surrogate) for surrogate in surrogates])
        return self._with_joint_ends(mean, metric, run, ALL, white=True)

    def _with_joint_ends(
        self, mean: Estimate, metric: str, run: Run, block: str, transform: str = UNTRANSFORMED, *, white: bool = False
    ) -> Estimate:
        place = Place(self._protocol_of.get(metric, ""), metric, transform)
        return self._joint.of(mean, place, run, block, white_box=white)

    def is_small(self, metric: str, run: Run, surrogate: str = ALL) -> bool:
        """Whether the mean of a run stands on too few photos or people to be ranked beside those of its budget."""
        key = (metric, run.epsilon_255, surrogate)
        if key not in self._small:
            runs = self.runs_at(run.epsilon_255)
            if surrogate == ALL:
                means = [self.black_box_overall(metric, one) for one in runs]
            else:
                means = [self.black_box(metric, one, surrogate) for one in runs]
            known = [(one, mean) for one, mean in zip(runs, means, strict=True) if mean.ok]
            small = is_small([mean.n for _, mean in known], [mean.n_identities for _, mean in known])
            self._small[key] = frozenset(one for (one, _), few in zip(known, small, strict=True) if few)
        return run in self._small[key]

    def quality(self, metric: str, run: Run) -> Estimate:
        """A quality metric, averaged over the surrogates."""
        mean = mean_estimate([self.cell(metric, run, surrogate, "") for surrogate in self.surrogates_of(run)])
        return self._with_joint_ends(mean, metric, run, ALL)


class JointMeans:
    """The joint intervals of means that ``Results.means`` has; ``means`` are all of it, or a part."""

    def __init__(self, means: pd.DataFrame) -> None:
        self._ends = {
            (
                Place(line["protocol"], line["metric"], line["condition"]),
                Run(line["method"], Measured.budget_of(line)),
                line["surrogate"],
                bool(line["white_box"]),
            ): (line["low"], line["high"])
            for line in records(means)
        }

    def of(self, mean: Estimate, place: Place, run: Run, block: str, *, white_box: bool = False) -> Estimate:
        """A mean of cells with the ends of its own interval where these were worked out, as it is otherwise."""
        ends = self._ends.get((place, run, block, white_box)) if mean.ok else None
        return replace(mean, low=ends[0], high=ends[1]) if ends else mean


def is_control(run: Run) -> bool:
    """The clean row or the random-sign row."""
    return run.method in CONTROLS
