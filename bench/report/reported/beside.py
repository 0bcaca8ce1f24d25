"""Tables that share their measured rows: paired rows for reading, and every pair with its difference for computing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from cloakbench.bench.core.axes import NO_BUDGET, BudgetSize
from cloakbench.bench.report.index import ALL
from cloakbench.bench.report.reported.lookup import Lookup
from cloakbench.bench.report.reported.paired import BLACK_BOX, MeasuredRow, Placed, measured_cell, place, rows_beside
from cloakbench.bench.report.reported.pairings import AVERAGE, Pairings
from cloakbench.bench.report.reported.printed import comparability
from cloakbench.bench.report.reported.shape import Lines, Printed, printed_table, scaled
from cloakbench.bench.report.table import Column, Number, Row, Table, columns


@dataclass(frozen=True)
class Pair:
    """A method that was measured on a surrogate and is printed in the tables: printed keys and the measured row."""

    surrogate: str
    method: str
    row: MeasuredRow


@dataclass(frozen=True)
class Side:
    """Everything that the tables side by side are made from; they are printed in one shape.

    Attributes:
        lookup: the run.
        pairings: all pairings.
        placed: the first table's pairing on the networks of the run.
        printed: label and data set of each table to what it prints.
        pairs: measured rows, by surrogate, then in printed order.
        targets: printed targets that have a network, in printed order.
        metrics: printed metrics.
    """

    lookup: Lookup
    pairings: Pairings
    placed: Placed
    printed: dict[tuple[str, str], Printed]
    pairs: tuple[Pair, ...]
    targets: tuple[str, ...]
    metrics: tuple[str, ...]

    def measured(self, pair: Pair, target: str, metric: str) -> Number:
        """A measured cell in per cent; the mean is the black-box one."""
        asked = BLACK_BOX if target == AVERAGE else target
        return scaled(measured_cell(self.lookup, self.placed, pair.row, asked, metric).estimate, "%")

    def reported(self, table: tuple[str, str], pair: Pair, target: str, metric: str) -> float:
        """A printed cell, NaN when it is lost or not printed."""
        cells = self.printed[table].rows.get((table[1], pair.surrogate, pair.method), {})
        return cells[target, metric]["value"] if (target, metric) in cells else math.nan

    def norms(self, pair: Pair) -> tuple[Number, ...]:
        """Both norms really used, marked where the ball is not that of the table."""
        return self.lookup.norms.cells(pair.row.run, pair.row.surrogate or ALL, self.budget)

    @property
    def budget(self) -> BudgetSize:
        """That of the first row with one."""
        return next((pair.row.run.budget for pair in self.pairs if pair.row.run.budget), NO_BUDGET)


def side_by_side_tables(lookup: Lookup, pairings: Pairings, lines: Lines) -> list[Table]:
    """``reported_beside_measured`` and ``reported_differences``; empty when nothing pairs."""
    pairs, printed = [], {}
    placed = None
    for name in pairings.side_by_side:
        pairing = pairings.tables[name]
        shown = printed_table(pairing, lines[name])
        printed[pairing.label, next(iter(shown.rows))[0]] = shown
        placed = placed or place(lookup, pairing)
    if placed is None or not placed.targets:
        return []
    first = next(iter(printed.values()))
    for _, surrogate, method in first.rows:
        found, _ = rows_beside(lookup, placed, method, surrogate)
        pairs += [Pair(surrogate, method, row) for row in found]
    if not pairs:
        return []
    targets = tuple(dict.fromkeys(target for target, _ in first.columns if target in placed.targets))
    side = Side(lookup, pairings, placed, printed, tuple(pairs), targets, tuple(placed.pairing.metrics))
    return [_paired(side), _differences(side)]


def _paired(side: Side) -> Table:
    name = side.pairings.printed_name
    shown = (*side.targets, AVERAGE)
    of_targets = [
        Column(f"{'mean' if target == AVERAGE else target}_{_short(metric)}_percent", name(metric), name(target), "csv")
        for target in shown
        for metric in side.metrics
    ]
    status = "; ".join(
        f"{label} ({name(dataset)}): {comparability(side.lookup.dataset, dataset)}" for label, dataset in side.printed
    )
    stand_ins = ", ".join(f"{name(key)}: {side.placed.targets[key]}" for key in side.targets)
    return Table(
        name="reported_beside_measured",
        title=f"Reported beside measured, {side.budget.title}",
        caption="PSR in per cent, measured by rule P1. Mean: black-box here, over all columns in FaceCloak's tables.",
        stub="Method",
        columns=(*side.lookup.norms.columns, *of_targets),
        rows=tuple(_rows(side, shown)),
        footnotes=(
            f"Comparability. {status}.",
            f"Columns, reported name: measured model. {stand_ins}.",
            *side.lookup.norms.notes,
            *side.pairings.caveats,
        ),
        section_key="surrogate",
    )


def _rows(side: Side, shown: tuple[str, ...]) -> Iterator[Row]:
    for pair in side.pairs:
        section = f"Surrogate: {side.pairings.printed_name(pair.surrogate)} (here {pair.row.surrogate})"
        norms = side.norms(pair)
        cells = [*norms, *(side.measured(pair, target, metric) for target in shown for metric in side.metrics)]
        yield Row(f"{side.pairings.printed_name(pair.method)}, measured", tuple(cells), section)
        for table in side.printed:
            printed = [
                Number(side.reported(table, pair, target, metric)) for target in shown for metric in side.metrics
            ]
            yield Row(f"reported, {table[0]}", (*[""] * len(norms), *printed), section)


def _differences(side: Side) -> Table:
    rows = []
    for pair in side.pairs:
        for table in side.printed:
            for target in side.targets:
                for metric in side.metrics:
                    ours = side.measured(pair, target, metric)
                    theirs = side.reported(table, pair, target, metric)
                    keys = (
                        pair.row.surrogate,
                        side.placed.targets[target],
                        table[0],
                        side.pairings.printed_name(metric),
                    )
                    numbers = (ours, Number(theirs), Number(ours.value - theirs))
                    status = comparability(side.lookup.dataset, table[1])
                    cells = *keys, *side.norms(pair), *numbers, status
                    rows.append(Row(side.pairings.printed_name(pair.method), cells))
    return Table(
        name="reported_differences",
        title=f"Measured minus reported, {side.budget.title}",
        caption="PSR in per cent (P1) and percentage points.",
        stub="Method",
        columns=(
            *columns(surrogate="Surrogate", target="Target", facecloak_table="FaceCloak", top="Rank"),
            *side.lookup.norms.columns,
            Column("measured_percent", "Measured", interval="csv"),
            *columns(reported_percent="Reported", difference_points="Difference", status="Comparability"),
        ),
        rows=tuple(rows),
    )


def _short(metric: str) -> str:
    return metric.removeprefix("psr_")
