"""Contents: what a report holds, whatever it is written as: its opening, and its sections in reading order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloakbench.bench.core.status import OK
from cloakbench.bench.report.decisions.differences_table import differences_table
from cloakbench.bench.report.estimate import records, text
from cloakbench.bench.report.groups.section import groups_section
from cloakbench.bench.report.index import Measured, Run
from cloakbench.bench.report.labels import PRINTED_TABLES
from cloakbench.bench.report.opening.findings import Finding, findings
from cloakbench.bench.report.opening.leads import Lead, leads
from cloakbench.bench.report.opening.ranking_table import ranking_table
from cloakbench.bench.report.reported.lookup import Lookup
from cloakbench.bench.report.reported.tables import printed_tables, reported_tables
from cloakbench.bench.report.reporters import also_measured, reporters, self_checks
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.section import Reporter, Section
from cloakbench.bench.report.sweeps.parts import Sweep
from cloakbench.bench.report.sweeps.section import variants_section
from cloakbench.bench.report.table import Table
from cloakbench.bench.report.tables_facts import (
    attribute_networks_table,
    cost_table,
    failures_table,
    gaps_table,
    models_table,
    passes_table,
)
from cloakbench.bench.report.tables_marks import marks_sections
from cloakbench.bench.report.tables_methods import methods_table, settings_table, survey_tables

_FOR_COMPUTING = ("reported_differences",)
"""Tables that a report names but does not print."""


@dataclass(frozen=True)
class WholeReport:
    """Everything that a report says, in plain text and tables.

    Attributes:
        measured: the run.
        reporters: its protocols.
        leads: what these lead with.
        findings: the run in sentences.
        setup: facts by name.
        warnings: what looks wrong, a sentence each.
        ranking: all methods in one table.
        sections: the parts, those of protocols between those that every run has; none holds a time.
        caveats: what the numbers do and do not mean, a sentence each.
        cost: seconds and memory, the only table that may differ between equal runs.
    """

    measured: Measured
    reporters: tuple[Reporter, ...]
    leads: tuple[Lead, ...]
    findings: tuple[Finding, ...]
    setup: dict[str, str]
    warnings: tuple[str, ...]
    ranking: Table | None
    sections: tuple[Section, ...]
    caveats: tuple[str, ...]
    cost: Table | None

    @classmethod
    def of(cls, results: Results) -> WholeReport:
        """That of a run. Equal results give equal reports."""
        measured, asked = Measured(results), reporters(results)
        leading = leads(measured, asked)
        warnings = _warnings(measured, asked)
        failures = failures_table(measured)
        facts = {"data": results.dataset, "manifest": results.manifest_sha256[:16], **results.setup}
        return cls(
            measured=measured,
            reporters=asked,
            leads=tuple(leading),
            findings=tuple(findings(measured, leading, len(failures.rows) if failures else 0, len(warnings))),
            setup={key.replace("_", " "): str(value) for key, value in facts.items()},
            warnings=warnings,
            ranking=ranking_table(measured, leading),
            sections=tuple(contents(measured, asked)),
            caveats=tuple(dict.fromkeys(caveat for lead in leading for caveat in lead.headline.caveats)),
            cost=cost_table(measured),
        )


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
        *marks_sections(measured),
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


def _warnings(measured: Measured, asked: Sequence[Reporter]) -> tuple[str, ...]:
    """Self-checks, then what methods say of themselves and metrics of cells that do have a value."""
    results = measured.results
    frame = results.measurements.loc[(results.measurements["status"] == OK) & results.measurements["value"].notna()]
    of_methods = ((row, line["notes"]) for row, line in measured.methods.items())
    of_cells = ((Run.of(line).method, line["note"]) for line in records(frame))
    notes = {f"{measured.title(row)}: {text(note)}" for row, note in (*of_methods, *of_cells) if text(note)}
    return (*self_checks(measured, asked), *sorted(notes))
