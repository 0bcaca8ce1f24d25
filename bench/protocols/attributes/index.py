"""`Hiding`: an index over what attribute networks said of protected photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloakbench.bench.protocols.attributes.metrics import MOSR, first_count, first_name
from cloakbench.bench.report.estimate import Estimate, mean_estimate
from cloakbench.bench.report.index import ALL, CellPlace, Measured, Place, Run
from cloakbench.bench.report.labels import CLEAN, UNTRANSFORMED

NAME = "attributes"
"""Of the protocol."""
MATCHED_255 = 8.0
"""The budget in grey levels at which methods are compared like with like; others run as their papers have them."""


@dataclass(frozen=True)
class HidingRow:
    """A method at a budget, and the surrogate that it used or nothing."""

    run: Run
    surrogate: str


class Hiding:
    """An index over the rows of ``Results.measurements`` of this protocol.

    Args:
        measured: the run.

    Attributes:
        measured: the run.
        counts: numbers of first attributes that were attacked and judged alone, too; ascending, none for most runs.
        rows: what was protected, controls first, then surrogate by surrogate; of methods that attacked the first
            attributes those with most of them.
        runs: methods at budgets, controls first.
        targets: keys of those who answered, in the order of the model cards.
        surrogates: labels of the networks that methods attacked, in the same order.
        chance: how often guesses miss every attribute.
    """

    def __init__(self, measured: Measured) -> None:
        self.measured = measured
        mine = [cell for cell in measured.cells if cell.place.protocol == NAME]
        self.counts = sorted({count for cell in mine if (count := first_count(cell.place.metric))})
        own = [cell for cell in mine if cell.place.metric == MOSR]
        partial = {f"_first{count}" for count in self.counts[:-1]}
        found = {HidingRow(cell.run, cell.surrogate) for cell in own if not cell.surrogate.endswith(tuple(partial))}
        self.runs = measured.ordered(row.run for row in found)
        self.surrogates = measured.in_order(row.surrogate for row in found)
        networks = ["", *self.surrogates]
        self.rows = sorted(found, key=lambda row: (networks.index(row.surrogate), self.runs.index(row.run)))
        self.targets = measured.in_order(cell.judge for cell in own)
        self.chance = float(measured.results.setup.get("attributes_chance", 0.0))
        self._quality = NAME if measured.publication(NAME) else "quality"

    def label(self, run: Run) -> str:
        """As printed, with its budget where it has one."""
        return self.measured.name(run)

    def cell(self, metric: str, row: HidingRow, judge: str, condition: str = UNTRANSFORMED) -> Estimate | None:
        """One cell; None where it was not planned."""
        return self.measured.cells.get(CellPlace(Place(NAME, metric, condition), row.run, row.surrogate, judge))

    def picture(self, metric: str, row: HidingRow) -> Estimate | None:
        """An image metric of the photos of a row; None where nobody asked for it."""
        return self.measured.cells.get(CellPlace(Place(self._quality, metric, UNTRANSFORMED), row.run, row.surrogate))

    def rows_of(self, run: Run) -> list[HidingRow]:
        """The rows of a method at a budget, one for each of its surrogates."""
        return [row for row in self.rows if row.run == run]

    def attacks(self, row: HidingRow, target: str) -> bool:
        """Whether the target is what the method of a row attacked."""
        cell = self.cell(MOSR, row, target)
        return cell is not None and cell.white_box

    def attacking(self, run: Run, target: str) -> list[HidingRow]:
        """The rows of a method whose answer by a target stands in a table by network: that in which the target was
        attacked, and all of a method that attacked no attribute network."""
        rows = self.rows_of(run)
        attacked = [row for row in rows if self.attacks(row, target)]
        alone = [row for row in attacked if row.surrogate == target]
        return (alone or attacked[:1]) if self.is_attack(run) else rows

    def is_attack(self, run: Run) -> bool:
        """Whether a method attacked some of the targets."""
        return any(self.attacks(row, target) for row in self.rows_of(run) for target in self.targets)

    def by_target(self, metric: str, run: Run, target: str, condition: str = UNTRANSFORMED) -> Estimate | None:
        """What a target says of photos that were protected against it, or against no attribute network; None where
        there are none."""
        return self._joined([self.cell(metric, row, target, condition) for row in self.attacking(run, target)])

    def picture_by_target(self, metric: str, run: Run, target: str) -> Estimate | None:
        """An image metric of these photos."""
        return self._joined([self.picture(metric, row) for row in self.attacking(run, target)])

    def over_targets(self, metric: str, run: Run, condition: str = UNTRANSFORMED) -> Estimate:
        """The mean of `by_target` over all targets; missing when one of them is."""
        cells = [self.by_target(metric, run, target, condition) or Estimate() for target in self.targets]
        paired = len(self.rows_of(run)) == len(self.targets) and not self.counts
        if not (self.is_attack(run) and paired and metric == MOSR):
            return mean_estimate(cells)
        return self._mean(cells, self._place(metric, condition), HidingRow(run, ALL), white_box=True)

    def conditions(self) -> dict[str, str]:
        """Label to printed name of what photos went through before they were answered, in the order of the
        experiment."""
        frame = self.measured.results.conditions
        own = frame.loc[frame["protocol"] == NAME]
        return dict(zip(own["label"], own["title"], strict=True))

    def by_count(self, run: Run, count: int) -> Estimate:
        """MOSR of the first attributes on the targets that were attacked on these alone, mean over targets; on all of
        them for methods that attack none."""
        place, ending = self._place(first_name(count)), f"_first{count}"
        found = {cell: one for cell, one in self.measured.cells.items() if cell.place == place and cell.run == run}
        attacked = [one for cell, one in found.items() if one.white_box and cell.surrogate.endswith(ending)]
        return mean_estimate(attacked or [one for cell, one in found.items() if not cell.surrogate])

    def mean(self, metric: str, row: HidingRow, *, white_box: bool, condition: str = UNTRANSFORMED) -> Estimate:
        """Over the targets that the method of a row attacked, or over the others; missing when one of them is."""
        chosen = [target for target in self.targets if self.attacks(row, target) == white_box]
        cells = [self.cell(metric, row, target, condition) or Estimate() for target in chosen]
        return self._mean(cells, self._place(metric, condition), row, white_box=white_box)

    def transfer(self, metric: str, run: Run, *, white_box: bool) -> Estimate:
        """The mean of `mean` over the surrogates of a method, so over all ordered pairs of networks; missing when it
        attacked no attribute network, or one is missing."""
        rows = [row for row in self.rows_of(run) if any(self.attacks(row, target) for target in self.targets)]
        means = [self.mean(metric, row, white_box=white_box) for row in rows]
        return self._mean(means, self._place(metric), HidingRow(run, ALL), white_box=white_box)

    def _mean(self, cells: Sequence[Estimate], place: Place, row: HidingRow, *, white_box: bool) -> Estimate:
        """With its joint interval, where it is one over judges of the probes; otherwise with the mean of the ends."""
        if self.measured.is_foreign(NAME):
            return mean_estimate(cells)
        return self.measured.mean(cells, place, row.run, row.surrogate, white_box=white_box)

    def blocks(self, runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
        """Name of each block of budgets and its methods; those without a budget run as they are."""
        matched = [run for run in runs if run.budget and run.budget.number == MATCHED_255]
        none = [run for run in runs if run.method == CLEAN]
        native = [run for run in runs if run not in matched and run not in none]
        found = {"Unprotected": none, f"Matched budget, {MATCHED_255:g}/255": matched, "Native settings": native}
        return [(name, members) for name, members in found.items() if members]

    def _joined(self, cells: Sequence[Estimate | None]) -> Estimate | None:
        known = [cell for cell in cells if cell is not None]
        if len(known) <= 1:
            return known[0] if known else None
        return mean_estimate(known)

    def _place(self, metric: str, condition: str = UNTRANSFORMED) -> Place:
        return Place(NAME, metric, condition)
