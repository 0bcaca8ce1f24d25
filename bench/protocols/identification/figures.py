"""Figures of identification. Each function returns a matplotlib figure, or `Skipped` with the reason.

Rates are in per cent with 95 % intervals.
"""

from __future__ import annotations

import itertools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from cloakbench.bench.core import escape
from cloakbench.bench.core.axes import NO_BUDGET
from cloakbench.bench.protocols.identification.ranks import Ranks
from cloakbench.bench.protocols.recognition.conditions import families_of
from cloakbench.bench.report.index import Estimate, Measured, Run, is_control
from cloakbench.bench.report.labels import (
    CLEAN,
    UNTRANSFORMED,
    method_name,
    method_order,
)
from cloakbench.bench.report.plotting import (
    CONTROL_COLOUR,
    TWO_COLUMNS,
    Drawing,
    Skipped,
    Styles,
    arms,
    dodge,
    percent_axis,
    styled,
)

SSIM = "ssim"
"""The image metric that rates are held against."""
_NO_VALUE = "0.88"


@styled
def psr_against_ssim(measured: Measured, ranks: Ranks) -> Drawing:
    """Black-box PSR over SSIM, a point per method and budget; points on the dashed front are beaten by no other."""
    metrics = [metric for metric in ranks.pair.values() if metric in measured.metrics]
    if not metrics or SSIM not in measured.metrics:
        return Skipped("identification rates or SSIM were not measured")
    points = {
        metric: [
            (run, measured.quality(SSIM, run), rate)
            for run in measured.runs
            if (rate := measured.black_box_overall(metric, run)).ok and measured.quality(SSIM, run).ok
        ]
        for metric in metrics
    }
    if not any(not is_control(run) for series in points.values() for run, _, _ in series):
        return Skipped("no method has both a complete black-box mean and an SSIM")
    figure = Figure(figsize=(TWO_COLUMNS, 3.3), layout="constrained")
    axes = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
    styles = Styles(measured)
    for axis, metric in zip(axes, metrics, strict=True):
        for run, ssim, rate in points[metric]:
            styles.point(axis, run, ssim, rate)
        front = _pareto([(ssim.value, 100 * rate.value) for _, ssim, rate in points[metric]])
        axis.plot(
            *zip(*front, strict=True), color="0.6", linestyle="--", linewidth=0.8, drawstyle="steps-pre", zorder=1
        )
        axis.set(xlabel="SSIM to the original", title=f"Top-{metric.rsplit('top', 1)[1]}")
        percent_axis(axis)
    axes[0].set_ylabel(f"Black-box PSR ({ranks.rule.upper()}), %")
    shown = [run for series in points.values() for run, _, _ in series]
    handles = styles.method_handles(run.method for run in shown)
    handles += styles.budget_handles(shown)
    handles.append(Line2D([], [], color="0.6", linestyle="--", linewidth=0.8, label="Pareto front"))
    figure.legend(handles=handles, loc="outside right center")
    return figure


@styled
def psr_bars(measured: Measured, ranks: Ranks) -> Drawing:
    """PSR and SSIM of every method at its largest budget as bars with intervals, as in the survey's Figures 2 and 3."""
    metric = ranks.first
    largest: dict[str, Run] = {run.method: run for run in measured.runs}  # runs ascend by budget
    bars = [
        (run, rate, ssim)
        for run in largest.values()
        if (rate := measured.black_box_overall(metric, run)).ok and (ssim := measured.quality(SSIM, run)).ok
    ]
    if not any(not is_control(run) for run, _, _ in bars):
        return Skipped("no method has both a complete black-box mean and an SSIM")
    figure = Figure(figsize=(TWO_COLUMNS, 0.21 * len(bars) + 0.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(bars))
    colours = [CONTROL_COLOUR if is_control(run) else "#0072B2" for run, _, _ in bars]
    for panel, estimates, scale, title in (
        (left, [rate for _, rate, _ in bars], 100, f"Black-box PSR {ranks.label}, %"),
        (right, [ssim for _, _, ssim in bars], 1, "SSIM to the original"),
    ):
        spans = np.concatenate([arms(estimate, scale) for estimate in estimates], axis=1)
        values = [scale * estimate.value for estimate in estimates]
        style = {"linewidth": 0.7, "ecolor": "0.2"}
        panel.barh(places, values, height=0.68, color=colours, alpha=0.85, xerr=spans, error_kw=style)
        panel.set_xlabel(title)
        panel.grid(visible=False, axis="y")
    left.set_xlim(0, 100)
    right.set_xlim(0, 1)
    names = [escape.figure(f"{method_name(run.method)}, n {rate.n}") for run, rate, _ in bars]
    left.set_yticks(places, names)
    left.invert_yaxis()
    return figure


@styled
def transfer_heat_map(measured: Measured, ranks: Ranks) -> Drawing:
    """PSR at the first depth of every method on every target, a panel per surrogate, at the largest budget.

    Panels side by side share their rows: the methods that were run on one of their surrogates.
    """
    metric = ranks.first
    budget = max(measured.budgets, default=NO_BUDGET)
    runs = measured.runs_at(budget)
    if metric not in measured.metrics or not any(measured.uses_surrogate(run.method) for run in runs):
        return Skipped("no method with a surrogate has identification rates")
    targets = measured.judges(metric)
    per_line = _panels_per_line(len(measured.surrogates), len(targets))
    lines = [measured.surrogates[first : first + per_line] for first in range(0, len(measured.surrogates), per_line)]
    rows_of = [[run for run in runs if set(line) & set(measured.surrogates_of(run))] for line in lines]
    heights = [0.19 * len(rows) + 1.0 for rows in rows_of]
    figure = Figure(figsize=(TWO_COLUMNS, sum(heights) + 0.3), layout="constrained")
    panels = figure.subplots(len(lines), per_line, squeeze=False, sharey="row", height_ratios=heights)
    image = ScalarMappable()
    for place, panel in enumerate(panels.flat):
        if place >= len(measured.surrogates):
            panel.axis("off")
            continue
        surrogate, runs = measured.surrogates[place], rows_of[place // per_line]
        cells = [[measured.cell(metric, run, surrogate, target) for target in targets] for run in runs]
        rates = np.array([[100 * cell.value for cell in line] for line in cells])
        image = panel.imshow(rates, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        _annotate(panel, cells)
        panel.set_title(escape.figure(f"Surrogate: {surrogate}"), pad=3)
        panel.set_yticks(range(len(runs)), [escape.figure(method_name(run.method)) for run in runs])
        names = [escape.figure(target) for target in targets]
        panel.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
        panel.tick_params(length=0, pad=2)
        panel.grid(visible=False)
        panel.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=panels, aspect=28, pad=0.01)
    bar.set_label(f"PSR {ranks.label}, {budget.title}, %")
    bar.outline.set_visible(False)
    handles = [
        Patch(facecolor="white", edgecolor="0.2", hatch="/////", linewidth=0.5, label="white-box"),
        Patch(facecolor="white", edgecolor="0.2", linestyle=":", label="same family"),
        Patch(facecolor=_NO_VALUE, edgecolor="none", label="no value"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


@styled
def robustness_curves(measured: Measured, ranks: Ranks) -> Drawing:
    """Black-box PSR at the first depth against the strength of each kind of transform, at the largest budget."""
    metric = ranks.first
    families = families_of(measured, metric)
    if not families:
        return Skipped("the run has no transforms")
    if metric not in measured.metrics:
        return Skipped("no identification rates after transforms")
    budget = max(measured.budgets, default=NO_BUDGET)
    runs = measured.runs_at(budget)
    styles = Styles(measured)
    per_line = min(3, len(families))
    lines = -(-len(families) // per_line)
    figure = Figure(figsize=(TWO_COLUMNS, 2.3 * lines + 0.2), layout="constrained")
    panels = figure.subplots(lines, per_line, squeeze=False, sharey=True)
    for panel, family in itertools.zip_longest(panels.flat, families):
        if family is None:
            panel.axis("off")
            continue
        members = [label for label, _ in family.members]
        for position, run in enumerate(runs):
            rates = [measured.black_box_overall(metric, run, transform) for transform in members]
            styles.line(panel, run.method, np.arange(len(members)) + dodge(position, len(runs), 1.0), rates)
        strengths = ["as is" if key == UNTRANSFORMED else escape.figure(tick) for key, tick in family.members]
        panel.set_xticks(range(len(members)), strengths)
        panel.set_xlim(-0.4, len(members) - 0.6)
        panel.set(title=escape.figure(family.title), xlabel=escape.figure(family.axis))
        percent_axis(panel)
    for line in panels:
        line[0].set_ylabel(f"Black-box PSR {ranks.label}, %")
    figure.legend(handles=styles.method_handles(run.method for run in runs), loc="outside right center")
    return figure


@styled
def budget_curves(measured: Measured, ranks: Ranks) -> Drawing:
    """PSR against the budget, black-box and white-box: what a sweep over budgets shows."""
    metric = ranks.first
    if len(measured.budgets) < 2:
        return Skipped("the run has fewer than two budgets")
    if metric not in measured.metrics:
        return Skipped("identification rates were not measured")
    methods = method_order(run.method for run in measured.runs if run.budget)
    styles = Styles(measured)
    figure = Figure(figsize=(TWO_COLUMNS, 2.7), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    sizes = [budget.number for budget in measured.budgets]
    step = 0.4 * min(np.diff(sizes))
    means = {"Black-box mean": measured.black_box_overall, "White-box": measured.white_box_overall}
    for panel, (title, mean) in zip(panels, means.items(), strict=True):
        for position, method in enumerate(methods):
            rates = [mean(metric, Run(method, budget)) for budget in measured.budgets]
            styles.line(panel, method, np.array(sizes) + dodge(position, len(methods), step), rates)
        clean = measured.black_box_overall(metric, Run(CLEAN))
        if clean.ok:
            panel.axhline(100 * clean.value, color=CONTROL_COLOUR, linestyle=":", linewidth=0.8)
        panel.set(title=title, xlabel="Budget ε (grey levels)")
        panel.set_xticks(sizes, [budget.text for budget in measured.budgets])
        percent_axis(panel)
    panels[0].set_ylabel(f"PSR {ranks.label}, %")
    handles = styles.method_handles(methods)
    handles.append(Line2D([], [], color=CONTROL_COLOUR, linestyle=":", linewidth=0.8, label=method_name(CLEAN)))
    figure.legend(handles=handles, loc="outside right center")
    return figure


def _pareto(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other point beats in both coordinates (larger is better), from left to right."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, reverse=True):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front[::-1]


def _annotate(axis: Axes, cells: list[list[Estimate]]) -> None:
    """Numbers in the cells; hatching for white-box, a dotted frame for same-family, grey for no value."""
    for line, row in enumerate(cells):
        for column, cell in enumerate(row):
            corner = (column - 0.5, line - 0.5)
            if not cell.ok:
                axis.add_patch(Rectangle(corner, 1, 1, facecolor=_NO_VALUE, edgecolor="none"))
                axis.text(column, line, "–", ha="center", va="center", color="0.3")
                continue
            dark = cell.value > 0.55
            ink = "white" if dark else "black"
            if cell.white_box:
                axis.add_patch(
                    Rectangle(corner, 1, 1, fill=False, edgecolor=ink, hatch="/////", linewidth=0, alpha=0.35)
                )
            elif cell.same_family:
                inset = (column - 0.45, line - 0.4)
                axis.add_patch(Rectangle(inset, 0.9, 0.8, fill=False, edgecolor=ink, linestyle=":", linewidth=0.9))
            axis.text(column, line, f"{100 * cell.value:.0f}", ha="center", va="center", color=ink, fontsize=7)


def _panels_per_line(panels: int, columns: int) -> int:
    """As many heat maps side by side as leave a cell wide enough for its number."""
    return max(1, min(panels, 26 // max(1, columns)))
