"""Explorer: every number of a run with its place, as plain data that a page sorts and filters.

Nothing is worked out here: cells and means are the index's (`cloakbench.bench.report.index`), those of other photos
than the probes their protocols' headlines' and ``Results.means``, ties and places the rankings'. Values are rounded as
they are printed, so that a page and a table never differ in a digit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloakbench.bench.core.axes import BudgetSize, split_row_name
from cloakbench.bench.report.decisions.ranking import rankings_of
from cloakbench.bench.report.estimate import Estimate, records, text
from cloakbench.bench.report.html.beside import Beside
from cloakbench.bench.report.index import ALL, Measured, Place, Run, is_control
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.report.norms import Norms
from cloakbench.bench.report.opening.leads import Lead
from cloakbench.bench.report.table import SMALL, cell_marks
from cloakbench.bench.statistics.small_samples import is_small

MEAN, WHITE, HARDEST, NOBODY = "mean", "white", "hardest", ""
"""Stand for a judge: the mean over those who are not the surrogate, over those who are, the one of the former who is
fooled least, and nobody where photos are measured without a judge."""


@dataclass
class Explored:
    """What a page is given.

    Attributes:
        metrics: in the order of the protocols; each has a ``key`` that ``series`` begin with.
        runs: methods at budgets.
        series: ``metric, condition, judge`` to rows ``[run, surrogate, value, low, high, n, people, marks, judge]``,
            the last for `HARDEST` alone.
        ties: ``metric, condition, budget, surrogate`` to ``[run, surrogate, letters, best place, worst place]``.
        conditions: label to title.
        beside: columns beside the value, and by publication the numbers of each run.
    """

    metrics: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    series: dict[str, list[list[Any]]] = field(default_factory=dict)
    ties: dict[str, list[list[Any]]] = field(default_factory=dict)
    conditions: dict[str, str] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)


def explored(measured: Measured, leads: Sequence[Lead]) -> Explored:
    """Every metric of a run, by method, surrogate, judge and condition.

    Args:
        measured: the run.
        leads: what its protocols lead with.
    """
    return _Explorer(measured, leads).result


class _Explorer:
    def __init__(self, measured: Measured, leads: Sequence[Lead]) -> None:
        self.measured, self.leads = measured, leads
        self.order = self.measured.ordered(cell.run for cell in self.measured.cells)
        self.number = {run: number for number, run in enumerate(self.order)}
        norms = Norms(self.measured)
        self.result = Explored(runs=[_run(self.measured, norms, run) for run in self.order])
        self.result.beside = Beside(measured, leads, self.number).told()
        for line in records(self.measured.results.conditions):
            strength = "" if math.isnan(line["strength"]) or not text(line["axis"]) else f" {line['strength']:g}"
            self.result.conditions.setdefault(line["label"], f"{line['title']}{strength}")
        cells: dict[Place, dict[tuple[Run, str, str], Estimate]] = {}
        judges = ["", *self.measured.in_order(cell.judge for cell in self.measured.cells)]
        for cell in sorted(
            self.measured.cells,
            key=lambda one: (one.place, judges.index(one.judge), self.number[one.run], one.surrogate),
        ):
            found = cells.setdefault(cell.place, {})
            found[cell.run, cell.surrogate, cell.judge] = self.measured.cells[cell]
        self.cells = cells
        by_metric: dict[tuple[str, str], list[Place]] = {}
        for place in cells:
            by_metric.setdefault((place.protocol, place.metric), []).append(place)
        titles = {line["label"]: text(line["title"]) for line in records(self.measured.results.protocols)}
        for label in dict.fromkeys([*titles, *(protocol for protocol, _ in by_metric)]):
            declared = {metric.name: metric for metric in self.measured.results.declared(label)}
            named = [name for protocol, name in by_metric if protocol == label]
            for name in dict.fromkeys([*(one for one in declared if one in named), *named]):
                metric = declared.get(name) or Metric(name, name, "", "mean", decimals=3, higher_protects=None)
                self._metric(label, titles.get(label, label), metric, by_metric[label, name])

    def _metric(self, label: str, title: str, metric: Metric, places: list[Place]) -> None:
        key = len(self.result.metrics)
        lead = next((one for one in self.leads if one.reporter.name == label), None)
        publication = self.measured.publication(label)
        self.result.metrics.append(
            {
                "protocol": label,
                "group": title + f" ({publication})" * bool(publication and publication != label),
                "name": metric.name,
                "title": metric.title,
                "unit": "%" if metric.kind == "rate" else metric.unit,
                "decimals": metric.decimals,
                "higher": metric.higher_protects,
                "about": metric.denominator,
                "publication": publication,
                "leads": bool(lead and lead.metric and lead.metric.name == metric.name),
                "records": label in self.measured.results.records,
            }
        )
        for place in places:
            rows = self._foreign(place, metric, key) if publication else self._of_probes(place, metric)
            for judge, row in rows:
                self.result.series.setdefault(f"{key}|{place.condition}|{judge}", []).append(row)
            self._ties(place, key)

    def _of_probes(self, place: Place, metric: Metric) -> Iterator[tuple[str, list[Any]]]:
        seen = self.measured.seen_by(place.protocol)
        judged = bool(seen.judges(place.metric))
        ranked = {name for lead in self.leads if lead.reporter.name == place.protocol for name in lead.reporter.rank_by}
        yield from self._cells(place, metric)
        for run in self.order:
            for surrogate in (ALL, *seen.surrogates_of(run)):
                if not judged:
                    mean = seen.quality(place.metric, run) if surrogate == ALL else Estimate()
                    yield from self._row(MEAN, run, surrogate, mean, metric)
                    continue
                mean = seen.black_box(place.metric, run, surrogate, place.condition)
                marks = SMALL * (mean.ok and seen.is_small(place.metric, run, surrogate))
                yield from self._row(MEAN, run, surrogate, mean, metric, marks)
                white = seen.white_box(place.metric, run, surrogate) if place.condition == "none" else Estimate()
                yield from self._row(WHITE, run, surrogate, white, metric)
                if place.metric in ranked:
                    yield from self._hardest(seen, place, metric, run, surrogate)

    def _cells(self, place: Place, metric: Metric) -> Iterator[tuple[str, list[Any]]]:
        for (run, surrogate, judge), estimate in self.cells[place].items():
            yield from self._row(judge, run, surrogate, estimate, metric, cell_marks(estimate))

    def _hardest(
        self, seen: Measured, place: Place, metric: Metric, run: Run, surrogate: str
    ) -> Iterator[tuple[str, list[Any]]]:
        """The black-box cell that protects least; none where a cell is missing."""
        found = []
        for source in seen.surrogates_of(run) if surrogate == ALL else (surrogate,):
            for judge in seen.judges_of(place.metric, source, white_box=False):
                found.append((judge, seen.cell(place.metric, run, source, judge, place.condition)))
        if found and all(estimate.ok for _, estimate in found) and metric.higher_protects is not None:
            sign = 1 if metric.higher_protects else -1
            judge, worst = min(found, key=lambda one: sign * one[1].value)
            for name, row in self._row(HARDEST, run, surrogate, worst, metric, cell_marks(worst)):
                yield name, [*row, judge]

    def _foreign(self, place: Place, metric: Metric, key: int) -> Iterator[tuple[str, list[Any]]]:
        """About other photos than the probes: a row for each surrogate; means are the headline's, or those kept."""
        yield from self._cells(place, metric)
        lead = next((one for one in self.leads if one.reporter.name == place.protocol), None)
        if lead and self.result.metrics[key]["leads"] and place.condition == lead.headline.condition:
            ranking = lead.ranking(self.measured, max(run.budget for run in self.order))
            for row in lead.headline.rows:
                marks = SMALL * lead.is_small(self.measured, ranking, row)
                yield from self._row(MEAN, row.run, row.surrogate, lead.estimate(row), metric, marks)
            return
        frame = self.measured.results.means
        same = (frame["protocol"] == place.protocol) & (frame["metric"] == place.metric)
        lines = records(frame.loc[same & (frame["condition"] == place.condition)])
        photos, people = ([line[name] for line in lines] for name in ("n_photos", "n_identities"))
        small = is_small(photos, people, [not is_control(Run.of(line)) for line in lines])
        for line, few in zip(lines, small, strict=True):
            ends = (line["value"], line["low"], line["high"])
            mean = Estimate(*ends, n=line["n_photos"], n_identities=line["n_identities"], status="ok")
            judge = WHITE if line["white_box"] else MEAN
            yield from self._row(judge, Run.of(line), text(line["surrogate"]), mean, metric, SMALL * bool(few))

    def _row(
        self, judge: str, run: Run, surrogate: str, estimate: Estimate, metric: Metric, marks: str = ""
    ) -> Iterator[tuple[str, list[Any]]]:
        if estimate.ok:
            ends = [rounded(end, metric) for end in (estimate.value, estimate.low, estimate.high)]
            yield judge, [self.number[run], surrogate, *ends, estimate.n, estimate.n_identities, marks]

    def _ties(self, place: Place, key: int) -> None:
        for ranking in rankings_of(self.measured.results, place):
            known = [row for row in ranking.rows if row.run in self.number and not row.small]
            places = {id(row): ranking.places(row) if ranking.comparisons else ("", "") for row in known}
            name = f"{key}|{place.condition}|{_budget(ranking.budget)}|{ranking.surrogate}"
            self.result.ties[name] = [
                [self.number[row.run], row.surrogate, row.group, *places[id(row)]] for row in known
            ]


def rounded(value: float, metric: Metric) -> float | None:
    """A number as it is printed: in per cent where it is a rate; None where there is none."""
    return round(metric.scale * value, metric.decimals) + 0.0 if math.isfinite(value) else None


def _budget(budget: BudgetSize) -> str:
    return budget.text if budget else ""


def _run(measured: Measured, norms: Norms, run: Run) -> dict[str, Any]:
    """What rows say of a method at a budget, and what they are filtered by."""
    line = measured.methods.get(run.method, {})
    key, variant = split_row_name(run.method)
    facts = {name: text(line.get(name)) for name in ("paper", "scope", "goal", "needs", "notes")}
    return {
        "title": measured.title(run.method),
        "method": key,
        "variant": variant,
        "budget": _budget(run.budget),
        "ball": norms.ball(run),
        "budget_title": run.budget.title if run.budget else "",
        "control": is_control(Run(key)),
        **facts,
    }
