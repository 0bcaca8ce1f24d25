"""All tables of a report, in reading order."""

from __future__ import annotations

from cloakbench.bench.protocols.poisoning.report import poisoning_table
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.reported.lookup import ResultLookup
from cloakbench.bench.report.reported.tables import reported_tables
from cloakbench.bench.report.table import Table
from cloakbench.bench.report.tables_facts import (
    failures_table,
    models_table,
    passes_table,
    quality_table,
    thresholds_table,
)
from cloakbench.bench.report.tables_methods import methods_table, settings_table, survey_tables
from cloakbench.bench.report.tables_rates import (
    identification_tables,
    matrix_tables,
    robustness_tables,
    verification_tables,
)


def build_tables(measured: Measured) -> list[Table]:
    """Every table that the measurements can fill. Equal measurements give equal tables: none holds a time."""
    optional = [
        models_table(measured.results),
        methods_table(measured),
        settings_table(measured),
        *survey_tables(measured),
        *identification_tables(measured),
        *reported_tables(ResultLookup(measured.results)),
        *matrix_tables(measured),
        *verification_tables(measured),
        thresholds_table(measured.results),
        quality_table(measured),
        *robustness_tables(measured),
        poisoning_table(measured.results),
        passes_table(measured.results),
        failures_table(measured),
    ]
    return [table for table in optional if table is not None]
