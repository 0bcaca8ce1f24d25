"""`wrapped` and `shortened`: names that fit into the room they have in a figure, measured in the figures' font."""

from __future__ import annotations

import functools
import re

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from cloakbench.bench.core import escape

LINE_SPACING = 1.25
"""Height of a line of text over the size of its letters."""
_BREAKS = re.compile(r"(?<=[-_/, ])")
_CUT = "…"
_NO_END = 10_000
"""Letters that are measured; room decides how many are drawn."""


@functools.lru_cache(maxsize=4096)
def width_inches(words: str, size_pt: float) -> float:
    """How wide a line of text is."""
    font = FontProperties(family="DejaVu Sans", size=size_pt)
    return text_to_path.get_text_width_height_descent(words, font, ismath=False)[0] / 72


def shortened(words: str, room_inches: float, size_pt: float) -> str:
    """A name on one line, cut with an ellipsis where it is too long; ready to be drawn."""
    plain = escape.drawn(words, most=_NO_END)
    if width_inches(plain, size_pt) > room_inches:
        while plain and width_inches(plain + _CUT, size_pt) > room_inches:
            plain = plain[:-1]
        plain += _CUT
    return plain.replace("$", r"\$")


def wrapped(words: str, room_inches: float, size_pt: float, most: int = 3) -> str:
    """A name on up to ``most`` lines, broken at blanks and hyphens first; ready to be drawn."""
    lines = [""]
    for piece in _BREAKS.split(escape.drawn(words, most=_NO_END)):
        for part in _pieces(piece, room_inches, size_pt):
            if lines[-1] and width_inches((lines[-1] + part).rstrip(), size_pt) > room_inches:
                lines.append("")
            lines[-1] += part
    lines = [line.strip() for line in lines]
    if len(lines) > most:
        lines = [*lines[: most - 1], "".join(lines[most - 1 :])]
    *others, last = lines
    return "\n".join([*(line.replace("$", r"\$") for line in others), shortened(last, room_inches, size_pt)])


def _pieces(piece: str, room_inches: float, size_pt: float) -> list[str]:
    """A piece that is wider than a line in as many as it takes."""
    parts = [""]
    for sign in piece:
        if parts[-1] and width_inches((parts[-1] + sign).rstrip(), size_pt) > room_inches:
            parts.append("")
        parts[-1] += sign
    return parts
