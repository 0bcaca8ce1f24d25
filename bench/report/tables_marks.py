"""The table of marks: bits that a method wrote into photos, and how many are read back from what is published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloakbench.bench.report.estimate import count_text, records, text
from cloakbench.bench.report.index import Measured, Run
from cloakbench.bench.report.norms import Norms
from cloakbench.bench.report.section import Section
from cloakbench.bench.report.table import BUDGET, Number, Row, Table, columns


def marks_sections(measured: Measured) -> list[Section]:
    """The section of marks; none where no method writes any."""
    costs, norms = measured.results.costs, Norms(measured)
    if "bits_read" not in costs:
        return []
    rows = [
        Row(
            measured.title(Run.of(line).method),
            (
                norms.ball(Run.of(line)),
                text(line["surrogate"]),
                count_text(line["bits_written"]),
                Number(*_percent(line)),
            ),
        )
        for line in records(costs)
        if float(line["bits_written"]) > 0
    ]
    if not rows:
        return []
    table = Table(
        name="marks",
        title="Marks read back",
        caption="Bits of the owner that are read from the published photo, unattacked, as they were written, by who "
        "has the method's decoder; per cent, interval over people. Guessing gives 50.",
        stub="Method",
        columns=(BUDGET, *columns(surrogate="Surrogate", bits_written="Bits", bits_read_percent="Read back")),
        rows=tuple(rows),
    )
    return [Section("Marks", (table,))]


def _percent(line: Mapping[str, Any]) -> tuple[float, float, float]:
    value, low, high = (100 * float(line[f"bits_read{end}"]) for end in ("", "_low", "_high"))
    return value, low, high
