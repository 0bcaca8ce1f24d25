"""`TableView`: a table of the report as a page prints it; text is escaped by the template."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from cloakbench.bench.report.interval_text import GAP
from cloakbench.bench.report.table import Cell, Column, Number, Table, column_groups


@dataclass(frozen=True)
class CellView:
    """A printed cell: what it says, the interval beside it or under the pointer, and whether it is a number."""

    text: str
    beside: str = ""
    hover: str = ""
    number: bool = False


@dataclass(frozen=True)
class RowView:
    """A line; ``section`` is said where a new one begins."""

    section: str
    label: str
    cells: tuple[CellView, ...]


@dataclass(frozen=True)
class TableView:
    """A table whose neighbouring columns of one group share a cell, as in Markdown: ``63.2 / 41.0``.

    Attributes:
        table: what is shown; caption, notes and files are its own.
        heads: printed headers, the stub first.
        shared: what cells of several numbers hold, where all hold the same.
        rows: lines.
        verdicts: how often each verdict was reached, for tables of claims; empty for all others.
    """

    table: Table
    heads: tuple[str, ...]
    shared: str
    rows: tuple[RowView, ...]
    verdicts: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, table: Table) -> TableView:
        """That of a table."""
        groups = column_groups(table.columns)
        several = {" / ".join(column.label for column in group) for group in groups if len(group) > 1}
        shared = several.pop() if len(several) == 1 else ""
        rows, section = [], ""
        for row in table.rows:
            cells = iter(row.cells)
            views = tuple(_cell(group, list(itertools.islice(cells, len(group)))) for group in groups)
            rows.append(RowView(row.section * (row.section != section), row.label, views))
            section = row.section
        heads = (table.stub, *(_head(group, shared) for group in groups))
        return cls(table, heads, shared, tuple(rows), _verdicts(table))


def _head(group: Sequence[Column], shared: str) -> str:
    labels = " / ".join(column.label for column in group)
    return (group[0].group if labels == shared else f"{group[0].group} {labels}").strip()


def _cell(group: Sequence[Column], cells: Sequence[Cell]) -> CellView:
    numbers = [cell for cell in cells if isinstance(cell, Number)]
    if not numbers:
        return CellView(" / ".join(str(cell) for cell in cells if cell))
    if all(math.isnan(number.value) for number in numbers):
        return CellView(GAP, number=True)
    text = " / ".join(cell + "" if isinstance(cell, str) else cell.text + cell.marks for cell in cells)
    ends = " / ".join(number.interval for number in numbers if number.interval)
    always = any(column.interval == "always" for column in group)
    return CellView(text, ends * always, f"95 % interval {ends}" * bool(ends and not always), number=True)


def _verdicts(table: Table) -> tuple[tuple[str, int], ...]:
    place = next((place for place, column in enumerate(table.columns) if column.key == "verdict"), None)
    if place is None:
        return ()
    found: dict[str, int] = {}
    for row in table.rows:
        found[str(row.cells[place])] = found.get(str(row.cells[place]), 0) + 1
    return tuple(found.items())
