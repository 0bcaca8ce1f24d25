"""`ranking_table`: all methods in one table, best first, with what each protocol leads with, quality and cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cloakbench.bench.core.axes import NO_BUDGET, BudgetSize
from cloakbench.bench.report.decisions.ranking import Ranking
from cloakbench.bench.report.decisions.worst import WORST_NOTE, has_worst, worst_cells, worst_columns
from cloakbench.bench.report.estimate import Estimate, records
from cloakbench.bench.report.index import Measured, Run
from cloakbench.bench.report.norms import Norms
from cloakbench.bench.report.opening.leads import Lead, budget_of_interest, ranked_row
from cloakbench.bench.report.section import HeadlineRow, Quantity
from cloakbench.bench.report.table import SMALL, Cell, Column, Number, Row, Table

_KEYS = tuple[Run, str]


def ranking_table(measured: Measured, leads: Sequence[Lead]) -> Table | None:
    """A block for each budget, that of the findings first; methods without a budget stand in that block.

    The order is that of the first protocol, then that of the next for methods that the first did not ask about.
    """
    budgets = {row.run.budget for lead in leads for row in lead.headline.rows}
    home = budget_of_interest(leads[0]) if leads else NO_BUDGET
    blocks = [home, *sorted(budgets - {NO_BUDGET, home}, reverse=True)] if budgets else []
    qualities = list(dict.fromkeys(q for lead in leads for q in lead.headline.quantities if not q.is_rate))
    qualities = [quantity for quantity in qualities if quantity not in {lead.quantity for lead in leads}]
    passes = passes_of(measured)
    norms = [Norms(measured, measured.publication(lead.reporter.name)) for lead in leads]
    rows = []
    for budget in blocks:
        of_lead = [_by_run(lead, {budget, NO_BUDGET} if budget == home else {budget}) for lead in leads]
        rankings = [lead.ranking(measured, budget) for lead in leads]
        for key in dict.fromkeys(key for found in of_lead for key in found):
            cells = [
                cell
                for lead, found, ranking in zip(leads, of_lead, rankings, strict=True)
                for cell in _cells(measured, lead, found.get(key), ranking)
            ]
            line = [found[key] for found in of_lead if key in found]
            made = next(one for one, found in zip(norms, of_lead, strict=True) if key in found)
            cells += [*made.cells(key[0], beside=budget), *(_quality(quantity, line) for quantity in qualities)]
            spent = Number(passes[key[0]]) if key[0] in passes else ""
            rows.append(Row(line[0].label(measured), (*cells, spent), budget.title * bool(budget)))
    if not rows:
        return None
    return Table(
        name="ranking",
        title="All methods",
        caption="Best first by the first protocol. In brackets the 95 % interval over people; ties: rows of a block "
        "that share a letter were not told apart on the same photos. Passes: images through networks per protected "
        "photo.",
        stub="Method",
        columns=(
            *(column for lead in leads for column in _columns(measured, lead)),
            *norms[0].columns,
            *(Column(quantity.column, quantity.label, interval="csv") for quantity in qualities),
            Column("passes", "Passes"),
        ),
        rows=tuple(rows),
        footnotes=(
            *(f"{lead.reporter.title}: {lead.headline.title}; {lead.headline.about}." for lead in leads),
            *([WORST_NOTE] if any(has_worst(measured, lead.reporter.name) for lead in leads) else []),
            *norms[0].notes,
        ),
        section_key="budget",
    )


def _by_run(lead: Lead, budgets: set[BudgetSize]) -> dict[_KEYS, HeadlineRow]:
    """Rows of a block, best first; a surrogate is part of the key where a run has several rows."""
    rows = [row for row in lead.rows(max(budgets)) if row.run.budget in budgets]
    runs = [row.run for row in rows]
    return {(row.run, row.surrogate if runs.count(row.run) > 1 else ""): row for row in rows}


def _columns(measured: Measured, lead: Lead) -> tuple[Column, ...]:
    key = f"{lead.reporter.name}_{lead.quantity.column}"
    return (
        Column(key, f"{lead.reporter.title}: {lead.quantity.label}", interval="always"),
        Column(f"{lead.reporter.name}_ties", "Ties"),
        Column(f"{lead.reporter.name}_n", "n"),
        *(worst_columns(lead.reporter.name) if has_worst(measured, lead.reporter.name) else ()),
    )


def _cells(measured: Measured, lead: Lead, row: HeadlineRow | None, ranking: Ranking | None) -> tuple[Cell, ...]:
    """Value, letters, n, and the worst case; nothing where the protocol did not ask about the run."""
    name = lead.reporter.name
    worst = worst_cells(measured, name, row.run if row else None) if has_worst(measured, name) else ()
    if row is None:
        return "", "", "", *worst
    estimate, ranked = lead.estimate(row), ranked_row(ranking, row)
    number = lead.quantity.number(estimate)
    marks = SMALL * lead.is_small(measured, ranking, row)
    number = Number(number.value, number.low, number.high, number.digits, marks)
    return number, ranked.group if ranked else "", str(estimate.n), *worst


def _quality(quantity: Quantity, rows: Sequence[HeadlineRow]) -> Number | str:
    """Of the first protocol that has it: others may be about other photos."""
    known = next((row.values[quantity] for row in rows if quantity in row.values), None)
    return "" if known is None else quantity.number(known if known.ok else Estimate())


def passes_of(measured: Measured) -> dict[Run, float]:
    """Forward and backward passes per photo of each run, mean over surrogates; of the probes where it has some."""
    costs: dict[Run, dict[bool, list[float]]] = {}
    for line in records(measured.results.costs):
        run = Run.of(line)
        spent = float(line["forward_per_image"]) + float(line["backward_per_image"])
        costs.setdefault(run, {}).setdefault(bool(line.get("publication")), []).append(spent)
    first = {run: by_place.get(False) or by_place[True] for run, by_place in costs.items()}
    return {run: math.fsum(spent) / len(spent) for run, spent in first.items()}
