"""`hidden_faces`: photos, what was published of them, and what their owners get back (veils, Figures 3, 5 and 8)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from cloakbench.bench.protocols.quality.faces import blocks_of, left_out_line, short_heads
from cloakbench.bench.protocols.quality.metrics import psnr, ssim
from cloakbench.bench.protocols.visual.index import NAME
from cloakbench.bench.report.drawing.plotting import TWO_COLUMNS, Drawing, Skipped, styled
from cloakbench.bench.report.drawing.words import LINE_SPACING, wrapped
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.labels import CLEAN
from cloakbench.bench.report.results import RECOVERED, Example

_LINES_MOST = 10
"""Of photos, where methods stand in several blocks: a page has room for about so many."""
_HEAD_LINES_MOST = 9
_HEAD_PT, _WORDS_PT = 6.5, 5.5
_GAP_INCHES = 0.02
_Panel = tuple[np.ndarray | None, str]
"""A picture, and what is said of it; words alone where there is none."""


@styled
def hidden_faces(measured: Measured, number: int, roles: int) -> Drawing:
    """Methods in columns; for each face a line of published photos, the original first, over one of recovered photos.

    Many methods stand in up to three blocks; methods for which there is no room at all are named below.

    Args:
        measured: the run.
        number: of the role whose photos are shown, among those of the run.
        roles: how many there are; each has as many examples.
    """
    every = [one for one in measured.results.examples if one.publication == NAME]
    each = len(every) // roles
    examples = every[number * each : (number + 1) * each]
    labels = [label for label in dict.fromkeys(one for e in examples for one in e.protected) if label != CLEAN]
    if not labels:
        return Skipped("the run stored no example photos")
    parts, left_out = blocks_of(labels)
    comes_back = any(RECOVERED in shown for e in examples for shown in e.shown.values())
    each = 1 + comes_back
    if len(parts) > 1:
        examples = examples[: max(1, _LINES_MOST // (each * len(parts)))]
    side = min(1.1, TWO_COLUMNS / (len(parts[0]) + 1))
    wide = side * (len(parts[0]) + 1)
    named = _heads(measured, [label for part in parts for label in part], side - 0.04)
    heads = [["Original", *(named[label] for label in part)] for part in parts]
    tops = [LINE_SPACING * _HEAD_PT / 72 * max(head.count("\n") + 1 for head in line) + 0.08 for line in heads]
    footer, below = left_out_line(measured, left_out, wide)
    high = sum(tops) + side * each * len(examples) * len(parts) + below
    figure = Figure(figsize=(wide, high))
    top = high
    for part, line, head in zip(parts, heads, tops, strict=True):
        for column, words in enumerate(line):
            place = {"ha": "center", "va": "center", "fontsize": _HEAD_PT, "linespacing": 1.1}
            figure.text((column + 0.5) * side / wide, (top - head / 2) / high, words, **place)
        top -= head
        for pictures in (one for example in examples for one in _lines(example, part)[:each]):
            top -= side
            _line(figure, pictures, side, top)
    if footer:
        figure.text(0.05 / wide, below / 2 / high, footer, ha="left", va="center", fontsize=_HEAD_PT)
    return figure


def _line(figure: Figure, pictures: Sequence[_Panel], side: float, bottom: float) -> None:
    """Pictures with their words from left to right, ``bottom`` inches above the end of the figure."""
    wide, high = figure.get_size_inches()
    for column, (picture, words) in enumerate(pictures):
        size = ((side - _GAP_INCHES) / wide, (side - _GAP_INCHES) / high)
        panel = figure.add_axes((column * side / wide, bottom / high, *size))
        panel.set_axis_off()
        if picture is not None:
            panel.imshow(picture.transpose(1, 2, 0), aspect="auto")
        place = (0.97, 0.03, "right", "bottom") if picture is not None else (0.5, 0.5, "center", "center")
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        x, y, across, up = place
        panel.text(x, y, words, ha=across, va=up, fontsize=_WORDS_PT, transform=panel.transAxes, bbox=box)


def _heads(measured: Measured, labels: Sequence[str], room_inches: float) -> dict[str, str]:
    """Names of methods with all that sets variants apart, and of surrogates below them where labels tell them apart."""
    parts = {label: label.partition(" on ") for label in labels}
    methods = list(dict.fromkeys(method for method, _, _ in parts.values()))
    named = short_heads(measured, methods, room_inches, _HEAD_LINES_MOST)
    return {
        label: named[method] + (f"\n{wrapped(surrogate.replace('_', ' '), room_inches, _HEAD_PT)}" if surrogate else "")
        for label, (method, _, surrogate) in parts.items()
    }


def _lines(example: Example, labels: Sequence[str]) -> tuple[list[_Panel], list[_Panel]]:
    """Published and recovered photos of a face with what is said of each; words alone where there is none."""
    published: list[_Panel] = [(example.original.numpy(), "")]
    back: list[_Panel] = [(None, "recovered")]
    for label in labels:
        protected, recovered = example.protected.get(label), example.shown.get(label, {}).get(RECOVERED)
        published.append((None, "failed") if protected is None else (protected.numpy(), _ssim(example, protected)))
        back.append((None, "not given\nback") if recovered is None else (recovered.numpy(), _back(example, recovered)))
    return published, back


def _ssim(example: Example, photo: Tensor) -> str:
    return f"SSIM {float(ssim(example.original[None] / 255, photo[None] / 255)):.3f}"


def _back(example: Example, photo: Tensor) -> str:
    original, recovered = example.original[None] / 255, photo[None] / 255
    value = float(psnr(original, recovered))
    return f"{float(ssim(original, recovered)):.3f}" + ("" if np.isnan(value) else f", {value:.1f} dB")
