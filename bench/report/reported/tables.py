"""The tables of reported numbers: what a report shows, and any printed table by its name."""

from __future__ import annotations

from collections.abc import Sequence

from cloakbench.bench.report.reported.beside import side_by_side_tables
from cloakbench.bench.report.reported.claims import load_claims
from cloakbench.bench.report.reported.claims_table import claims_table
from cloakbench.bench.report.reported.lookup import Lookup
from cloakbench.bench.report.reported.pairings import load_pairings
from cloakbench.bench.report.reported.printed import load_lines
from cloakbench.bench.report.reported.shown import coverage_table, paper_table
from cloakbench.bench.report.table import Table


def reported_tables(lookup: Lookup) -> list[Table]:
    """What every report shows of the papers: pairs side by side, their differences, claims, and what is covered.

    Raises:
        ReportedSchemaError: a committed file of reported numbers is broken; one line.
    """
    lines = load_lines()
    pairings = load_pairings(lines)
    return [
        *side_by_side_tables(lookup, pairings, lines),
        claims_table(lookup, load_claims()),
        coverage_table(lookup, pairings, lines),
    ]


def printed_tables(lookup: Lookup, names: Sequence[str] = ()) -> list[Table]:
    """Printed tables in their own shape, each with what was measured under its rows.

    Args:
        lookup: the run.
        names: ``facecloak_3`` and so on; all of them when empty.

    Raises:
        ValueError: there is no table of that name; the message lists them.
    """
    lines = load_lines()
    pairings = load_pairings(lines)
    return [paper_table(lookup, pairings, name, lines) for name in names or pairings.tables]
