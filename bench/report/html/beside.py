"""`Beside`: what stands beside a rate on a page: picture quality, the change that was made, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cloakbench.bench.report.index import ALL, Measured, Run
from cloakbench.bench.report.norms import NORM_COLUMNS, Norms
from cloakbench.bench.report.opening.leads import Lead
from cloakbench.bench.report.opening.ranking_table import passes_of

_Key = tuple[str, Run, str]
"""Publication, method at its budget, and the surrogate of a row that is told apart by it."""


class Beside:
    """Of every row of the headlines, as the report's ranking has it.

    Args:
        measured: the run.
        leads: what its protocols lead with.
        number: place of each run on the page.
    """

    def __init__(self, measured: Measured, leads: Sequence[Lead], number: Mapping[Run, int]) -> None:
        self._number = number
        self.columns: list[dict[str, Any]] = []
        self.values: dict[str, dict[str, list[float | None]]] = {}
        rows = [
            ((measured.publication(lead.reporter.name), row.run, row.surrogate), row.values)
            for lead in leads
            for row in lead.headline.rows
        ]
        keys = dict.fromkeys([*(key for key, _ in rows), *(("", run, "") for run in measured.runs)])
        leading = {lead.quantity for lead in leads}
        for quantity in dict.fromkeys(q for _, values in rows for q in values if not q.is_rate and q not in leading):
            found: dict[_Key, float] = {}
            for key, values in rows:
                if quantity in values:
                    found.setdefault(key, values[quantity].value)
            self._column(quantity.label, quantity.decimals, found)
        norms = {publication: Norms(measured, publication) for publication, _, _ in keys}
        for place, column in enumerate(NORM_COLUMNS):
            used = {key: norms[key[0]].cells(key[1], key[2] or ALL) for key in keys}
            self._column(column.label, 1, {key: cells[place].value for key, cells in used.items() if cells})
        spent = passes_of(measured)
        self._column("Passes", 1, {key: spent[key[1]] for key in keys if key[1] in spent})

    def told(self) -> dict[str, Any]:
        """As plain values: ``columns``, and ``values`` by publication and ``run|surrogate``."""
        return {"columns": self.columns, "values": self.values}

    def _column(self, title: str, decimals: int, found: Mapping[_Key, float]) -> None:
        """A column, unless nothing is known."""
        known = {key: round(value, decimals) + 0.0 for key, value in found.items() if math.isfinite(value)}
        place = len(self.columns)
        for (publication, run, surrogate), value in known.items():
            row = self.values.setdefault(publication, {}).setdefault(f"{self._number[run]}|{surrogate}", [])
            row += [*[None] * (place - len(row)), value]
        if known:
            self.columns.append({"title": title, "decimals": decimals})
