"""The papers' tables by name, each printed row with what was measured under it, and how many rows have something."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from cloakbench.bench.report.reported.gains import change_rows, gain_rows
from cloakbench.bench.report.reported.lookup import Lookup
from cloakbench.bench.report.reported.paired import place, rows_beside
from cloakbench.bench.report.reported.pairings import AVERAGE, Pairing, Pairings
from cloakbench.bench.report.reported.printed import comparability
from cloakbench.bench.report.reported.register import caveats, load_register
from cloakbench.bench.report.reported.shape import Lines, Shape, printed_table
from cloakbench.bench.report.table import Column, Row, Table, columns

_GAP = "A gap in a reported row was lost in the text of the paper."


def paper_table(lookup: Lookup, pairings: Pairings, name: str, lines: Lines) -> Table:
    """A printed table in its own shape: each printed row, and under it what was measured, or the reason at its end.

    The mean of a measured row is over the printed columns, as the paper's is; black-box tables have a second one, over
    the judges of the run that are not the surrogate. Where the table is of a paper's own method, each block ends with
    how far that is from the best other one, as printed and as measured; where it prints changes from one method, each
    other one is followed by them.

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
    shape = Shape(
        lookup, pairings, place(pairings.tables[name], lookup.models), printed_table(pairings.tables[name], lines[name])
    )
    rows: list[Row] = []
    gaps: dict[str, dict[str, None]] = {}
    sections = _sections(shape)
    blocks: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for key, cells in shape.printed.rows.items():
        block = blocks.setdefault(key[:2], {})
        found, why_not = rows_beside(lookup, shape.placed, key[2], key[1])
        filled = [line for row in found for line in shape.measured(row, sections[key])]
        block[key[2]] = [line.row for line in filled]
        for line in filled:
            for reason, column in zip(line.why_not, shape.columns, strict=True):
                gaps.setdefault(reason, {})[f"{column.group} {column.label}".strip()] = None
        rows.append(
            shape.reported(key[2], cells, "measured below" if found else f"reported only: {why_not}", sections[key])
        )
        rows += block[key[2]]
        if key[2] == shape.pairing.own:
            rows += gain_rows(shape, block, lines[name], key, sections[key])
        if shape.pairing.base and key[2] != shape.pairing.base:
            rows += change_rows(shape, block, lines[name], key, sections[key])
    return Table(
        name=f"reported_{name}",
        title=shape.pairing.title,
        caption=_caption(shape.pairing, pairings),
        stub="Method",
        columns=(*shape.columns, *shape.beside, Column("measured_here", "Measured here")),
        rows=tuple(rows),
        footnotes=(*_gaps(shape, gaps), *_footnotes(shape)),
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


def _sections(shape: Shape) -> dict[tuple[str, str, str], str]:
    """What varies between the blocks of a table: the data set, the surrogate, or nothing."""
    rows, name = shape.printed.rows, shape.pairings.printed_name
    varying = [position for position in (0, 1) if len({key[position] for key in rows}) > 1]

    def part(key: tuple[str, str, str], position: int) -> str:
        if position == 0:
            return f"Data: {name(key[0])}"
        model = shape.placed.surrogates.get(key[1])
        return f"Surrogate: {name(key[1])}" + (f" (here {model})" if model else "")

    return {key: ", ".join(part(key, position) for position in varying) for key in rows}


def _gaps(shape: Shape, gaps: Mapping[str, Iterable[str]]) -> Iterable[str]:
    """Why measured rows have no number in some columns, and why others are missing."""
    for reason, found in gaps.items():
        if reason:
            yield f"No measured number in some rows of {', '.join(found)}: {reason}."
    for label, metrics in shape.pairing.also.items() if gaps else ():
        reasons = [shape.lookup.why_none(shape.pairing.protocol, metric) for metric in metrics.values()]
        yield from [f"No rows by {label}: {reasons[0]}."] * all(reasons)


def _footnotes(shape: Shape) -> Iterable[str]:
    datasets = dict.fromkeys(key[0] for key in shape.printed.rows)
    name = shape.pairings.printed_name
    yield from (f"Data, {name(dataset)}: {comparability(shape.lookup.dataset, dataset)}." for dataset in datasets)
    yield from ["The measured rows of every block are of the data of this run."] * (len(datasets) > 1)
    yield from ["In brackets the 95 % interval of a measured mean (bootstrap over people)."] * any(
        target == AVERAGE for target, _ in shape.printed.columns
    )
    if places := shape.placed.targets:
        shown = dict.fromkeys(target for target, _ in shape.printed.columns if target in places)
        stand_ins = ", ".join(f"{name(key)}: {places[key]}" for key in shown)
        yield f"Columns, reported name: measured network. {stand_ins}."
    yield from shape.lookup.norms.notes if shape.beside else ()
    lost = any(math.isnan(line["value"]) for cells in shape.printed.rows.values() for line in cells.values())
    yield from [_GAP] * lost
    yield from shape.pairing.notes
    yield from caveats(load_register(), shape.pairing.name)


def _caption(pairing: Pairing, pairings: Pairings) -> str:
    if not pairing.methods:
        return "As printed; nothing of it is measured here."
    measured = ", ".join(f"{pairings.printed_name(printed)} by {metric}" for printed, metric in pairing.metrics.items())
    return f"As printed, and under each row what the protocol {pairing.protocol} measured ({measured})."
