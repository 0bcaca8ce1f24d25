"""The papers' tables by name, each printed row with what was measured under it, and how many rows have something."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloakbench.bench.core.axes import row_name, split_row_name
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.reported.lookup import Lookup
from cloakbench.bench.report.reported.paired import MeasuredRow, Placed, measured_cell, place, rows_beside
from cloakbench.bench.report.reported.pairings import GAIN_ENDINGS, Pairing, Pairings
from cloakbench.bench.report.reported.printed import comparability
from cloakbench.bench.report.table import Column, Number, Row, Table, columns

Lines = Mapping[str, Sequence[Mapping[str, Any]]]
"""Table name to the lines of its CSV file."""
_GAP = "A gap in a reported row was lost in the text of the paper."


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


def paper_table(lookup: Lookup, pairings: Pairings, name: str, lines: Lines) -> Table:
    """A printed table in its own shape: each printed row, and under it what was measured, or the reason at its end.

    Args:
        lookup: the run.
        pairings: of `load_pairings`.
        name: key of `Pairings.tables`, such as ``facecloak_1``.
        lines: of `load_lines`.

    Raises:
        ValueError: there is no table of that name.
    """
    if name not in pairings.tables:
        raise ValueError(f"no reported table is called {name!r}; use one of {', '.join(pairings.tables)}")
    pairing = pairings.tables[name]
    printed = printed_table(pairing, lines[name])
    placed = place(pairing, lookup.models)
    digits = _digits(printed)
    rows = []
    sections = _sections(printed, placed)
    for key, cells in printed.rows.items():
        found, why_not = rows_beside(lookup, placed, key[2], key[1])
        numbers = [_reported(cells.get(column), digits[column[1]]) for column in printed.columns]
        status = "measured below" if found else f"reported only: {why_not}"
        rows.append(Row(pairings.printed_name(key[2]), (*numbers, status), sections[key]))
        rows += [_measured_row(lookup, placed, printed, row, sections[key]) for row in found]
    datasets = dict.fromkeys(key[0] for key in printed.rows)
    notes = [f"{dataset}: {comparability(lookup.dataset, dataset)}." for dataset in datasets]
    stand_ins = ", ".join(f"{pairings.printed_name(key)}: {model}" for key, model in placed.targets.items())
    notes += [f"Columns, reported name: measured network. {stand_ins}."] * bool(stand_ins)
    lost = any(math.isnan(line["value"]) for cells in printed.rows.values() for line in cells.values())
    return Table(
        name=f"reported_{name}",
        title=pairing.title,
        caption=_caption(pairing),
        stub="Method",
        columns=(*_columns(pairings, printed), Column("measured_here", "Measured here")),
        rows=tuple(rows),
        footnotes=(*notes, *[_GAP] * lost),
    )


def coverage_table(lookup: Lookup, pairings: Pairings, lines: Lines) -> Table:
    """Every printed table: how many of its rows stand beside a measurement, and why the others do not."""
    rows = []
    for name, pairing in pairings.tables.items():
        printed = printed_table(pairing, lines[name])
        placed = place(pairing, lookup.models)
        answers = [rows_beside(lookup, placed, method, surrogate) for _, surrogate, method in printed.rows]
        why_not = Counter(reason for found, reason in answers if not found)
        counts = (len(answers), sum(1 for found, _ in answers if found))
        reasons = "; ".join(f"{reason} ({count})" for reason, count in why_not.items())
        rows.append(Row(pairing.title, (f"reported_{name}", *(str(count) for count in counts), reasons)))
    return Table(
        name="reported_coverage",
        title="Tables of the papers",
        caption="Printed rows, those with a measurement beside them in this run, and why the others have none.",
        stub="Printed table",
        columns=columns(
            table="Table here",
            printed_rows="Rows",
            measured_rows="Measured",
            why_not="Reported only, because (rows)",
        ),
        rows=tuple(rows),
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
    """A measured estimate in the unit of a printed number; rates in per cent."""
    return Number.of(estimate, 100 if unit == "%" else 1, digits)


def _measured_row(lookup: Lookup, placed: Placed, printed: Printed, row: MeasuredRow, section: str) -> Row:
    units = {column: line["unit"] for cells in printed.rows.values() for column, line in cells.items()}
    digits = _digits(printed)
    found = [measured_cell(lookup, placed, row, *column) for column in printed.columns]
    numbers = [
        scaled(cell.estimate, units[column], digits[column[1]])
        for column, cell in zip(printed.columns, found, strict=True)
    ]
    gaps = Counter(cell.why_not for cell in found if cell.why_not)
    what = row_name(row.run.budget.title, split_row_name(row.run.method)[1])
    what += f" on {row.surrogate}" * bool(row.surrogate)
    why_not = "; ".join(f"{reason} ({count} of {len(found)} columns)" for reason, count in gaps.items())
    return Row(f"measured, {what}", (*numbers, why_not or "all columns"), section)


def _reported(line: Mapping[str, Any] | None, digits: int) -> Number:
    return Number(math.nan if line is None else line["value"], digits=digits)


def _digits(printed: Printed) -> dict[str, int]:
    """Metric to the most decimals that any of its cells is printed with."""
    digits: dict[str, int] = {}
    for cells in printed.rows.values():
        for (_, metric), line in cells.items():
            digits[metric] = max(digits.get(metric, 0), len(line["printed"].partition(".")[2]))
    return digits


def _sections(printed: Printed, placed: Placed) -> dict[tuple[str, str, str], str]:
    """What varies between the blocks of a table: the data set, the surrogate, or nothing."""
    varying = [position for position in (0, 1) if len({key[position] for key in printed.rows}) > 1]

    def part(key: tuple[str, str, str], position: int) -> str:
        if position == 0:
            return f"Data: {key[0]}"
        model = placed.surrogates.get(key[1])
        return f"Surrogate: {key[1]}" + (f" (here {model})" if model else "")

    return {key: ", ".join(part(key, position) for position in varying) for key in printed.rows}


def _columns(pairings: Pairings, printed: Printed) -> Iterable[Column]:
    several = len({target for target, _ in printed.columns}) > 1
    for target, metric in printed.columns:
        label = pairings.printed_name(metric)
        group = pairings.printed_name(target) if several else ""
        yield Column(f"{target}_{metric}" if several else metric, label, group, "csv")


def _caption(pairing: Pairing) -> str:
    if not pairing.methods:
        return "As printed; nothing of it is measured here."
    measured = ", ".join(f"{printed} by {metric}" for printed, metric in pairing.metrics.items())
    return f"As printed, and under each row what the protocol {pairing.protocol} measured ({measured})."
