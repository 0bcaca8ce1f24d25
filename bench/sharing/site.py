"""`write_site`: a board as a folder of static pages, with every row as CSV, JSON and LaTeX beside them.

Equal runs give equal bytes; nothing is loaded from elsewhere, so the folder can be served, zipped or opened from disk.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cloakbench.bench.core.axes import row_name, split_row_name
from cloakbench.bench.report.estimate import records, text
from cloakbench.bench.report.html.page import SCRIPTS, rendered
from cloakbench.bench.report.html.tables import TableView
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.opening.findings import findings
from cloakbench.bench.report.opening.leads import leads, ranked_row
from cloakbench.bench.report.reporters import reporters, self_checks
from cloakbench.bench.report.table import Number
from cloakbench.bench.report.writer import frame_csv, write_table, write_text
from cloakbench.bench.sharing.divisions import KeptRun, RankedTogether, entries
from cloakbench.bench.sharing.standings import board_data, numbers_of, standing

_SMALL = ("dom.js", "tables.js", "start.js")
"""Parts of the script for pages without a ranking."""
_CARD = ("paper", "goal", "scope", "needs", "targeted", "trained", "official_settings", "deviations", "notes")


def write_site(runs: Sequence[KeptRun], folder: Path) -> Path:
    """Write the pages; returns that of the board.

    Raises:
        StoreError: the folder cannot be written; one line saying why.
    """
    found = entries(runs)
    numbers = [numbers_of(entry) for entry in found]
    pages = {run.name: page_name(run.name) for run in runs}
    data = board_data(found, numbers)
    for row in data["runs"]:
        row["page"] = pages[row["source"]]
    tables = [[standing(entry, lead, one) for lead in entry.leads] for entry, one in zip(found, numbers, strict=True)]
    rows = [row for entry in found for row in _rows(entry, pages)]
    methods = _methods(found, rows)
    for table in (table for some in tables for table in some):
        write_table(table, folder / "tables")
    write_text(folder / "board.csv", frame_csv(pd.DataFrame(rows).drop(columns=["title", "page"])))
    write_text(folder / "board.json", json.dumps(_plain(rows), indent=1, ensure_ascii=False) + "\n")
    for method in methods:
        write_text(folder / "methods" / f"{method['page']}.html", rendered("method.html", _SMALL, {}, method=method))
    for run in runs:
        write_text(folder / "runs" / f"{pages[run.name]}.html", _run_page(run))
    named = [{"name": run.name, "results": run.results, "version": run.version, "note": run.note} for run in runs]
    listed = [one | {"page": pages[one["name"]]} for one in named]
    divisions = [(entry, [TableView.of(table) for table in some]) for entry, some in zip(found, tables, strict=True)]
    context = {"divisions": divisions, "methods": methods, "runs": listed}
    write_text(folder / "index.html", rendered("board.html", SCRIPTS, data, **context))
    return folder / "index.html"


def page_name(name: str) -> str:
    """A name as the file of a page."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", name).strip("._")[:100] or "unnamed"


def _rows(entry: RankedTogether, pages: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Every row of the headlines, as plain values: rates in per cent, numbers unrounded."""
    for lead in entry.leads:
        budgets = sorted({row.run.budget for row in lead.headline.rows})
        for row in lead.headline.rows:
            ranking = lead.ranking(entry.measured, row.run.budget if row.run.budget else budgets[-1])
            ranked, estimate = ranked_row(ranking, row), lead.estimate(row)
            compared = ranking and ranking.comparisons and ranked and not ranked.small
            best, worst = ranking.places(ranked) if ranking and ranked and compared else (None, None)
            method, variant = split_row_name(row.run.method)
            source, scale = entry.source.get(method, entry.runs[0]), 100 if lead.quantity.is_rate else 1
            if not estimate.ok:
                continue
            yield {
                "division": entry.division(lead.reporter.name),
                "dataset": entry.measured.results.dataset,
                "manifest_sha256": entry.measured.results.manifest_sha256,
                "version": entry.version,
                "run": source,
                "page": pages[source],
                "protocol": lead.reporter.name,
                "quantity": lead.quantity.label,
                "unit": "%" if lead.quantity.is_rate else "",
                "title": entry.measured.title(row.run.method),
                "method": method,
                "variant": variant,
                "epsilon_255": row.run.budget.epsilon_255,
                "surrogate": row.surrogate,
                "value": scale * estimate.value,
                "low": scale * estimate.low,
                "high": scale * estimate.high,
                "decimals": lead.quantity.decimals,
                "n": estimate.n,
                "n_identities": estimate.n_identities,
                "small": lead.is_small(entry.measured, ranking, row),
                "ties": ranked.group if ranked else "",
                "best_place": best,
                "worst_place": worst,
            }


def _methods(found: Sequence[RankedTogether], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A page for each method: what its card says, and its rows in all runs."""
    cards: dict[str, dict[str, Any]] = {}
    for entry in found:
        for line in records(entry.measured.results.methods):
            cards.setdefault(line["key"], {name.replace("_", " "): _fact(line.get(name)) for name in _CARD})
    methods = []
    for key in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == key]
        title = next((row["title"] for row in own if not row["variant"]), row_name(key, ""))
        history = [_told(row) for row in own]
        methods.append(
            {"page": page_name(key), "title": title, "card": cards.get(key, {"paper": ""}), "history": history}
        )
    return sorted(methods, key=lambda method: method["title"].lower())


def _fact(value: Any) -> str:
    return {True: "yes", False: "no"}[bool(value)] if isinstance(value, bool | np.bool_) else text(value)


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the page of its method prints it."""
    number = Number(row["value"], row["low"], row["high"], row["decimals"])
    place = "–".join(dict.fromkeys(f"{one}" for one in (row["best_place"], row["worst_place"]) if one is not None))
    budget = "–" if row["epsilon_255"] is None else f"{row['epsilon_255']:g}/255"
    value = f"{number.text} {row['unit']}".strip()
    return {**row, "value": value, "interval": number.interval, "budget": budget, "place": place}


def _run_page(run: KeptRun) -> str:
    measured, asked = Measured(run.results), reporters(run.results)
    warnings = self_checks(measured, asked)
    packages = run.environment.get("packages") or {}
    facts = {
        "data": run.results.dataset,
        "manifest, SHA-256": run.results.manifest_sha256,
        **{
            key: text(run.environment.get(key))
            for key in ("python", "system", "machine", "device", "accelerator", "commit")
        },
        **{str(key): text(value) for key, value in packages.items()},
        **run.digests,
    }
    told = findings(measured, leads(measured, asked), len(run.results.problems), len(warnings))
    return rendered("run.html", _SMALL, {}, run=run, findings=told[:-1], warnings=warnings, facts=facts)


def _plain(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as JSON has them: a number that is none is null."""
    return [
        {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in row.items()
            if key != "page"
        }
        for row in rows
    ]
