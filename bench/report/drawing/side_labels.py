"""`side_labels`, names beside a panel in the order of its marks, each with its look and a thin line to its mark.

Twenty names at the marks themselves would cover each other and the marks; a legend would make a reader search. Beside
the panel the names keep a line's distance, as near to the height of their marks as that allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from cloakbench.bench.report.drawing.words import LINE_SPACING, wrapped

SIZE_PT = 6.5
"""Letters of the names."""
PITCH_INCHES = SIZE_PT * LINE_SPACING / 72
"""From one name to the next."""
_TEXT_AT_INCHES = 0.2


@dataclass(frozen=True)
class Mark:
    """A mark and its name.

    Attributes:
        words: the name.
        at: x and y in the data of the panel; a mark that has none is named without a line.
        colour: of mark and line.
        marker: as matplotlib names it; empty for a line without marks.
    """

    words: str
    at: tuple[float, float]
    colour: str
    marker: str


def side_labels(figure: Figure, panel: Axes, column: Axes, marks: Sequence[Mark], most: int = 1) -> None:
    """Name the marks of a panel in an empty column beside it.

    The figure is laid out first and its layout is fixed then, since distances in inches depend on it.

    Args:
        figure: both are in.
        panel: holds the marks.
        column: to the right of the panel, as high as the panel.
        marks: in any order.
        most: lines of a name; what is longer is cut.
    """
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    column.set_axis_off()
    box = column.get_position()
    wide, high = box.width * figure.get_figwidth(), box.height * figure.get_figheight()
    column.set(xlim=(0, wide), ylim=(0, high))
    heights = np.array([panel.transData.transform(mark.at)[1] for mark in marks]) - panel.bbox.y0
    heights = np.nan_to_num(heights / panel.bbox.height * high, nan=0.0).clip(0, high)
    order = np.argsort(heights, kind="stable")
    told = [wrapped(marks[number].words, wide - _TEXT_AT_INCHES, SIZE_PT, most) for number in order]
    rooms = PITCH_INCHES * np.array([words.count("\n") + 1.0 for words in told])
    for place, number, words in zip(spread(heights[order], rooms, high), order, told, strict=True):
        mark = marks[number]
        column.plot(0.08, place, marker=mark.marker or "none", color=mark.colour, markersize=4, clip_on=False)
        middle = "center" if "\n" in words else "center_baseline"
        column.text(_TEXT_AT_INCHES, place, words, va=middle, fontsize=SIZE_PT, linespacing=1.0)
        if np.isfinite(mark.at).all():
            figure.add_artist(
                ConnectionPatch(
                    mark.at, (0.02, place), panel.transData, column.transData, color=mark.colour, lw=0.4, alpha=0.5
                )
            )


def spread(wanted: NDArray[np.float64], pitch: float | NDArray[np.float64], room: float) -> NDArray[np.float64]:
    """Ascending places within ``[0, room]`` that do not meet, by least squares nearest to the wanted ones.

    Args:
        wanted: ascending, ``[N]``.
        pitch: room of each, or of all; shrinks where there is too little for all.
        room: from 0.
    """
    if not len(wanted):
        return wanted
    sizes = np.broadcast_to(np.asarray(pitch, dtype=np.float64), wanted.shape)
    sizes = sizes * min(1.0, room / sizes.sum())
    steps = np.concatenate([[0.0], np.cumsum((sizes[:-1] + sizes[1:]) / 2)])
    level = isotonic_regression(wanted - steps).x
    return level.clip(sizes[0] / 2, room - sizes[-1] / 2 - steps[-1]) + steps
