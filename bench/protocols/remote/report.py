"""Report of `remote`: rates by method and service, and when which network behind a service was asked."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from cloakbench.bench.protocols.remote.evidence import NAME, service_title
from cloakbench.bench.protocols.remote.spoken import day
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.report.norms import Norms
from cloakbench.bench.report.section import Section
from cloakbench.bench.report.table import BUDGET, Column, Number, Row, Table, cell_marks, trials_text


def remote_section(index: Measured, title: str, pictures: str) -> Section:
    """All rates, those over photos in which a face was found apart, and a table of dates and model versions.

    Args:
        index: the run.
        title: of the section.
        pictures: how photos were sent.
    """
    declared = index.results.declared(NAME)
    found = [metric for metric in declared if metric.name.endswith("_found")]
    whole = [metric for metric in declared if metric not in found]
    tables = [
        table
        for table in (
            rates_table(index, whole, NAME, title, pictures),
            rates_table(index, found, f"{NAME}_faces_found", f"{title}, photos in which a face was found", pictures),
        )
        if table is not None
    ]
    asked = asked_table(index)
    shown = (*tables[:1], *([asked] if asked else []))
    return Section(title, shown, linked=tuple(tables[1:]), shows=index.places(NAME))


def rates_table(index: Measured, metrics: Sequence[Metric], name: str, title: str, pictures: str) -> Table | None:
    """Rates of some metrics with their intervals, service by service; those that no service has are left out.

    Args:
        index: the run.
        metrics: in the order of columns.
        name, title: of the table.
        pictures: how photos were sent.
    """
    cells = {
        (cell.judge, cell.run, cell.surrogate, cell.place.metric): estimate
        for cell, estimate in index.cells.items()
        if cell.place.protocol == NAME and cell.judge
    }
    measured = {key[3] for key, estimate in cells.items() if estimate.ok}
    shown = [metric for metric in metrics if metric.name in measured]
    if not shown:
        return None
    norms = Norms(index, index.publication(NAME))
    lines = list(dict.fromkeys(key[:3] for key in cells))
    runs, judges = index.ordered(run for _, run, _ in lines), index.in_order(judge for judge, _, _ in lines)
    lines.sort(key=lambda line: (judges.index(line[0]), runs.index(line[1]), line[2]))
    rows = []
    for judge, run, surrogate in lines:
        own = [cells.get((judge, run, surrogate, metric.name)) for metric in shown]
        if any(one is not None for one in own):
            numbers = (_number(one, metric) for one, metric in zip(own, shown, strict=True))
            facts = (norms.ball(run), surrogate, trials_text([one for one in own if one is not None]))
            label = index.title(run.method)
            rows.append(Row(label, (*facts, *norms.cells(run, surrogate), *numbers), service_title(judge)))
    return Table(
        name=name,
        title=title,
        caption="Rates in per cent. An arrow points to where it is better for the person protected.",
        stub="Method",
        columns=(
            BUDGET,
            Column("surrogate", "Surrogate"),
            Column("n", "n"),
            *norms.columns,
            *(Column(f"{m.name}{'_percent' * (m.kind == 'rate')}", m.heading, interval="always") for m in shown),
        ),
        rows=tuple(rows),
        footnotes=(
            *(
                f"{metric.title}: {'share of' if metric.kind == 'rate' else 'over'} {metric.denominator}."
                for metric in shown
            ),
            *norms.notes,
            f"Pictures: {pictures}.",
        ),
        section_key="judge",
    )


def _number(estimate: Estimate | None, metric: Metric) -> Number | str:
    """A number; nothing where it was not planned."""
    return "" if estimate is None else Number.of(estimate, metric.scale, metric.decimals, cell_marks(estimate))


def asked_table(index: Measured) -> Table | None:
    """When each service was asked about each method, in how many requests, and which network answered."""
    records = index.results.records.get(NAME)
    if records is None or records.empty:
        return None
    operations = [name.removesuffix("_date") for name in records.columns if name.endswith("_date")]
    rows = []
    for judge, of_judge in records.groupby("judge", sort=False):
        for method in dict.fromkeys(of_judge["method"]):
            of_method = of_judge.loc[of_judge["method"] == method]
            for operation in operations:
                if (row := _asked_row(of_method, operation)) is not None:
                    rows.append(Row(index.title(method), (operation, *row), service_title(str(judge))))
    return Table(
        name="remote_calls",
        title="When services were asked",
        caption="Answers are kept and never asked for again; requests count retries, and no enrolling.",
        stub="Method",
        columns=(
            Column("operation", "Operation"),
            Column("answers", "Photos"),
            Column("requests", "Requests"),
            Column("first", "From (UTC)"),
            Column("last", "To (UTC)"),
            Column("versions", "Model version"),
        ),
        rows=tuple(rows),
        section_key="judge",
    )


def _asked_row(records: pd.DataFrame, operation: str) -> tuple[str, str, str, str, str] | None:
    known = records.loc[records[f"{operation}_date"].notna()]
    if known.empty:
        return None
    dates = known[f"{operation}_date"]
    versions = ", ".join(sorted(set(known[f"{operation}_version"]) - {""}))
    requests = f"{known[f'{operation}_calls'].sum():.0f}"
    return f"{len(known)}", requests, day(float(dates.min())), day(float(dates.max())), versions or "not told"
