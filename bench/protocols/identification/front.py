"""The transfer front: what protects most from networks that were not attacked, for what it costs to see and to compute.

A method is told apart by what it attacked, so that one network and several are rows of their own, and by its budget.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from cloakbench.bench.core.axes import BudgetSize
from cloakbench.bench.protocols.identification.ranks import SSIM, Ranks
from cloakbench.bench.protocols.identification.trade_off import FEWEST_BUDGETS
from cloakbench.bench.protocols.recognition.conditions import families_of
from cloakbench.bench.protocols.recognition.rate_tables import mean_interval
from cloakbench.bench.report.drawing.plotting import TWO_COLUMNS, Drawing, Skipped, Styles, arms, near, styled
from cloakbench.bench.report.drawing.side_labels import PITCH_INCHES, Mark, side_labels
from cloakbench.bench.report.estimate import Estimate, records
from cloakbench.bench.report.index import Measured, Run, is_control
from cloakbench.bench.report.labels import UNTRANSFORMED
from cloakbench.bench.report.table import BUDGET, SMALL, Column, Number, Row, Table

_FEW_DECADES = 2
"""Of passes, between which there is room for further numbers."""
_LABEL = "{title}, {surrogate}"


@dataclass(frozen=True)
class Attacked:
    """A run on one surrogate or one ensemble."""

    run: Run
    surrogate: str


def attacked(measured: Measured, metric: str) -> list[Attacked]:
    """Every run of a method that attacks, at a budget, and what it attacked, where its black-box mean is known."""
    return [
        Attacked(run, surrogate)
        for run in measured.runs
        if run.budget and not is_control(run) and measured.uses_surrogate(run.method)
        for surrogate in measured.surrogates_of(run)
        if measured.black_box(metric, run, surrogate).ok
    ]


def passes(measured: Measured) -> dict[Attacked, float]:
    """Forward and backward passes per photo; the first of the publications that a run was made for."""
    found: dict[Attacked, float] = {}
    for line in records(measured.results.costs):
        spent = float(line["forward_per_image"]) + float(line["backward_per_image"])
        found.setdefault(Attacked(Run.of(line), str(line["surrogate"])), spent)
    return found


def worst_target(measured: Measured, metric: str, one: Attacked) -> tuple[str, Estimate]:
    """The target that was not attacked and is protected from least, and the rate there."""
    judges = measured.judges_of(metric, one.surrogate, white_box=False)
    cells = {judge: measured.cell(metric, one.run, one.surrogate, judge) for judge in judges}
    name = min(cells, key=lambda judge: cells[judge].value)
    return name, cells[name]


def front_tables(measured: Measured, ranks: Ranks) -> list[Table]:
    """One table, where budgets make a front: each method at each budget on what it attacked; otherwise none."""
    metric = ranks.first
    if not {metric, SSIM} <= measured.metrics or len(measured.budgets) < FEWEST_BUDGETS:
        return []
    conditions = [
        (key, f"{family.title} {label}")
        for family in families_of(measured, metric)
        for key, label in family.members
        if key != UNTRANSFORMED
    ]
    spent = passes(measured)
    rows = [
        Row(
            _name(measured, one),
            (
                one.run.budget.text,
                Number.of(measured.cell(SSIM, one.run, one.surrogate, ""), scale=1, digits=3),
                Number(spent.get(one, math.nan), digits=0),
                _mean(measured, metric, one),
                Number.of((worst := worst_target(measured, metric, one))[1]),
                worst[0],
                *(_mean(measured, metric, one, key) for key, _ in conditions),
            ),
        )
        for one in attacked(measured, metric)
    ]
    if not rows:
        return []
    return [
        Table(
            name="transfer_front",
            title="Protection from networks that were not attacked",
            caption=f"PSR {ranks.label} in per cent. Passes: images through networks per protected photo.",
            stub="Method, attacked network",
            columns=(
                BUDGET,
                Column("ssim", "SSIM", interval="csv"),
                Column("passes", "Passes"),
                Column("black_box_percent", "Black-box mean", interval="always"),
                Column("worst_percent", "Worst target", interval="csv"),
                Column("worst_target", "which"),
                *(Column(f"{key}_percent", label, "Black-box mean after", "csv") for key, label in conditions),
            ),
            rows=tuple(rows),
            footnotes=(mean_interval(measured),),
        )
    ]


def _name(measured: Measured, one: Attacked) -> str:
    return _LABEL.format(title=measured.title(one.run.method), surrogate=one.surrogate)


def _mean(measured: Measured, metric: str, one: Attacked, condition: str = UNTRANSFORMED) -> Number:
    small = SMALL * measured.is_small(metric, one.run, one.surrogate)
    return Number.of(measured.black_box(metric, one.run, one.surrogate, condition), marks=small)


@styled
def psr_over_passes(measured: Measured, ranks: Ranks) -> Drawing:
    """Black-box PSR over network passes per photo at the budget that most methods have, with 95 % intervals."""
    metric = ranks.first
    spent = passes(measured)
    if metric not in measured.metrics:
        return Skipped("identification rates were not measured")
    found = [one for one in attacked(measured, metric) if spent.get(one, 0) > 0]
    if len(measured.budgets) < FEWEST_BUDGETS or not found:
        return Skipped(f"no method that attacks a network has rates at {FEWEST_BUDGETS} budgets")
    budget = common_budget(found)
    points = [one for one in found if one.run.budget == budget]
    styles, ends = Styles(measured), []
    figure = Figure(figsize=(TWO_COLUMNS, max(2.8, PITCH_INCHES * len(points) + 0.8)), layout="constrained")
    panel, column = figure.subplots(1, 2, width_ratios=(1.0, 0.75))
    marks = []
    for one in points:
        rate, (colour, marker) = measured.black_box(metric, one.run, one.surrogate), styles.look(one.run.method)
        upright = arms(rate, 100)
        look = {"color": colour, "marker": marker, "markersize": 4.2, "elinewidth": 0.6, "linestyle": "none"}
        panel.errorbar(spent[one], 100 * rate.value, yerr=upright, **look)
        ends += [float(100 * rate.value - np.sum(upright[0])), float(100 * rate.value + np.sum(upright[1]))]
        name = f"{_name(measured, one)}, n {rate.n}"
        marks.append(Mark(name, (spent[one], 100 * rate.value), colour, marker))
    panel.set_xscale("log")
    decades = math.log10(max(spent[one] for one in points) / min(spent[one] for one in points))
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < _FEW_DECADES else (1,)))
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_xlabel("Network passes per photo")
    panel.set_ylabel(f"Black-box PSR {ranks.label}, %")
    panel.set_title(budget.title)
    panel.set_ylim(*near(ends, 0.03))
    column.set_axis_off()
    side_labels(figure, panel, column, marks)
    return figure


def common_budget(found: list[Attacked]) -> BudgetSize:
    """The budget that most runs have; of several the one in the middle."""
    counts = {budget: sum(one.run.budget == budget for one in found) for budget in {one.run.budget for one in found}}
    most = sorted(budget for budget, count in counts.items() if count == max(counts.values()))
    return most[len(most) // 2]
