"""Report of `remote`: rates by method and service, and when which network behind a service was asked."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from cloakbench.bench.protocols.remote.metrics import Share
from cloakbench.bench.protocols.remote.spoken import day
from cloakbench.bench.report.generic import generic_tables
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.section import Section
from cloakbench.bench.report.table import Column, Row, Table

NAME = "remote"


def remote_section(index: Measured, shares: Sequence[Share], title: str, pictures: str) -> Section:
    """All rates, those over photos in which a face was found apart, and a table of dates and model versions.

    Args:
        index: the run.
        shares: what was measured.
        title: of the section.
        pictures: how photos were sent.
    """
    places = index.places(NAME)
    had = {cell.place.metric for cell, estimate in index.cells.items() if cell.place.protocol == NAME and estimate.ok}
    parts = {
        "": [share.metric.name for share in shares if not share.metric.name.endswith("_found")],
        "_faces_found": [share.metric.name for share in shares if share.metric.name.endswith("_found")],
    }
    tables = []
    for part, names in parts.items():
        wanted = {place for place in places if place.metric in names and place.metric in had}
        words = title if not part else f"{title}, photos in which a face was found"
        for table in generic_tables(index, wanted, {NAME: words}):
            tables.append(_named(table, f"{NAME}{part}", f"Pictures: {pictures}."))
    asked = asked_table(index)
    return Section(title, (*tables[:1], *([asked] if asked else [])), linked=tuple(tables[1:]), shows=places)


def _named(table: Table, name: str, note: str) -> Table:
    return Table(
        name=name,
        title=table.title,
        caption=table.caption,
        stub=table.stub,
        columns=table.columns,
        rows=table.rows,
        footnotes=(*table.footnotes, note),
        section_key=table.section_key,
    )


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
                    rows.append(Row(index.title(method), (operation, *row), str(judge)))
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
