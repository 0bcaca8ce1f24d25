"""`Shape`: a printed table in its own shape, and the rows that fill it, printed and measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from cloakbench.bench.core.axes import row_name, split_row_name
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import ALL
from cloakbench.bench.report.reported.lookup import Lookup
from cloakbench.bench.report.reported.paired import BLACK_BOX, MeasuredRow, Placed, measured_cell
from cloakbench.bench.report.reported.pairings import AVERAGE, GAIN_ENDINGS, Pairing, Pairings
from cloakbench.bench.report.table import WHITE_BOX, Cell, Column, Number, Row, trials_text

Lines = Mapping[str, Sequence[Mapping[str, Any]]]
"""Table name to the lines of its CSV file."""


@dataclass(frozen=True)
class Printed:
    """One printed table.

    Attributes:
        columns: (target, metric) in printed order.
        rows: (dataset, surrogate, method) to its cells, (target, metric) to the line of the CSV file; in printed
            order, block by block.
    """

    columns: tuple[tuple[str, str], ...]
    rows: dict[tuple[str, str, str], dict[tuple[str, str], Mapping[str, Any]]]


@dataclass(frozen=True)
class Filled:
    """A measured row, and for each printed column why it has no number, empty where it has one."""

    row: Row
    why_not: tuple[str, ...]


@dataclass(frozen=True)
class Shape:
    """A printed table on the networks of a run.

    Attributes:
        lookup: the run.
        pairings: all pairings, for printed names.
        placed: the table's pairing on the run's networks.
        printed: what it prints.
    """

    lookup: Lookup
    pairings: Pairings
    placed: Placed
    printed: Printed

    @property
    def pairing(self) -> Pairing:
        """What stands beside it."""
        return self.placed.pairing

    @cached_property
    def black_box(self) -> tuple[str, ...]:
        """Metrics that have a black-box mean of their own: those that a black-box table averages over its columns."""
        if self.pairing.box != "black" or not self.pairing.targets:
            return ()
        return tuple(metric for target, metric in self.printed.columns if target == AVERAGE)

    @cached_property
    def beside(self) -> tuple[Column, ...]:
        """Columns that only measured rows fill: black-box means, and, beside rates, both norms really used."""
        means = [self._column(BLACK_BOX, "Black-box mean", metric) for metric in self.black_box]
        return (*means, *(self.lookup.norms.columns if self._has_norms else ()))

    @property
    def _has_norms(self) -> bool:
        return self.pairing.box != "none" and bool(self.pairing.methods)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The printed columns."""
        name = self.pairings.printed_name
        return tuple(self._column(target, name(target), metric) for target, metric in self.printed.columns)

    def _column(self, target: str, title: str, metric: str) -> Column:
        """A column of what both heads say; a head that all columns share is left to the caption."""
        targets, metrics = ({column[part] for column in self.printed.columns} for part in (0, 1))
        interval = "always" if target in (AVERAGE, BLACK_BOX) else "csv"
        if len(targets) == 1:
            return Column(metric, self.pairings.printed_name(metric), "", interval)
        if len(metrics) == 1:
            return Column(f"{target}_{metric}", title, "", interval)
        return Column(f"{target}_{metric}", self.pairings.printed_name(metric), title, interval)

    @cached_property
    def digits(self) -> dict[str, int]:
        """Metric to the most decimals that any of its cells is printed with."""
        digits: dict[str, int] = {}
        for cells in self.printed.rows.values():
            for (_, metric), line in cells.items():
                digits[metric] = max(digits.get(metric, 0), len(line["printed"].partition(".")[2]))
        return digits

    @cached_property
    def units(self) -> dict[tuple[str, str], str]:
        """Column to the unit that it is printed in."""
        return {column: line["unit"] for cells in self.printed.rows.values() for column, line in cells.items()}

    def reported(self, method: str, cells: Mapping[tuple[str, str], Mapping[str, Any]], said: str, section: str) -> Row:
        """A printed row; ``said`` is its last cell."""
        numbers: list[Cell] = [
            Number(cells[column]["value"] if column in cells else math.nan, digits=self.digits[column[1]])
            for column in self.printed.columns
        ]
        return Row(self.pairings.printed_name(method), (*numbers, *[""] * len(self.beside), said), section)

    def measured(self, row: MeasuredRow, section: str) -> list[Filled]:
        """What was measured beside a printed row: by the metrics of the pairing, and by others where a run has them."""
        others = [
            (label, replace(self.placed, pairing=replace(self.pairing, metrics=metrics)))
            for label, metrics in self.pairing.also.items()
            if not all(self.lookup.why_none(self.pairing.protocol, metric) for metric in metrics.values())
        ]
        return [
            self._measured(row, section, self.placed),
            *(self._measured(row, section, p, f", {n}") for n, p in others),
        ]

    def _measured(self, row: MeasuredRow, section: str, placed: Placed, label: str = "") -> Filled:
        asked = [*self.printed.columns, *((BLACK_BOX, metric) for metric in self.black_box)]
        found = [measured_cell(self.lookup, placed, row, *column) for column in asked]
        numbers = [
            scaled(cell.estimate, self.units.get(column, "%"), self.digits[column[1]])
            for column, cell in zip(asked, found, strict=True)
        ]
        columns = found[: len(self.printed.columns)]
        filled = [cell.estimate for cell in columns if not cell.why_not]
        made_with, beside = ALL if row.of_column else row.surrogate, row.run.budget or self.pairing.budget
        norms = self.lookup.norms.cells(row.run, made_with, beside) if self._has_norms else ()
        what = row_name(self.lookup.norms.title(row.run), split_row_name(row.run.method)[1])
        what += f" on {row.surrogate}" * bool(row.surrogate) + f", mean over {len(row.over)} surrogates" * bool(
            row.over
        )
        much = "all columns" if len(filled) == len(columns) else f"{len(filled)} of {len(columns)} columns"
        much += f", n {trials_text(filled)}" * bool(filled)
        return Filled(
            Row(f"measured, {what}{label}", (*numbers, *norms, much), section), tuple(c.why_not for c in columns)
        )


def printed_table(pairing: Pairing, lines: Sequence[Mapping[str, Any]]) -> Printed:
    """One table from its lines, without the differences that are printed beside values."""
    columns: dict[tuple[str, str], None] = {}
    rows: dict[tuple[str, str, str], dict[tuple[str, str], Mapping[str, Any]]] = {}
    for line in lines:
        if line["metric"].endswith(GAIN_ENDINGS):
            continue
        column = (line["target"], line["metric"])
        surrogate = "" if pairing.box == "white" else line["surrogate"]  # in a white-box table it is the column
        columns[column] = None
        rows.setdefault((line["dataset"], surrogate, line["method"]), {})[column] = line
    blocks = list(dict.fromkeys(key[:2] for key in rows))
    return Printed(tuple(columns), {key: rows[key] for key in sorted(rows, key=lambda key: blocks.index(key[:2]))})


def scaled(estimate: Estimate, unit: str, digits: int = 1) -> Number:
    """A measured estimate in the unit of a printed number; rates in per cent, marked where the surrogate judged."""
    return Number.of(estimate, 100 if unit == "%" else 1, digits, WHITE_BOX * (estimate.ok and estimate.white_box))
