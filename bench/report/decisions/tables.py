"""Tables of decisions: neighbours of a ranking compared in pairs, and the column of tie groups beside a mean."""

from __future__ import annotations

from collections.abc import Iterable

from cloakbench.bench.core.axes import BudgetSize
from cloakbench.bench.report.decisions.ranking import PairedRuns, RankedRun, Ranking, rankings_of
from cloakbench.bench.report.estimate import records
from cloakbench.bench.report.index import ALL, Measured, Place, Run
from cloakbench.bench.report.interval_text import p_text
from cloakbench.bench.report.labels import UNTRANSFORMED
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.report.norms import Norms
from cloakbench.bench.report.table import Cell, Column, Number, Row, Table, columns

TIES = Column("ties", "Ties")
TIES_NOTE = (
    "Ties, of {label}: rows of a block that share a letter were not told apart on the same photos (swap test over "
    "people, Holm's correction over all pairs of the block, 5 %)."
)
_COMPARED = (
    "Difference on the photos of both methods, in {unit}, with its 95 % interval (one bootstrap over people for both, "
    "not corrected); p of a two-sided swap test over people, then after Holm's correction for all {pairs} pairs of the "
    "ranking, which decides."
)


def file_suffix(budget: BudgetSize) -> str:
    """Of the name of a budget's table."""
    return f"_eps{budget.text}" * bool(budget)


def ties(ranking: Ranking | None, run: Run, surrogate: str | None = None) -> str:
    """The letters of a row; nothing where it was not compared."""
    row = ranking.row(run, surrogate) if ranking else None
    return row.group if row else ""


def paired_tables(
    measured: Measured, protocol: str, metric: Metric, condition: str = UNTRANSFORMED
) -> tuple[list[Table], list[Table]]:
    """Neighbours of every ranking of a metric.

    Args:
        measured: the run.
        protocol: who asked; begins the file stems.
        metric: what methods were ranked by.
        condition: under which they were ranked.

    Returns:
        tables to print, one per budget, of means over surrogates where there are several; and tables to link, of the
        rankings of single surrogates beside them.
    """
    place, name = Place(protocol, metric.name, condition), f"{protocol}_compared"
    rankings = [one for one in rankings_of(measured.results, place) if one.comparisons]
    printed, linked = [], []
    for budget in dict.fromkeys(one.budget for one in rankings):
        at_budget = [one for one in rankings if one.budget == budget]
        overall = [one for one in at_budget if one.surrogate == ALL]
        suffix = file_suffix(budget)
        printed.append(_paired(measured, metric, f"{name}{suffix}", overall or at_budget))
        if overall and len(at_budget) > 1:
            single = [one for one in at_budget if one.surrogate != ALL]
            linked.append(_paired(measured, metric, f"{name}_by_surrogate{suffix}", single))
    return printed, linked


def _paired(measured: Measured, metric: Metric, name: str, rankings: Iterable[Ranking]) -> Table:
    rankings = list(rankings)
    pairs = sorted({len(one.comparisons) for one in rankings})
    counted = str(pairs[0]) if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]}"
    unit = "percentage points" if metric.kind == "rate" else metric.unit or "its own unit"
    budget = rankings[0].budget
    over = ", mean over surrogates" if rankings[0].surrogate == ALL else ""
    same = {frozenset((line["method"], line["same_as"])) for line in records(measured.results.identical)}
    return Table(
        name=name,
        title=f"Neighbours compared: {metric.title}{over}" + f", {budget.title}" * bool(budget),
        caption=_COMPARED.format(unit=unit, pairs=counted),
        stub="Better",
        columns=(
            Column("next", "Next"),
            Column("difference", "Difference", interval="always"),
            *columns(p="p", p_holm="p, Holm", told_apart="Told apart", n_photos="Photos", n_identities="People"),
        ),
        rows=tuple(
            Row(
                _name(measured, one.first, ranking),
                (
                    _name(measured, one.second, ranking),
                    *_numbers(one, metric, frozenset((one.first.run.method, one.second.run.method)) in same),
                    str(one.estimate.n),
                    str(one.estimate.n_identities),
                ),
                f"Surrogate: {ranking.surrogate}" if len(rankings) > 1 else "",
            )
            for ranking in rankings
            for one in ranking.neighbours
        ),
        section_key="surrogate",
    )


def _numbers(one: PairedRuns, metric: Metric, identical: bool) -> tuple[Cell, ...]:
    """Difference, p, corrected p, and whether it is decided; methods that do the same have no interval."""
    if identical:
        return Number(0.0, digits=metric.decimals), "", "", "identical records"
    difference = Number.of(one.estimate, metric.scale, metric.decimals)
    return difference, p_text(one.p), p_text(one.p_holm), "yes" if one.decided else "no"


def _name(measured: Measured, row: RankedRun, ranking: Ranking) -> str:
    """Method, with what a ranking does not say of it: another ball than that of the ranking; its budget and surrogate
    where one ranking has several."""
    name = measured.title(row.run.method)
    if ranking.budget or ranking.surrogate:
        return name + Norms(measured).aside(row.run, ranking.budget)
    budget = f" {row.run.budget.title}" * bool(row.run.budget)
    return name + budget + (f" ({row.surrogate})" if row.surrogate else "")
