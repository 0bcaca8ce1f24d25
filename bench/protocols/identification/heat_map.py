"""`transfer_heat_map`: which surrogate protects from which target, a panel for each surrogate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from cloakbench.bench.core.axes import NO_BUDGET
from cloakbench.bench.protocols.identification.ranks import Ranks
from cloakbench.bench.report.drawing.plotting import TWO_COLUMNS, Drawing, Skipped, styled
from cloakbench.bench.report.drawing.words import shortened, width_inches
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import Measured

_NO_VALUE = "0.88"
_NAME_PT, _NUMBER_PT = 7.0, 6.0
_ROW_INCHES, _KEY_INCHES, _TITLE_INCHES, _BAR_INCHES = 0.165, 0.3, 0.22, 0.55
_NAMES_MOST, _TARGETS_MOST = 1.8, 2.4
_COLUMN_LEAST, _COLUMN_MOST = 0.19, 0.34
_GAP = 0.14
_KEY_LEAST = 3.4
"""Inches that the key above the panels needs."""


@styled
def transfer_heat_map(measured: Measured, ranks: Ranks) -> Drawing:
    """PSR at the first depth of every method on every target, a panel per surrogate, at the largest budget.

    Panels side by side share their rows: the methods that were run on one of their surrogates. n stands at the right
    of the rows. Sizes are in inches, so that a row is as high in every panel.
    """
    metric = ranks.first
    budget = max(measured.budgets, default=NO_BUDGET)
    runs = measured.runs_at(budget)
    if metric not in measured.metrics or not any(measured.uses_surrogate(run.method) for run in runs):
        return Skipped("no method with a surrogate has identification rates")
    targets = [shortened(target, _TARGETS_MOST, _NAME_PT) for target in measured.judges(metric)]
    names = {run: shortened(measured.title(run.method), _NAMES_MOST, _NAME_PT) for run in runs}
    left = max(width_inches(name, _NAME_PT) for name in names.values()) + 0.12
    room = TWO_COLUMNS - left - _BAR_INCHES - 0.5
    side_by_side = int(room // (len(targets) * _COLUMN_LEAST + _GAP))
    step = max(1, side_by_side)
    lines = [measured.surrogates[first : first + step] for first in range(0, len(measured.surrogates), step)]
    rows_of = [[run for run in runs if set(line) & set(measured.surrogates_of(run))] for line in lines]
    below = max(width_inches(target, _NAME_PT) for target in targets) + 0.12
    heights = [_TITLE_INCHES + _ROW_INCHES * len(rows) + below for rows in rows_of]
    high = _KEY_INCHES + sum(heights)
    wide = min(_COLUMN_MOST * len(targets), room / len(lines[0]) - _GAP)
    across = max(left + len(lines[0]) * (wide + _GAP) + 0.5 + _BAR_INCHES, _KEY_LEAST)
    figure = Figure(figsize=(across, high))
    image, top = ScalarMappable(Normalize(0, 100), "Blues"), high - _KEY_INCHES
    for line, rows, height in zip(lines, rows_of, heights, strict=True):
        body = _ROW_INCHES * len(rows)
        cells: list[list[Estimate]] = [[] for _ in rows]
        for place, surrogate in enumerate(line):
            corner = ((left + place * (wide + _GAP)) / across, (top - _TITLE_INCHES - body) / high)
            panel = figure.add_axes((*corner, wide / across, body / high))
            of_panel = [[measured.cell(metric, run, surrogate, t) for t in measured.judges(metric)] for run in rows]
            _heat(panel, of_panel, [names[run] for run in rows] if place == 0 else [], targets)
            panel.set_title(shortened(f"Surrogate: {surrogate}", wide + _GAP, 8), pad=4, loc="left")
            cells = [known + row for known, row in zip(cells, of_panel, strict=True)]
            if place == len(line) - 1:
                _counts(panel, cells)
        top -= height
    _key(figure, image, f"PSR {ranks.label}, {budget.title}, %", heights[0] - below - _TITLE_INCHES)
    return figure


def _heat(panel: Axes, cells: list[list[Estimate]], names: Sequence[str], targets: Sequence[str]) -> None:
    """One panel: colours, numbers, names of its columns, and of its rows where it is the first of its line."""
    rates = np.array([[100 * cell.value for cell in row] for row in cells])
    panel.imshow(rates, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    _annotate(panel, cells)
    panel.set_yticks(range(len(names)), names, fontsize=_NAME_PT)
    panel.set_xticks(range(len(targets)), targets, rotation=90, fontsize=_NAME_PT)
    panel.tick_params(length=0, pad=2)
    panel.grid(visible=False)
    panel.spines[:].set_visible(False)


def _key(figure: Figure, image: ScalarMappable, label: str, height: float) -> None:
    """The colour bar beside the first line of panels, and what hatching, dots and grey mean."""
    across, high = figure.get_size_inches()
    tall = max(height, width_inches(label, 7.5))
    bottom = max(high - _KEY_INCHES - _TITLE_INCHES - tall, 0.1)
    tall = high - _KEY_INCHES - _TITLE_INCHES - bottom
    axis = figure.add_axes((1 - _BAR_INCHES / across, bottom / high, 0.09 / across, tall / high))
    bar = figure.colorbar(image, cax=axis)
    bar.set_label(shortened(label, tall, 7.5), fontsize=7.5)
    bar.outline.set_visible(False)
    handles = [
        Patch(facecolor="white", edgecolor="0.2", hatch="/////", linewidth=0.5, label="white-box"),
        Patch(facecolor="white", edgecolor="0.2", linestyle=":", label="same family"),
        Patch(facecolor=_NO_VALUE, edgecolor="none", label="no value"),
    ]
    figure.legend(handles=handles, loc="upper center", ncols=3, bbox_to_anchor=(0.5, 1.0), borderaxespad=0.2)


def _counts(panel: Axes, cells: Sequence[Sequence[Estimate]]) -> None:
    """The smallest n of each row."""
    for line, row in enumerate(cells):
        counts = [cell.n for cell in row if cell.ok]
        if counts:
            place = {"transform": panel.get_yaxis_transform(), "va": "center_baseline", "color": "0.35"}
            panel.text(1.0, line, f"  n {min(counts)}", fontsize=_NUMBER_PT, **place)


def _annotate(axis: Axes, cells: list[list[Estimate]]) -> None:
    """Numbers in the cells; hatching for white-box, a dotted frame for same-family, grey for no value."""
    for line, row in enumerate(cells):
        for column, cell in enumerate(row):
            corner = (column - 0.5, line - 0.5)
            if not cell.ok:
                axis.add_patch(Rectangle(corner, 1, 1, facecolor=_NO_VALUE, edgecolor="none"))
                axis.text(column, line, "–", ha="center", va="center", color="0.3", fontsize=_NUMBER_PT)
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
            axis.text(
                column,
                line,
                f"{100 * cell.value:.0f}",
                ha="center",
                va="center_baseline",
                color=ink,
                fontsize=_NUMBER_PT,
            )
