"""Gains and changes: how far a method is from the best other one of its table, or from one, printed and measured."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from cloakbench.bench.report.reported.pairings import GAIN_ENDINGS
from cloakbench.bench.report.reported.shape import Shape
from cloakbench.bench.report.table import Cell, Number, Row

PRINTED = "minus the best other, printed"
MEASURED = "measured, minus the best other"


def gain_rows(
    shape: Shape,
    block: Mapping[str, Sequence[Row]],
    lines: Iterable[Mapping[str, Any]],
    key: tuple[str, str, str],
    section: str,
) -> list[Row]:
    """The arrows that a paper prints beside its own rates, and the same of what was measured here.

    Args:
        shape: the table.
        block: printed method to its measured rows, of the block that the own method ends.
        lines: of the table's CSV file.
        key: data set, surrogate and method of the own row.
        section: of its rows.
    """
    given = _printed(lines, key, GAIN_ENDINGS[0])
    rows = []
    if given:
        numbers = [Number(given.get(column, math.nan)) for column in shape.printed.columns]
        rows.append(Row(PRINTED, (*numbers, *[""] * len(shape.beside), "percentage points"), section))
    others = {method: measured[0] for method, measured in block.items() if measured and method != key[2]}
    if block[key[2]] and others:
        rows.append(_measured(shape, block[key[2]][0], others, section))
    return rows


def change_rows(
    shape: Shape,
    block: Mapping[str, Sequence[Row]],
    lines: Iterable[Mapping[str, Any]],
    key: tuple[str, str, str],
    section: str,
) -> list[Row]:
    """How far a method is from that which a table prints changes from (`Pairing.base`): printed, and measured.

    Args: as `gain_rows`; the block has the measured rows of both.
    """
    given = _printed(lines, key, GAIN_ENDINGS[1])
    minus = f"minus {shape.pairings.printed_name(shape.pairing.base)}"
    blank = [""] * len(shape.beside)
    columns = shape.printed.columns
    numbers = [Number(given.get(column, math.nan), digits=shape.digits[column[1]]) for column in columns]
    rows = [Row(f"{minus}, printed", (*numbers, *blank, "change"), section)]
    for own, base in zip(block[key[2]], block.get(shape.pairing.base, ()), strict=False):
        pairs = list(zip(own.cells, base.cells, strict=True))[: len(columns)]
        changes = [
            Number(mine.value - theirs.value, digits=mine.digits) if _is_known(mine) and _is_known(theirs) else Number()
            for mine, theirs in pairs
        ]
        rows.append(Row(f"{own.label}, {minus}", (*changes, *blank, "change"), section))
    return rows


def _printed(
    lines: Iterable[Mapping[str, Any]], key: tuple[str, str, str], ending: str
) -> dict[tuple[str, str], float]:
    """Differences that are printed beside the values of a row, by column."""
    return {
        (line["target"], line["metric"].removesuffix(ending)): line["value"]
        for line in lines
        if (line["dataset"], line["surrogate"], line["method"]) == key and line["metric"].endswith(ending)
    }


def _measured(shape: Shape, own: Row, others: Mapping[str, Row], section: str) -> Row:
    """Differences of the values; whether a method is better is decided on the same photos, in the paired tables."""
    cells: list[Cell] = []
    best: Counter[str] = Counter()
    rates = len(shape.printed.columns) + len(shape.black_box)
    for place, mine in enumerate(own.cells[:rates]):
        cells_there = {method: row.cells[place] for method, row in others.items()}
        known = {method: cell for method, cell in cells_there.items() if _is_known(cell)}
        if not (_is_known(mine) and known):
            cells.append(Number())
            continue
        method = max(known, key=lambda one: known[one].value)
        best[method] += 1
        cells.append(Number(mine.value - known[method].value, digits=mine.digits))
    told = ", ".join(f"{shape.pairings.printed_name(method)} ({count})" for method, count in best.most_common())
    blank = [""] * (len(own.cells) - 1 - rates)
    return Row(MEASURED, (*cells, *blank, f"best other in columns: {told}" if told else "nothing to compare"), section)


def _is_known(cell: Cell) -> TypeGuard[Number]:
    return isinstance(cell, Number) and not math.isnan(cell.value)
