"""Curves over the settings of a multirun: one figure for each setting with numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cloakbench.bench.core.ranges import is_number
from cloakbench.bench.report.drawing.plotting import (
    CONTROL_COLOUR,
    TWO_COLUMNS,
    arms,
    dodge,
    look_of,
    near,
    paper_style,
)
from cloakbench.bench.report.drawing.side_labels import PITCH_INCHES, Mark, side_labels
from cloakbench.bench.report.drawing.words import wrapped
from cloakbench.bench.report.estimate import Estimate, mean_estimate
from cloakbench.bench.report.index import is_control
from cloakbench.bench.report.labels import CLEAN
from cloakbench.bench.report.section import Quantity
from cloakbench.bench.report.sweeps.parts import Sweep
from cloakbench.bench.report.sweeps.tables import (
    Entry,
    Swept,
    by_all_but,
    context_name,
    heading,
    is_seed,
    shown_quantities,
    swept_headlines,
)

_LINES_MOST = 9
"""More lines than these are split into rows of panels."""
_PANELS_MOST = 6
_LOGARITHMIC_FROM = 30
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""


def sweep_figures(sweep: Sweep) -> dict[str, tuple[Figure, str]]:
    """File stem to figure and caption: PSR over every numeric setting, a line per method, budget and other setting."""
    figures = {}
    for swept in swept_headlines(sweep):
        for setting in sweep.names:
            points = [] if is_seed(setting) else _numeric(swept.entries, setting)
            if points and any(quantity.curve and quantity.is_rate for quantity in shown_quantities(points)):
                stem = f"variants{swept.suffix}_{setting}".replace("/", "_").replace("@", "_")
                with paper_style():
                    figures[stem] = _curves(sweep, swept, points, setting)
    return figures


def _numeric(entries: Sequence[Entry], setting: str) -> list[Entry]:
    """The rows for which a setting is a number, if it has several values."""
    points = [entry for entry in entries if is_number(entry.settings.get(setting))]
    return points if len({entry.settings[setting] for entry in points if not is_control(entry.run)}) > 1 else []


def _curves(sweep: Sweep, swept: Swept, points: Sequence[Entry], setting: str) -> tuple[Figure, str]:
    quantities = [q for q in shown_quantities(points) if q.is_rate and q.curve]
    seeds = [key for key in sweep.names if is_seed(key)]
    others = [key for key in sweep.names if key != setting and key not in seeds]
    lines = by_all_but([entry for entry in points if not is_control(entry.run)], [setting, *seeds])
    split = _split(lines, others)
    rows = list(itertools.islice(split.items(), _PANELS_MOST))
    values = sorted({entry.settings[setting] for line in lines for entry in line})
    heights = [max(2.2, PITCH_INCHES * len(named) + 0.6) for _, named in rows]
    figure = Figure(figsize=(TWO_COLUMNS, sum(heights) + 0.3), layout="constrained")
    ratios = [*([1.0] * len(quantities)), 0.45 + 0.25 * len(quantities)]
    panels = figure.subplots(
        len(rows), len(quantities) + 1, squeeze=False, width_ratios=ratios, height_ratios=heights, sharex="col"
    )
    looks: dict[str, tuple[str, str]] = {}
    for (title, named), axes in zip(rows, panels, strict=True):
        ends: list[float] = []
        for name in named:
            looks.setdefault(name, look_of(len(looks)))
        for quantity, axis in zip(quantities, axes, strict=False):
            for position, (name, line) in enumerate(named.items()):
                ends += _line(axis, line, setting, quantity, looks[name], (position, len(named)), values)
            ends += _clean(axis, swept.entries, setting, quantity, values)
            words = ", ".join(word for word in (quantity.label, title) if word)
            axis.set_title(wrapped(words, 0.8 * TWO_COLUMNS / sum(ratios), 8, most=2))
        for axis in axes[:-1]:
            axis.set_ylim(*near(ends, 0.03))
        axes[0].set_ylabel(swept.axis)
        axes[-1].set_axis_off()
    for axis in panels[-1][:-1]:
        _label_axis(axis, heading(setting), values)
    handle = Line2D([], [], color=CONTROL_COLOUR, linestyle=":", linewidth=0.8, label="clean photo")
    figure.legend(handles=[handle], loc="outside upper left")
    for (_, named), axes in zip(rows, panels, strict=True):
        side_labels(figure, axes[-2], axes[-1], _marks(named, setting, quantities[-1], looks))
    caption = f"Protection over {setting}, with 95 % intervals."
    caption += " Mean over the seeds." * bool(seeds)
    left_out = len(split) - len(rows)
    caption += f" {left_out} more combinations of settings are in the table only." * bool(left_out)
    return figure, caption


def _marks(
    named: Mapping[str, Sequence[Entry]], setting: str, quantity: Quantity, looks: Mapping[str, tuple[str, str]]
) -> list[Mark]:
    """The last point of each line, with the line's name and its n."""
    marks = []
    for name, line in named.items():
        known = {value: rate for value, rate in _rates(line, setting, quantity).items() if rate.ok}
        last = max(known, default=math.nan)
        at = (last, 100 * known[last].value) if known else (math.nan, math.nan)
        marks.append(Mark(f"{name}, n {known[last].n}" if known else name, at, *looks[name]))
    return marks


def _split(lines: Sequence[list[Entry]], others: Sequence[str]) -> dict[str, dict[str, list[Entry]]]:
    """Title to named lines of each row of panels: one row, unless there are too many lines for it."""
    several_budgets = len({line[0].run.budget for line in lines}) > 1
    several_methods = len({line[0].label for line in lines}) > 1
    contexts = [context_name(line[0], others, budget=several_budgets) for line in lines]
    if len(lines) <= _LINES_MOST:
        names = [
            ", ".join(word for word in (line[0].label if several_methods or not context else "", context) if word)
            for line, context in zip(lines, contexts, strict=True)
        ]
        return {"": dict(zip(names, lines, strict=True))}
    rows: dict[str, dict[str, list[Entry]]] = {}
    for line, context in zip(lines, contexts, strict=True):
        rows.setdefault(context, {})[line[0].label] = line
    return rows


def _line(
    axis: Axes,
    line: Sequence[Entry],
    setting: str,
    quantity: Quantity,
    look: tuple[str, str],
    place: tuple[int, int],
    values: Sequence[float],
) -> list[float]:
    """One curve with intervals; seeds are averaged. Returns the ends of the intervals."""
    rates = _rates(line, setting, quantity)
    x = np.array(list(rates))
    if _is_logarithmic(values):
        x = x * np.exp(dodge(*place, 0.4 * float(np.min(np.diff(np.log(values))))))
    else:
        x = x + dodge(*place, 0.4 * float(np.min(np.diff(values))))
    spans = np.concatenate([arms(rate, 100) for rate in rates.values()], axis=1)
    colour, marker = look
    y = np.array([100 * rate.value for rate in rates.values()])
    axis.errorbar(
        x,
        y,
        yerr=spans,
        color=colour,
        marker=marker,
        markersize=3.8,
        elinewidth=0.6,
        linewidth=0.9,
    )
    return [*(y - spans[0]), *(y + spans[1])]


def _clean(
    axis: Axes, entries: Sequence[Entry], setting: str, quantity: Quantity, values: Sequence[float]
) -> list[float]:
    """The clean row: a level where the setting does not touch it, a curve where it does. Returns its rates."""
    rows = [entry for entry in entries if entry.run.method == CLEAN and quantity in entry.values]
    rates: dict[float, Estimate] = {}
    for value in values:
        at = [entry.values[quantity] for entry in rows if entry.settings.get(setting, value) == value]
        if (rate := mean_estimate(at)).ok:
            rates[value] = rate
    y = [100 * rate.value for rate in rates.values()]
    axis.plot(list(rates), y, color=CONTROL_COLOUR, linestyle=":", lw=0.8)
    return y


def _rates(line: Sequence[Entry], setting: str, quantity: Quantity) -> dict[float, Estimate]:
    """Value of the setting to the rate, mean over what else differs."""
    at: dict[float, list[Estimate]] = {}
    for entry in line:
        at.setdefault(entry.settings[setting], []).append(entry.values.get(quantity, Estimate()))
    return {value: mean_estimate(at[value]) for value in sorted(at)}


def _is_logarithmic(values: Sequence[float]) -> bool:
    return values[0] > 0 and values[-1] / values[0] >= _LOGARITHMIC_FROM


def _label_axis(axis: Axes, name: str, values: Sequence[float]) -> None:
    axis.set_xlabel(name)
    if _is_logarithmic(values):
        axis.set_xscale("log")
        axis.minorticks_off()
    if len(values) <= 8:
        axis.set_xticks(values, [f"{value:g}" for value in values])
