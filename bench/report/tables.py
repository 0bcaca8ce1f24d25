"""All tables of a report, in reading order."""

from __future__ import annotations

from cloakbench.bench.report.inputs import Results
from cloakbench.bench.report.measured import Measured
from cloakbench.bench.report.table import Table
from cloakbench.bench.report.tables_facts import (
    failures_table,
    models_table,
    passes_table,
    quality_table,
    thresholds_table,
)
from cloakbench.bench.report.tables_rates import (
    identification_tables,
    matrix_tables,
    robustness_tables,
    verification_tables,
)
from cloakbench.bench.report.tables_reported import reported_tables


def build_tables(results: Results) -> list[Table]:
    """Every table that the measurements can fill. Equal measurements give equal tables: none holds a time."""
    measured = Measured(results)
    optional = [
        models_table(results),
        *identification_tables(results, measured),
        *reported_tables(results, measured),
        *matrix_tables(results, measured),
        *verification_tables(results, measured),
        thresholds_table(results),
        quality_table(results, measured),
        *robustness_tables(results, measured),
        passes_table(results),
        failures_table(results, measured),
    ]
    return [table for table in optional if table is not None]
