"""`Lead`: the headline of a protocol with everything that was decided about it, for sentences and for a ranking."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cloakbench.bench.core.axes import NO_BUDGET, BudgetSize
from cloakbench.bench.report.decisions.ranking import RankedRun, Ranking, ranking_of
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import ALL, Measured, Place, Run, is_control
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.report.section import Headline, HeadlineRow, Quantity, Reporter


@dataclass(frozen=True)
class Lead:
    """One protocol.

    Attributes:
        reporter: who asked.
        headline: its numbers.
        quantity: the one that methods are ordered by.
        metric: what the quantity is a mean of; None where the protocol does not say.
        is_foreign: it is about other photos than the probes, and has one ranking for all budgets.
    """

    reporter: Reporter
    headline: Headline
    quantity: Quantity
    metric: Metric | None
    is_foreign: bool

    def estimate(self, row: HeadlineRow) -> Estimate:
        """The quantity of a row."""
        return row.values[self.quantity]

    def rows(self, budget: BudgetSize) -> list[HeadlineRow]:
        """Rows with a value that compete at a budget, best first."""
        rows = [row for row in self.headline.rows if self.is_foreign or row.run.budget in (budget, NO_BUDGET)]
        sign = -1 if self.metric is None or self.metric.higher_protects is not False else 1
        return sorted((row for row in rows if self.estimate(row).ok), key=lambda row: sign * self.estimate(row).value)

    def ranking(self, measured: Measured, budget: BudgetSize) -> Ranking | None:
        """What was decided among them; None where nothing was."""
        if self.metric is None:
            return None
        place = Place(self.reporter.name, self.metric.name, self.headline.condition)
        return ranking_of(measured.results, place, *((NO_BUDGET, "") if self.is_foreign else (budget, ALL)))

    def is_small(self, measured: Measured, ranking: Ranking | None, row: HeadlineRow) -> bool:
        """Whether a row stands on too few photos to be ranked."""
        ranked = ranked_row(ranking, row)
        if ranked is not None:
            return ranked.small
        seen = measured.seen_by(self.reporter.name)
        return self.metric is not None and not self.is_foreign and seen.is_small(self.metric.name, row.run)


def ranked_row(ranking: Ranking | None, row: HeadlineRow) -> RankedRun | None:
    """The row of a ranking that a headline's row stands for."""
    return ranking.row(row.run, row.surrogate or None) if ranking else None


def leads(measured: Measured, reporters: Iterable[Reporter]) -> list[Lead]:
    """Those of all protocols that have a headline, in the order of the experiment."""
    found = []
    for reporter in reporters:
        headline = reporter.headline(measured.seen_by(reporter.name))
        if headline is not None and headline.rows:
            quantity = headline.quantities[0]
            declared = measured.results.declared(reporter.name)
            metric = next((one for one in declared if one.name == headline.metric), None)
            found.append(Lead(reporter, headline, quantity, metric, measured.is_foreign(reporter.name)))
    return found


def budget_of_interest(lead: Lead) -> BudgetSize:
    """The largest budget of a headline; none where no method has one."""
    return max((row.run.budget for row in lead.headline.rows), default=NO_BUDGET)


def is_method(row: HeadlineRow) -> bool:
    """Whether a row is no control."""
    return not is_control(Run(row.run.method))
