"""Figures of identification, but for the heat map. Each function returns a figure, or `Skipped` with the reason.

Rates are in per cent with 95 % intervals.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cloakbench.bench.core.axes import NO_BUDGET, BudgetSize
from cloakbench.bench.protocols.identification.ranks import Ranks
from cloakbench.bench.protocols.quality.report import SSIM
from cloakbench.bench.protocols.recognition.conditions import families_of
from cloakbench.bench.report.drawing.dot_plot import DotPanel, DotRow, dot_plot
from cloakbench.bench.report.drawing.plotting import (
    CONTROL_COLOUR,
    TWO_COLUMNS,
    Drawing,
    Skipped,
    Styles,
    arms,
    near,
    styled,
)
from cloakbench.bench.report.drawing.side_labels import PITCH_INCHES, Mark, side_labels
from cloakbench.bench.report.drawing.words import LINE_SPACING, wrapped
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import Measured, Run, is_control
from cloakbench.bench.report.labels import CLEAN, UNTRANSFORMED
from cloakbench.bench.statistics.small_samples import pareto_front

_CURVES_PER_LINE = 5
_CURVE_INCHES = 2.2
"""Most of a panel's width."""
_KEYS_PER_LINE = 7
_KEY_LINE_INCHES = 0.16
_FEWEST_BUDGETS = 3
"""For a curve; two budgets are two dots of `psr_dots`."""


@styled
def psr_against_ssim(measured: Measured, ranks: Ranks) -> Drawing:
    """Black-box PSR at the first depth over SSIM, a point per method and budget, methods named beside the panel.

    Points on the dashed front are beaten by no other; rows of few photos and controls form none.
    """
    metric = ranks.first
    if metric not in measured.metrics or SSIM not in measured.metrics:
        return Skipped("identification rates or SSIM were not measured")
    points = {
        run: (ssim, rate)
        for run in measured.runs
        if (rate := measured.black_box(metric, run)).ok and (ssim := measured.quality(SSIM, run)).ok
    }
    if all(is_control(run) for run in points):
        return Skipped("no method has both a complete black-box mean and an SSIM")
    largest = {run.method: run for run in points}  # runs ascend by budget
    styles, ends = Styles(measured), []
    handles = styles.budget_handles(list(points))
    handles.append(Line2D([], [], color="0.6", linestyle="--", linewidth=0.8, label="Pareto front"))
    key_lines = -(-len(handles) // _KEYS_PER_LINE)
    key = 0.35 + _KEY_LINE_INCHES * (key_lines - 1)
    high = max(3.05, PITCH_INCHES * len(largest) + 0.55) + key
    figure = Figure(figsize=(TWO_COLUMNS, high))
    across = (0.07, 0.62, 0.71)
    bottom, body = 0.45 / high, (high - key - 0.45) / high
    panel = figure.add_axes((across[0], bottom, across[1], body))
    column = figure.add_axes((across[2], bottom, 1 - across[2], body))
    for run, (ssim, rate) in points.items():
        styles.point(panel, run, ssim, rate)
        ends += [100 * (rate.value if np.isnan(end) else end) for end in (rate.low, rate.high)]
    ranked = [not measured.is_small(metric, run) and not is_control(run) for run in points]
    x = [ssim.value for ssim, _ in points.values()]
    y = [100 * rate.value for _, rate in points.values()]
    front = pareto_front(x, y, ranked)
    panel.plot(
        [x[place] for place in front],
        [y[place] for place in front],
        color="0.6",
        linestyle="--",
        linewidth=0.8,
        drawstyle="steps-pre",
        zorder=1,
    )
    panel.set_xlabel("SSIM to the original")
    panel.set_ylabel(f"Black-box PSR {ranks.label}, %")
    panel.set_ylim(*near(ends, 0.03))
    marks = [
        Mark(
            f"{measured.title(method)}, n {points[run][1].n}",
            (points[run][0].value, 100 * points[run][1].value),
            *styles.look(method),
        )
        for method, run in largest.items()
    ]
    side_labels(figure, panel, column, marks)
    per_line = -(-len(handles) // key_lines)
    figure.legend(handles=handles, loc="upper left", ncols=per_line, bbox_to_anchor=(across[0], 1.0))
    return figure


@styled
def psr_dots(measured: Measured, ranks: Ranks) -> Drawing:
    """PSR and SSIM of every method, a dot with its interval for every budget: the survey's Figures 2 and 3."""
    metric = ranks.first
    runs = [run for run in measured.runs if measured.black_box(metric, run).ok and measured.quality(SSIM, run).ok]
    if all(is_control(run) for run in runs):
        return Skipped("no method has both a complete black-box mean and an SSIM")
    budgets = sorted({run.budget for run in runs}, key=lambda budget: (not budget, budget))
    levels = [budget.title for budget in budgets] if len(budgets) > 1 else [""]
    white = [measured.white_box(metric, run) for run in runs]
    asked = [(f"Black-box PSR {ranks.label}, %", 100, lambda run: measured.black_box(metric, run))]
    if any(rate.ok for rate in white):
        asked.append((f"White-box PSR {ranks.label}, %", 100, lambda run: measured.white_box(metric, run)))
    asked.append(("SSIM to the original", 1, lambda run: measured.quality(SSIM, run)))
    methods = list(dict.fromkeys(run.method for run in runs))
    of = {
        method: [Run(method, budget) if Run(method, budget) in runs else None for budget in budgets]
        for method in methods
    }
    panels = [
        DotPanel(label, levels, [[ask(run) if run else Estimate() for run in of[method]] for method in methods], scale)
        for label, scale, ask in asked
    ]
    rates = {method: [measured.black_box(metric, run).n for run in of[method] if run] for method in methods}
    return dot_plot([_row(measured, method, rates[method]) for method in methods], panels)


@styled
def robustness_dots(measured: Measured, ranks: Ranks) -> Drawing:
    """Black-box PSR at the first depth after each kind of transform, a dot for each strength, at the largest budget."""
    metric = ranks.first
    families = families_of(measured, metric)
    if not families:
        return Skipped("the run has no transforms")
    if metric not in measured.metrics:
        return Skipped("no identification rates after transforms")
    runs = measured.runs_at(max(measured.budgets, default=NO_BUDGET))
    rows = [_row(measured, run.method, [measured.black_box(metric, run).n]) for run in runs]
    panels = [
        DotPanel(
            f"Black-box PSR {ranks.label}, %",
            ["as is" if key == UNTRANSFORMED else tick for key, tick in family.members],
            [[measured.black_box(metric, run, condition=key) for key, _ in family.members] for run in runs],
            title=f"{family.title}, {family.axis}" if family.axis else family.title,
        )
        for family in families
    ]
    return dot_plot(rows, panels)


@styled
def budget_curves(measured: Measured, ranks: Ranks) -> Drawing:
    """PSR against the budget, black-box and white-box, a small panel per method: what a sweep over budgets shows."""
    metric, budgets = ranks.first, measured.budgets
    if len(budgets) < _FEWEST_BUDGETS:
        return Skipped(f"the run has fewer than {_FEWEST_BUDGETS} budgets")
    if metric not in measured.metrics:
        return Skipped("identification rates were not measured")
    methods = list(dict.fromkeys(run.method for run in measured.runs if run.budget))
    columns = min(_CURVES_PER_LINE, len(methods))
    lines = -(-len(methods) // columns)
    left, gap, above, below, key = 0.5, 0.12, 0.44, 0.4, 0.28
    wide = min((TWO_COLUMNS - left) / columns, _CURVE_INCHES) - gap
    body = 0.72 * wide
    across, high = left + columns * (wide + gap), key + lines * (above + body) + below
    figure = Figure(figsize=(across, high))
    clean = measured.black_box(metric, Run(CLEAN))
    ends = [100 * clean.value]
    panels: list[Axes] = []
    any_white = False
    for number, method in enumerate(methods):
        line, place = divmod(number, columns)
        bottom = high - key - (line + 1) * (above + body)
        bounds = ((left + place * (wide + gap)) / across, bottom / high, wide / across, body / high)
        panel = figure.add_axes(bounds)
        runs = [Run(method, budget) for budget in budgets]
        black = [measured.black_box(metric, run) for run in runs]
        white = [measured.white_box(metric, run) for run in runs]
        any_white = any_white or any(rate.ok for rate in white)
        ends += _curve(panel, budgets, black, "-", "#0072B2")
        ends += _curve(panel, budgets, white, "--", "#D55E00")
        if clean.ok:
            panel.axhline(100 * clean.value, color=CONTROL_COLOUR, linestyle=":", linewidth=0.8)
        counts = sorted({rate.n for rate in black if rate.ok})
        name = wrapped(measured.title(method), wide + gap / 2, 6.5, most=2)
        words = "\n".join(
            [name, *(["n " + "–".join(f"{n}" for n in (counts[0], counts[-1])[: len(counts)])] if counts else [])]
        )
        panel.set_title(words, fontsize=6.5, pad=2, linespacing=LINE_SPACING * 0.85)
        last = number + columns >= len(methods)
        shown = budgets if len(budgets) <= 5 * wide else budgets[:: -(-len(budgets) // 5)]
        panel.set_xticks(
            [budget.number for budget in shown], [budget.text for budget in shown] if last else [], fontsize=6.5
        )
        panel.tick_params(labelsize=6.5, labelleft=place == 0)
        panels.append(panel)
    for panel in panels:
        panel.set_ylim(*near(ends, 0.05))
        panel.set_yticks([tick for tick in range(0, 101, 25) if near(ends)[0] <= tick <= near(ends)[1]])
    figure.text(0.01, 0.5, f"PSR {ranks.label}, %", rotation=90, va="center", ha="left", fontsize=7.5)
    figure.text(0.5, 0.02 / high, "Budget ε (grey levels)", ha="center", va="bottom", fontsize=7.5)
    handles = [
        Line2D([], [], color="#0072B2", linestyle="-", label="black-box mean"),
        *[Line2D([], [], color="#D55E00", linestyle="--", label="white-box")] * any_white,
        Line2D([], [], color=CONTROL_COLOUR, linestyle=":", label="clean photo"),
    ]
    figure.legend(handles=handles, loc="upper center", ncols=len(handles), bbox_to_anchor=(0.5, 1.0), borderaxespad=0.2)
    return figure


def _curve(axis: Axes, budgets: tuple[BudgetSize, ...], rates: list[Estimate], style: str, colour: str) -> list[float]:
    """A line through the rates that exist, broken at gaps; returns the ends of its intervals."""
    values = np.array([100 * rate.value for rate in rates])
    spans = np.array([arms(rate, 100).ravel() for rate in rates]).T
    axis.errorbar(
        [b.number for b in budgets],
        values,
        yerr=spans,
        color=colour,
        linestyle=style,
        marker="o",
        markersize=2.5,
        elinewidth=0.6,
        lw=0.9,
    )
    return [*(values - spans[0]), *(values + spans[1])]


def _row(measured: Measured, method: str, counts: list[int]) -> DotRow:
    """A method and its n: one number, or the smallest and the largest."""
    known = sorted({count for count in counts if count})
    words = "–".join(str(count) for count in (known[:1] + known[1:][-1:])) or "–"
    return DotRow(measured.title(method), words, is_control(Run(method)))
