"""Contents: the sections of a report in reading order, those of protocols between those that every run has."""

from __future__ import annotations

from collections.abc import Sequence

from cloakbench.bench.report.decisions.differences_table import differences_table
from cloakbench.bench.report.groups.section import groups_section
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.labels import PRINTED_TABLES
from cloakbench.bench.report.reported.lookup import Lookup
from cloakbench.bench.report.reported.tables import printed_tables, reported_tables
from cloakbench.bench.report.reporters import also_measured
from cloakbench.bench.report.section import Reporter, Section
from cloakbench.bench.report.sweeps.parts import Sweep
from cloakbench.bench.report.sweeps.section import variants_section
from cloakbench.bench.report.table import Table
from cloakbench.bench.report.tables_facts import (
    attribute_networks_table,
    failures_table,
    gaps_table,
    models_table,
    passes_table,
)
from cloakbench.bench.report.tables_methods import methods_table, settings_table, survey_tables

_FOR_COMPUTING = ("reported_differences",)
"""Tables that a report names but does not print."""


def contents(measured: Measured, reporters: Sequence[Reporter]) -> list[Section]:
    """Every section that has something to show; at the end whatever no section shows.

    Equal measurements give equal sections: none holds a time.
    """
    results = measured.results
    of_protocols = [section for reporter in reporters for section in reporter.sections(measured.seen_by(reporter.name))]
    lookup = Lookup(measured)
    reported = reported_tables(lookup)
    asked = [name for name in str(results.setup.get(PRINTED_TABLES, "")).split(", ") if name]
    in_their_shape = printed_tables(lookup, asked) if asked else []
    failures, gaps = failures_table(measured), gaps_table(measured)
    rest = also_measured(measured, reporters, of_protocols)
    costs = "Seconds and memory on this machine: [cost.md](tables/cost.md), [csv](tables/cost.csv)."
    return [
        Section("Recognisers", _known(models_table(results))),
        Section("Attribute networks", _known(attribute_networks_table(results))),
        Section(
            "Methods",
            (*_known(methods_table(measured)), *survey_tables(measured, reporters)),
            linked=_known(settings_table(measured)),
        ),
        Section("As the papers print it", tuple(in_their_shape)),
        Section("What each change does", _known(differences_table(measured))),
        variants_section(Sweep.of(results)),
        *of_protocols,
        groups_section(measured),
        Section(
            "Reported beside measured",
            tuple(table for table in reported if table.name not in _FOR_COMPUTING),
            linked=tuple(table for table in reported if table.name in _FOR_COMPUTING),
        ),
        Section("Cost", _known(passes_table(measured)), closing="" if results.costs.empty else costs),
        Section(
            "Failures and gaps",
            (*_known(failures), *_known(gaps)),
            closing="" if failures else f"None: every planned cell has a value{' or a reason' * bool(gaps)}.",
        ),
        *([rest] if rest else []),
    ]


def _known(table: Table | None) -> tuple[Table, ...]:
    return () if table is None else (table,)
