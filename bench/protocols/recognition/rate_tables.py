"""Rate tables: what the tables of identification and verification share, a row per method and columns by target."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cloakbench.bench.core.axes import NO_BUDGET, BudgetSize
from cloakbench.bench.report.decisions.ranking import Ranking, identical_notes, rankings_of
from cloakbench.bench.report.decisions.tables import TIES, TIES_NOTE, file_suffix, ties
from cloakbench.bench.report.index import Measured, Place, Run, is_control
from cloakbench.bench.report.labels import UNTRANSFORMED
from cloakbench.bench.report.norms import Norms
from cloakbench.bench.report.table import SMALL, Column, Number, Row, Table, cell_marks, trials_text

MEAN_INTERVAL = "In brackets the 95 % interval; the CSV file has that of every cell. {how}."
_JOINT = "Means have one bootstrap over people for all of their cells"
_OF_ENDS = "Means have the means of their cells' ends, which is rather too wide than too narrow"
SAME_TARGETS = "The means of the rows without a surrogate leave out the same targets as the block they stand in."


@dataclass(frozen=True)
class Spread:
    """The sub-columns that every target of a table has: metrics and how they are headed."""

    protocol: str
    name: str
    title: str
    caption: str
    metrics: tuple[str, ...]
    labels: tuple[str, ...]


def by_budget(measured: Measured, spreads: Iterable[Spread]) -> list[Table]:
    """A table for each budget and spread of which anything was measured."""
    return [
        _rate_table(measured, spread, budget)
        for spread in spreads
        if measured.metrics.intersection(spread.metrics)
        for budget in measured.budgets or (NO_BUDGET,)
    ]


def _rate_table(measured: Measured, spread: Spread, budget: BudgetSize) -> Table:
    """One block of rows per surrogate: clean, control, methods; one group of columns per target, then the mean."""
    pairs = zip(spread.metrics, spread.labels, strict=True)
    known = [(metric, label) for metric, label in pairs if metric in measured.metrics]
    metrics = [metric for metric, _ in known]
    targets = measured.judges(metrics[0])
    norms = Norms(measured)
    columns = [Column("n", "n"), *norms.columns]
    for target in targets:
        columns += [Column(f"{target}_{metric}_percent", label, target, "csv") for metric, label in known]
    columns += [
        Column(f"black_box_mean_{metric}_percent", label, "Black-box mean", "always") for metric, label in known
    ]
    led_by, rankings = _rankings(measured, spread.protocol, known, budget)
    columns += [TIES] * bool(rankings)
    rows = []
    for surrogate in measured.surrogates:
        for run in measured.runs_at(budget):
            if surrogate not in measured.surrogates_of(run):
                continue
            numbers = [rate_number(measured, m, run, surrogate, t) for t in targets for m in metrics]
            few = SMALL * measured.is_small(metrics[0], run, surrogate)
            means = [Number.of(measured.black_box(metric, run, surrogate), marks=few) for metric in metrics]
            letters = [ties(rankings.get(surrogate), run)] * bool(rankings)
            estimates = [measured.cell(m, run, surrogate, t) for t in targets for m in metrics]
            section = f"Surrogate: {surrogate}" if surrogate else ""
            told = trials_text(estimates), *norms.cells(run, surrogate, budget)
            rows.append(Row(measured.title(run.method), (*told, *numbers, *means, *letters), section))
    return Table(
        name=f"{spread.name}{file_suffix(budget)}",
        title=f"{spread.title}, {budget.title}",
        caption=spread.caption,
        stub="Method",
        columns=tuple(columns),
        rows=tuple(rows),
        footnotes=(
            _widths(rows),
            mean_interval(measured),
            *norms.notes,
            *([SAME_TARGETS] if _has_shared_controls(measured) else []),
            *([TIES_NOTE.format(label=led_by)] if rankings else []),
            *identical_notes(measured, spread.protocol),
        ),
        section_key="surrogate",
    )


def _rankings(
    measured: Measured, protocol: str, known: Sequence[tuple[str, str]], budget: BudgetSize
) -> tuple[str, dict[str, Ranking]]:
    """Label of the first metric of a table that methods were ranked by, and its ranking for each surrogate."""
    for metric, label in known:
        ranked = rankings_of(measured.results, Place(protocol, metric, UNTRANSFORMED))
        found = {one.surrogate: one for one in ranked if one.budget == budget}
        if any(ranking.comparisons for ranking in found.values()):
            return label, found
    return "", {}


def mean_interval(measured: Measured) -> str:
    """What the intervals of means are."""
    return MEAN_INTERVAL.format(how=_OF_ENDS if measured.results.means.empty else _JOINT)


def rate_number(measured: Measured, metric: str, run: Run, surrogate: str, target: str) -> Number:
    """A rate in per cent with the marks of its cell."""
    cell = measured.cell(metric, run, surrogate, target)
    return Number.of(cell, marks=cell_marks(cell))


def _widths(rows: list[Row]) -> str:
    """How wide the intervals of the single cells are, for the Markdown table that does not print them."""
    cells = [cell for row in rows for cell in row.cells if isinstance(cell, Number) and cell.interval]
    widths = [cell.high - cell.low for cell in cells]
    if not widths:
        return "No intervals were computed."
    return f"Widths of the 95 % intervals: median {statistics.median(widths):.1f}, largest {max(widths):.1f} points."


def _has_shared_controls(measured: Measured) -> bool:
    return any(is_control(run) and not measured.uses_surrogate(run.method) for run in measured.runs)
