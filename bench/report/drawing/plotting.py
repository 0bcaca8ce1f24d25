"""Plotting shared by all figures: the paper style, one look per method, intervals, and files with equal bytes.

Lines and points are told apart by marker as well as by colour, so that they survive a black-and-white printer and every
kind of colour vision.
"""

from __future__ import annotations

import functools
import importlib.resources
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cloakbench.bench.core.axes import BudgetSize
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import Measured, Run
from cloakbench.bench.report.labels import CLEAN, RANDOM_SIGN

TWO_COLUMNS = 7.16
"""Width in inches of a figure across both columns of a paper."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Palette of Okabe and Ito (2008) without its yellow, which white paper swallows."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*", ">", "p")
"""Their number and that of the colours have no common divisor: 77 looks before one comes again."""
CONTROL_COLOUR = "0.45"
_CONTROL_MARKERS = {CLEAN: "+", RANDOM_SIGN: "x"}


@dataclass(frozen=True)
class Skipped:
    """A figure that the measurements cannot fill, and why."""

    reason: str


Drawing = Figure | Skipped
Asked = ParamSpec("Asked")


def styled(draw: Callable[Asked, Drawing]) -> Callable[Asked, Drawing]:
    """Draw under the paper style, leaving the caller's matplotlib settings as they were."""

    @functools.wraps(draw)
    def wrapper(*args: Asked.args, **kwargs: Asked.kwargs) -> Drawing:
        with paper_style():
            return draw(*args, **kwargs)

    return wrapper


def figure_bytes(figure: Figure, suffix: str) -> bytes:
    """A figure as PNG (200 dpi), PDF (vector, fonts embedded) or SVG (vector, texts as outlines) without dates: equal
    figures give equal bytes.

    It is drawn in memory: on a full disk matplotlib would raise errors of its own that say nothing.
    """
    metadata = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(suffix, {"Software": None})
    buffer = io.BytesIO()
    with paper_style(), matplotlib.rc_context({"svg.hashsalt": "cloakbench"}):
        figure.savefig(buffer, format=suffix.removeprefix("."), metadata=metadata)
    return buffer.getvalue()


def holds_photos(figure: Figure) -> bool:
    """Whether a picture in colour stands in a figure, as in grids of faces; maps of numbers are none."""
    arrays = [image.get_array() for axis in figure.axes for image in axis.images]
    return any(array is not None and array.ndim == 3 for array in arrays)


def look_of(number: int) -> tuple[str, str]:
    """Colour and marker of the series of a number: another one for each of 77, neighbours differ in both."""
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]


class Styles:
    """One colour and marker per method, equal in every figure of a report; open markers for smaller budgets."""

    def __init__(self, measured: Measured) -> None:
        self.budgets = measured.budgets
        methods = dict.fromkeys(run.method for run in measured.runs if run.method not in _CONTROL_MARKERS)
        self._looks = {method: look_of(number) for number, method in enumerate(methods)}
        self._looks |= {method: (CONTROL_COLOUR, marker) for method, marker in _CONTROL_MARKERS.items()}

    def look(self, method: str) -> tuple[str, str]:
        """Colour and marker."""
        return self._looks[method]

    def fill(self, budget: BudgetSize, colour: str) -> str:
        """Filled at the largest budget, open at the smallest, paler in between."""
        if not budget or len(self.budgets) < 2 or budget == self.budgets[-1]:
            return colour
        share = self.budgets.index(budget) / (len(self.budgets) - 1)
        red, green, blue = (1 - share * (1 - part) for part in to_rgb(colour))
        return to_hex((red, green, blue))

    def point(self, axis: Axes, run: Run, x: Estimate, rate: Estimate) -> None:
        """A point with both intervals."""
        colour, marker = self._looks[run.method]
        axis.errorbar(
            x.value,
            100 * rate.value,
            xerr=arms(x, 1),
            yerr=arms(rate, 100),
            color=colour,
            marker=marker,
            markerfacecolor=self.fill(run.budget, colour),
            markeredgewidth=0.8,
            markersize=4.2,
            elinewidth=0.6,
            linestyle="none",
            zorder=3,
        )

    def budget_handles(self, runs: Sequence[Run]) -> list[Line2D]:
        """Legend entries of the budgets, when there is more than one."""
        shown = sorted({run.budget for run in runs if run.budget})
        if len(shown) < 2:
            return []
        return [
            Line2D(
                [],
                [],
                color="0.3",
                marker="o",
                markerfacecolor=self.fill(budget, "0.3"),
                linestyle="none",
                label=budget.title,
            )
            for budget in shown
        ]


@contextmanager
def paper_style() -> Iterator[None]:
    """The style of every figure; the caller's matplotlib settings are as before afterwards."""
    style = importlib.resources.files("cloakbench.bench.report") / "style.mplstyle"
    with importlib.resources.as_file(style) as path, matplotlib.style.context(["default", str(path)]):
        yield


def arms(estimate: Estimate, scale: float) -> np.ndarray:
    """Error bar arms ``[2, 1]``, never negative; zero where there is no interval."""
    arms = np.array([[estimate.value - estimate.low], [estimate.high - estimate.value]])
    return scale * np.nan_to_num(arms).clip(min=0)


def curve(
    panel: Axes, values: Sequence[Estimate], number: int, lines: int, *, scale: float = 100.0, style: str = "-"
) -> list[float]:
    """A line with intervals over the places 0, 1, ... of an axis, through the values that there are.

    Args:
        panel: where to draw.
        values: one for each place.
        number: of the line, which gives its look and how far it is moved aside.
        lines: how many there are.
        scale: what values are multiplied by.
        style: of the line, as matplotlib has it.

    Returns:
        The ends of its intervals.
    """
    known = [(x, value) for x, value in enumerate(values) if value.ok]
    if not known:
        return []
    colour, marker = look_of(number)
    y = np.array([scale * value.value for _, value in known])
    spans = np.concatenate([arms(value, scale) for _, value in known], axis=1)
    look = {"color": colour, "marker": marker, "markersize": 3, "elinewidth": 0.5, "linewidth": 0.8}
    x = [place + dodge(number, lines, 0.8) for place, _ in known]
    panel.errorbar(x, y, yerr=spans, linestyle=style, **look)
    return [*(y - spans[0]), *(y + spans[1])]


def dodge(position: int, count: int, step: float) -> float:
    """Sideways shift of one of ``count`` series, so that intervals at the same place stay apart."""
    return 0.26 * step * (position / (count - 1) - 0.5) if count > 1 else 0.0


def near(values: Iterable[float], margin: float = 0.06) -> tuple[float, float]:
    """Ends of an axis a little outside the data."""
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    pad = margin * (high - low) if high > low else max(0.05 * abs(low), 0.01)
    return low - pad, high + pad
