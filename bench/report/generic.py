"""The generic table: any metrics of any protocol by method and judge, for protocols and numbers without their own."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from cloakbench.bench.report.estimate import Estimate, records
from cloakbench.bench.report.index import CellPlace, Measured, Place, Run
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.report.norms import Norms
from cloakbench.bench.report.section import Section
from cloakbench.bench.report.table import BUDGET, Column, Number, Row, Table, cell_marks, trials_text


def default_section(index: Measured, name: str, title: str) -> Section:
    """The section of a protocol that says nothing of how to print its numbers: all of them, by method and judge."""
    places = index.places(name)
    return Section(title, tuple(generic_tables(index, places, {name: title})), shows=places)


def generic_tables(
    index: Measured,
    places: Collection[Place],
    titles: Mapping[str, str],
    prefix: str = "",
) -> list[Table]:
    """A table for each protocol of ``places``; a metric that the run did not declare is printed under its name, as a
    mean.

    Args:
        index: the run.
        places: what to print.
        titles: protocol to printed name.
        prefix: of the tables' names, before the protocol's.
    """
    tables = []
    for protocol in dict.fromkeys([*titles, *sorted(place.protocol for place in places)]):
        wanted = [cell for cell in index.cells if cell.place in places and cell.place.protocol == protocol]
        if wanted:
            known = {metric.name: metric for metric in index.results.declared(protocol)}
            strange = sorted({cell.place.metric for cell in wanted} - known.keys())
            known |= {name: Metric(name, name, "", "mean", decimals=3, higher_protects=None) for name in strange}
            tables.append(_table(f"{prefix}{protocol}", titles.get(protocol, protocol), index, known, wanted))
    return tables


class _Line(NamedTuple):
    """What a row is: a method at a budget on a surrogate under a condition."""

    run: Run
    surrogate: str
    condition: str


def _table(name: str, title: str, index: Measured, metrics: Mapping[str, Metric], wanted: Sequence[CellPlace]) -> Table:
    cells = {
        (_Line(cell.run, cell.surrogate, cell.place.condition), cell.judge, cell.place.metric): index.cells[cell]
        for cell in wanted
    }
    judges = index.in_order(judge for _, judge, _ in cells)
    judges = [*([""] if any(not judge for _, judge, _ in cells) else []), *judges]
    present = {(judge, metric) for _, judge, metric in cells}
    asked = [
        (judge, metric)
        for judge, metric in itertools.product(judges, metrics.values())
        if (judge, metric.name) in present
    ]
    rows = _ordered({where for where, _, _ in cells}, index)
    several = len({where.condition for where in rows}) > 1
    norms = _norms(index, wanted[0].place.protocol, [metric for _, metric in asked])
    with_surrogate = any(where.surrogate for where in rows)
    columns = [
        BUDGET,
        *([Column("surrogate", "Surrogate")] if with_surrogate else []),
        Column("n", "n"),
        *(norms.columns if norms else ()),
    ]
    columns += [_column(judge, metric) for judge, metric in asked]
    return Table(
        name=name,
        title=title,
        caption="Rates in per cent. An arrow points to where it is better for the person protected.",
        stub="Method",
        columns=tuple(columns),
        rows=tuple(
            Row(
                index.title(where.run.method),
                (
                    norms.ball(where.run) if norms else where.run.budget.text,
                    *([where.surrogate] if with_surrogate else []),
                    trials_text([cells[where, judge, m.name] for judge, m in asked if (where, judge, m.name) in cells]),
                    *(norms.cells(where.run, where.surrogate) if norms else ()),
                    *(_cell(cells.get((where, judge, m.name)), m) for judge, m in asked),
                ),
                _title(index.results.conditions, wanted[0].place.protocol, where.condition) if several else "",
            )
            for where in rows
        ),
        footnotes=(
            *(
                f"{metric.title}: {'share of' if metric.kind == 'rate' else 'over'} {metric.denominator}."
                for metric in dict.fromkeys(metric for _, metric in asked)
                if metric.denominator
            ),
            *(norms.notes if norms else ()),
        ),
        section_key="condition",
    )


def _norms(index: Measured, protocol: str, metrics: Sequence[Metric]) -> Norms | None:
    """What rates stand beside; None for other numbers."""
    return Norms(index, index.publication(protocol)) if any(one.kind == "rate" for one in metrics) else None


def _ordered(found: Collection[_Line], index: Measured) -> list[_Line]:
    """Condition by condition in the order of the experiment, controls first."""
    runs = index.ordered(where.run for where in found)
    known = list(dict.fromkeys(index.results.conditions["label"]))
    return sorted(
        found,
        key=lambda where: (
            known.index(where.condition) if where.condition in known else len(known),
            where.condition,
            runs.index(where.run),
            where.surrogate,
        ),
    )


def _column(judge: str, metric: Metric) -> Column:
    key = "_".join(part for part in (judge, metric.name, "percent" * (metric.kind == "rate")) if part)
    return Column(key, metric.heading, judge, "csv")


def _cell(estimate: Estimate | None, metric: Metric) -> Number | str:
    """A number; nothing where it was not planned."""
    return "" if estimate is None else Number.of(estimate, metric.scale, metric.decimals, cell_marks(estimate))


def _title(conditions: pd.DataFrame, protocol: str, label: str) -> str:
    """A condition as it heads rows: with its strength where it has one."""
    for line in records(conditions.loc[(conditions["protocol"] == protocol) & (conditions["label"] == label), :]):
        strength = "" if pd.isna(line["strength"]) or not line["axis"] else f" {line['strength']:g}"
        return f"{line['title']}{strength}"
    return label
