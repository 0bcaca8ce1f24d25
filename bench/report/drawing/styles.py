"""`STYLES`: how large figures are, and in which files, for a paper, for slides, for a screen.

A figure is drawn once, 7.16 inches wide with text of 8 points, and scaled as a whole: text, lines and marks keep their
proportions, so that nothing meets in one style that does not meet in another.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import matplotlib
from matplotlib.figure import Figure

from cloakbench.bench.core.ranges import one_of
from cloakbench.bench.report.drawing.plotting import TWO_COLUMNS, paper_style

DRAWN_POINTS = 8.0
"""The size of its text."""


@dataclass(frozen=True)
class FigureStyle:
    """Sizes of a figure across the page.

    Attributes:
        inches: its width.
        dpi: dots of the PNG per inch of that width.
        vector: suffix of the file that holds lines and letters.
    """

    inches: float
    dpi: float
    vector: str

    @property
    def scale(self) -> float:
        """How many times larger than drawn."""
        return self.inches / TWO_COLUMNS

    @property
    def text_points(self) -> float:
        """The size of its text."""
        return DRAWN_POINTS * self.scale

    @property
    def suffixes(self) -> tuple[str, str]:
        """Of its files; the first one is what a report shows."""
        return ".png", self.vector


STYLES: dict[str, FigureStyle] = {
    "paper": FigureStyle(TWO_COLUMNS, 200, ".pdf"),
    "slides": FigureStyle(13.33, 144, ".svg"),
    "screen": FigureStyle(10.0, 96, ".svg"),
}
"""Slides are those of 16:9, 13.33 inches wide; a screen has 96 dots to its inch."""


def figure_style(name: str) -> FigureStyle:
    """The style of a name.

    Raises:
        ValueError: there is none; one line with those there are.
    """
    return STYLES[one_of("report.style", name, tuple(STYLES))]


def styled_bytes(figure: Figure, suffix: str, style: FigureStyle) -> bytes:
    """A figure in a style as PNG or SVG: equal figures give equal bytes."""
    buffer = io.BytesIO()
    with paper_style(), matplotlib.rc_context({"svg.hashsalt": "cloakbench", "svg.fonttype": "path"}):
        if suffix == ".png":
            figure.savefig(buffer, format="png", dpi=style.dpi * style.scale, metadata={"Software": None})
            return buffer.getvalue()
        figure.savefig(buffer, format=suffix.removeprefix("."), metadata={"Date": None})
    return _scaled(buffer.getvalue().decode(), style.scale).encode()


def _scaled(svg: str, scale: float) -> str:
    """A picture shown at another size: its width and height are others, its coordinates the same."""

    def larger(found: re.Match[str]) -> str:
        return f'{found[1]}="{float(found[2]) * scale:.6g}pt"'

    head, mark, rest = svg.partition("<svg ")
    tag, end, inside = rest.partition(">")
    return head + mark + re.sub(r'(width|height)="([\d.]+)pt"', larger, tag) + end + inside
