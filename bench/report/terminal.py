"""`summary`, the end of a run on one screen: what protects, what it costs the picture, what looks wrong."""

from __future__ import annotations

from itertools import zip_longest

from rich.console import Group
from rich.table import Table

from cloakbench.bench.core.screen import Fitted, plain
from cloakbench.bench.report.index import Measured, is_control
from cloakbench.bench.report.norms import Norms
from cloakbench.bench.report.reporters import headlines, reporters, self_checks
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.section import Headline, HeadlineRow, Quantity
from cloakbench.bench.report.table import GAP, Column, Number, column_groups
from cloakbench.bench.report.table import Table as ReportTable
from cloakbench.bench.report.tables_facts import failures_table


def summary(results: Results) -> Group:
    """A rich renderable: the headline of every protocol, then warnings and the count of failures."""
    measured, asked = Measured(results), reporters(results)
    warnings = [plain(f"warning: {flag}", "yellow") for flag in self_checks(measured, asked)]
    failures = failures_table(measured)
    if failures:
        warnings.append(plain(f"{len(failures.rows)} entries under Failures and gaps in report.md", "yellow"))
    return Group(
        *(
            _headline_on_screen(measured, measured.publication(name), headline)
            for name, headline in headlines(measured, asked).items()
        ),
        *warnings,
    )


def _headline_on_screen(measured: Measured, publication: str, headline: Headline) -> Fitted:
    """One row per method and budget, controls first; n is that of the first quantity."""
    norms = Norms(measured, publication)

    def table_of(count: int) -> Table:
        quantities = headline.quantities[:count]
        table = Table(
            title=plain(f"{measured.results.name} on {measured.results.dataset}: {headline.title}", "table.title"),
            caption=plain(headline.caption, "table.caption"),
            title_justify="left",
            caption_justify="left",
        )
        table.add_column("Method", overflow="fold")
        table.add_column("Budget", no_wrap=True)
        table.add_column("n", justify="right")
        for quantity in quantities:
            table.add_column(plain(quantity.label), justify="right", overflow="fold")
        for row, following in zip_longest(headline.rows, headline.rows[1:]):
            first = row.values[headline.quantities[0]]
            table.add_row(
                plain(row.label(measured)),
                norms.title(row.run) if norms.ball(row.run) != GAP else "",
                str(first.n) if first.ok else GAP,
                *(_estimate(quantity, row) for quantity in quantities),
                end_section=is_control(row.run) and following is not None and not is_control(following.run),
            )
        return table

    return Fitted(table_of, len(headline.quantities), 1, "report.md")


def table_on_screen(source: ReportTable) -> Fitted:
    """A table of the report as a rich renderable; intervals stand where the report prints them."""
    groups = column_groups(source.columns)
    rows = []
    for row in source.rows:
        cells = iter([_cell(column, cell) for column, cell in zip(source.columns, row.cells, strict=True)])
        joined = [" / ".join(part for _, part in zip(group, cells, strict=False) if part) for group in groups]
        rows.append([plain(row.label), *map(plain, joined)])

    def table_of(count: int) -> Table:
        table = Table(
            title=plain(source.title), caption=plain(source.caption), title_justify="left", caption_justify="left"
        )
        table.add_column(source.stub, overflow="fold")
        for group in groups[:count]:
            labels = " / ".join(column.label for column in group)
            table.add_column(plain(f"{group[0].group} {labels}".strip()), justify="right", overflow="fold")
        for row in rows:
            table.add_row(*row[: count + 1])
        return table

    return Fitted(table_of, len(groups), 3, f"report.md and tables/{source.name}.md")


def _cell(column: Column, cell: Number | str) -> str:
    if isinstance(cell, str):
        return cell
    return cell.words() if column.interval == "always" else cell.text


def _estimate(quantity: Quantity, row: HeadlineRow) -> str:
    if quantity.needs_surrogate and is_control(row.run):
        return ""
    number = quantity.number(row.values[quantity])
    return number.words() if quantity.on_screen else number.text
