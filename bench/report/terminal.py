"""`summary`, the end of a run on one screen: what protects, what it costs the picture, what looks wrong."""

from __future__ import annotations

from itertools import zip_longest

from rich.console import Group
from rich.table import Table

from cloakbench.bench.core.screen import plain
from cloakbench.bench.report.contents import self_checks
from cloakbench.bench.report.index import Measured, is_control
from cloakbench.bench.report.reporters import headlines, reporters
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
        warnings.append(plain(f"{len(failures.rows)} entries under Failures in report.md", "yellow"))
    return Group(
        *(_headline_on_screen(results, headline) for headline in headlines(measured, asked).values()), *warnings
    )


def _headline_on_screen(results: Results, headline: Headline) -> Table:
    """One row per method and budget, controls first; n is that of the first quantity."""
    table = Table(
        title=plain(f"{results.name} on {results.dataset}: {headline.title}", "table.title"),
        caption=plain(headline.caption, "table.caption"),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("Method", no_wrap=True)
    table.add_column("Budget", no_wrap=True)
    for quantity in headline.quantities:
        table.add_column(plain(quantity.label), justify="right")
    table.add_column("n", justify="right")
    for row, following in zip_longest(headline.rows, headline.rows[1:]):
        estimates = [row.values[quantity] for quantity in headline.quantities]
        table.add_row(
            plain(row.label),
            row.run.budget.title * bool(row.run.budget),
            *(_estimate(quantity, row) for quantity in headline.quantities),
            str(estimates[0].n) if estimates[0].ok else GAP,
            end_section=is_control(row.run) and following is not None and not is_control(following.run),
        )
    return table


def table_on_screen(source: ReportTable) -> Table:
    """A table of the report as a rich renderable; intervals stand where the report prints them."""
    table = Table(
        title=plain(source.title), caption=plain(source.caption), title_justify="left", caption_justify="left"
    )
    table.add_column(source.stub, no_wrap=True)
    groups = column_groups(source.columns)
    for group in groups:
        labels = " / ".join(column.label for column in group)
        table.add_column(plain(f"{group[0].group} {labels}".strip()), justify="right")
    for row in source.rows:
        cells = [_cell(column, cell) for column, cell in zip(source.columns, row.cells, strict=True)]
        place = iter(cells)
        joined = [" / ".join(part for _, part in zip(group, place, strict=False) if part) for group in groups]
        table.add_row(plain(row.label), *map(plain, joined))
    return table


def _cell(column: Column, cell: Number | str) -> str:
    if isinstance(cell, str):
        return cell
    return f"{cell.text} {cell.half_width}".strip() if column.interval == "always" else cell.text


def _estimate(quantity: Quantity, row: HeadlineRow) -> str:
    if quantity.needs_surrogate and is_control(row.run):
        return ""
    number = quantity.number(row.values[quantity])
    has_interval = quantity.on_screen and number.high >= number.low
    return f"{number.text} {number.half_width}" if has_interval else number.text
