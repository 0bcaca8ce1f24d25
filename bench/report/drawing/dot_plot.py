"""`dot_plot`: a row for each method, a panel for each number, dots with intervals (Cleveland, 1984).

A row has room for its name whatever the number of methods, so nothing is told apart by colour alone. What is drawn for
several levels, such as budgets or strengths, has a dot for each: pale to dark in the order of the levels, and with
markers of their own for print in grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cloakbench.bench.report.drawing.plotting import CONTROL_COLOUR, MARKERS, TWO_COLUMNS, arms, near
from cloakbench.bench.report.drawing.words import LINE_SPACING, shortened, width_inches, wrapped
from cloakbench.bench.report.estimate import Estimate

_NAME_PT, _KEY_PT, _LABEL_PT = 7.0, 6.5, 7.5
_ROW_INCHES, _TITLE_INCHES, _BELOW_INCHES, _GAP_INCHES = 0.165, 0.16, 0.48, 0.22
_NAMES_INCHES = 1.9
_LINE, _MORE = -1, -2
_PANELS_MOST = 4
"""On one line; more than these are three to a line."""
_SHADES = ("#9ECAE1", "#08306B")
"""Of the first and the last level; both stand out on white, and their grey values differ most."""


@dataclass(frozen=True)
class DotRow:
    """A row: its name, its n, and whether it is a control."""

    name: str
    n: str
    is_control: bool


@dataclass(frozen=True)
class DotPanel:
    """A panel.

    Attributes:
        label: of its axis.
        levels: what has a dot of its own in each row; one without a name where there is nothing to tell apart.
        dots: an estimate for each row and level, ``[rows][levels]``; one that is missing has no dot.
        scale: what values are multiplied by.
        line: a place that values are held against, and its name; None for none.
        title: above the panel.
    """

    label: str
    levels: Sequence[str]
    dots: Sequence[Sequence[Estimate]]
    scale: float = 100.0
    line: tuple[float, str] | None = None
    title: str = ""


def dot_plot(rows: Sequence[DotRow], panels: Sequence[DotPanel]) -> Figure:
    """Rows from top to bottom, panels from left to right, up to four to a line; names at the left, n at the right.

    Panels of one label share the ends of their axes. What dots mean is said once for panels without a title and with
    the same levels.
    """
    per_line = len(panels) if len(panels) <= _PANELS_MOST else _PANELS_MOST - 1
    lines = -(-len(panels) // per_line)
    names = [shortened(row.name, _NAMES_INCHES, _NAME_PT) for row in rows]
    widest = max(width_inches(name, _NAME_PT) for name in names) + 0.1
    n_room = max(width_inches(f"n {row.n}", _NAME_PT) for row in rows) + 0.1
    wide = (TWO_COLUMNS - widest - n_room) / per_line - _GAP_INCHES
    said = [panels[0], *panels]
    keys = [
        _key_lines(panel, wide)
        if panel.title or not number or (panel.levels, panel.line) != (before.levels, before.line)
        else []
        for number, (before, panel) in enumerate(zip(said, panels, strict=False))
    ]
    titled = _TITLE_INCHES * max(_title(panel, wide).count("\n") + bool(panel.title) for panel in panels)
    above = _KEY_PT * LINE_SPACING / 72 * max(map(len, keys)) + 0.1 + titled
    body = _ROW_INCHES * len(rows)
    high = lines * (above + body + _BELOW_INCHES)
    figure = Figure(figsize=(TWO_COLUMNS, high))
    for number, panel in enumerate(panels):
        line, column = divmod(number, per_line)
        left = widest + column * (wide + _GAP_INCHES)
        bottom = high - (line + 1) * (above + body + _BELOW_INCHES) + _BELOW_INCHES
        axis = figure.add_axes((left / TWO_COLUMNS, bottom / high, wide / TWO_COLUMNS, body / high))
        _panel(axis, rows, panel, wide)
        ends = [end for other in panels if other.label == panel.label for end in _ends(other)]
        axis.set_xlim(*near(ends))
        axis.set_yticks(range(len(rows)), names if column == 0 else [])
        axis.tick_params(axis="y", length=0, labelsize=_NAME_PT)
        _key(axis, panel, keys[number], body)
        if column == per_line - 1 or number == len(panels) - 1:
            _counts(axis, rows)
    return figure


def _panel(axis: Axes, rows: Sequence[DotRow], panel: DotPanel, wide: float) -> None:
    """Dots of all rows, levels one below the other within a row; every other row is shaded."""
    for place, (row, estimates) in enumerate(zip(rows, panel.dots, strict=True)):
        if place % 2:
            axis.axhspan(place - 0.5, place + 0.5, color="0.955", zorder=0, linewidth=0)
        known = [(level, estimate) for level, estimate in enumerate(estimates) if estimate.ok]
        for number, (level, estimate) in enumerate(known):
            axis.errorbar(
                panel.scale * estimate.value,
                place + _shift(number, len(known)),
                xerr=arms(estimate, panel.scale),
                color=CONTROL_COLOUR if row.is_control else _shade(level, len(panel.levels)),
                marker=MARKERS[level % len(MARKERS)],
                markersize=3.4 if len(panel.levels) < 4 else 2.6,
                elinewidth=0.7,
                linestyle="none",
                zorder=3,
            )
    if panel.line:
        axis.axvline(panel.line[0], color=CONTROL_COLOUR, linestyle="--", linewidth=0.8, zorder=1)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(visible=False, axis="y")
    axis.locator_params(axis="x", nbins=5 if wide > 1.2 else 3)
    axis.set_xlabel(shortened(panel.label, wide + _GAP_INCHES / 2, _LABEL_PT), fontsize=_LABEL_PT)
    axis.tick_params(axis="x", labelsize=_NAME_PT)


def _ends(panel: DotPanel) -> list[float]:
    """Everything that has to be in sight."""
    known = [estimate for estimates in panel.dots for estimate in estimates if estimate.ok]
    ends = [panel.scale * end for one in known for end in (one.value, one.low, one.high)]
    return ends + ([panel.line[0]] if panel.line else [])


def _shift(number: int, dots: int) -> float:
    return min(0.2, 0.6 / (dots - 1)) * (number - (dots - 1) / 2) if dots > 1 else 0.0


def _shade(level: int, levels: int) -> str | tuple[float, ...]:
    """Pale to dark; one level alone has a blue of its own."""
    if levels == 1:
        return "#0072B2"
    first, last = (np.array([int(one[i : i + 2], 16) / 255 for i in (1, 3, 5)]) for one in _SHADES)
    return tuple(first + (last - first) * level / (levels - 1))


def _key_lines(panel: DotPanel, room_inches: float) -> list[list[tuple[int, str]]]:
    """The names of the levels, and of the line, in as many lines as they take.

    The place of the line is ``_LINE``; a name that is wider than a panel goes on in lines of its own, at ``_MORE``.
    """
    named = [(level, words) for level, words in enumerate(panel.levels) if words]
    named += [(_LINE, panel.line[1])] if panel.line else []
    lines: list[list[tuple[int, str]]] = [[]]
    used = 0.0
    for place, words in named:
        fitting, *more = wrapped(words, room_inches - 0.2, _KEY_PT, most=4).split("\n")
        need = width_inches(fitting, _KEY_PT) + 0.26
        if lines[-1] and used + need > room_inches:
            lines.append([])
            used = 0.0
        lines[-1].append((place, fitting))
        used += need
        lines += [[(_MORE, rest)] for rest in more]
        used = room_inches if more else used
    return [line for line in lines if line]


def _key(axis: Axes, panel: DotPanel, lines: Sequence[Sequence[tuple[int, str]]], body_inches: float) -> None:
    """Above the panel: its title, and what each level looks like."""
    wide = axis.bbox.width / axis.figure.dpi
    pitch = _KEY_PT * LINE_SPACING / 72
    for number, line in enumerate(lines):
        y = 1 + (0.06 + pitch * (len(lines) - number - 0.5)) / body_inches
        x = 0.0
        for place, words in line:
            look = {"color": CONTROL_COLOUR, "linestyle": "--", "linewidth": 0.8}
            if place >= 0:
                look = {"color": _shade(place, len(panel.levels)), "marker": MARKERS[place % len(MARKERS)]}
            ends = [(x + 0.05) / wide] if place >= 0 else [x / wide, (x + 0.12) / wide]
            if place != _MORE:
                look |= {"transform": axis.transAxes, "markersize": 3.4, "clip_on": False}
                axis.add_artist(Line2D(ends, [y] * len(ends), **look))
            style = {"transform": axis.transAxes, "fontsize": _KEY_PT, "va": "center_baseline"}
            axis.text((x + 0.15) / wide, y, words, **style)
            x += width_inches(words, _KEY_PT) + 0.26
    if panel.title:
        y = 1 + (0.09 + pitch * len(lines)) / body_inches
        style = {"fontsize": _LABEL_PT, "va": "bottom", "fontweight": "bold"}
        axis.text(0.0, y, _title(panel, wide), transform=axis.transAxes, **style)


def _title(panel: DotPanel, wide: float) -> str:
    return wrapped(panel.title, 0.85 * wide, _LABEL_PT, most=2)  # bold is wider than measured


def _counts(axis: Axes, rows: Sequence[DotRow]) -> None:
    """n of each row at the right end of a line of panels."""
    for place, row in enumerate(rows):
        style = {"fontsize": _NAME_PT, "color": "0.35", "va": "center_baseline"}
        axis.text(1.0, place, f" n {row.n}", transform=axis.get_yaxis_transform(), **style)
