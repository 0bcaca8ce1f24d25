"""`hidden_faces`: photos, what was published of them, and what their owners get back (veils, Figures 3, 5 and 8)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from cloakbench.bench.protocols.quality.faces import short_heads
from cloakbench.bench.protocols.quality.metrics import psnr, ssim
from cloakbench.bench.protocols.visual.index import NAME
from cloakbench.bench.report.drawing.plotting import TWO_COLUMNS, Drawing, Skipped, styled
from cloakbench.bench.report.drawing.words import LINE_SPACING, wrapped
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.labels import CLEAN
from cloakbench.bench.report.results import RECOVERED, Example

_COLUMNS_MOST = 10
_HEAD_PT, _WORDS_PT = 6.5, 5.5
_GAP_INCHES = 0.02


@styled
def hidden_faces(measured: Measured, number: int, roles: int) -> Drawing:
    """Methods in columns; for each face a line of published photos, the original first, over one of recovered photos.

    Args:
        measured: the run.
        number: of the role whose photos are shown, among those of the run.
        roles: how many there are; each has as many examples.
    """
    every = [one for one in measured.results.examples if one.publication == NAME]
    each = len(every) // roles
    examples = every[number * each : (number + 1) * each]
    labels = [label for label in dict.fromkeys(one for e in examples for one in e.protected) if label != CLEAN]
    labels = labels[:_COLUMNS_MOST]
    if not labels:
        return Skipped("the run stored no example photos")
    side = min(1.1, TWO_COLUMNS / (len(labels) + 1))
    heads = ["Original", *_heads(measured, labels, side - 0.04)]
    above = LINE_SPACING * _HEAD_PT / 72 * max(head.count("\n") + 1 for head in heads) + 0.08
    comes_back = any(RECOVERED in shown for e in examples for shown in e.shown.values())
    lines = [line for e in examples for line in _lines(e, labels)[: 1 + comes_back]]
    wide, high = side * len(heads), above + side * len(lines)
    figure = Figure(figsize=(wide, high))
    for column, head in enumerate(heads):
        x = (column + 0.5) * side / wide
        figure.text(x, 1 - above / 2 / high, head, ha="center", va="center", fontsize=_HEAD_PT, linespacing=1.1)
    for row, line in enumerate(lines):
        for column, (picture, words) in enumerate(line):
            bottom = 1 - (above + (row + 1) * side) / high
            size = ((side - _GAP_INCHES) / wide, (side - _GAP_INCHES) / high)
            panel = figure.add_axes((column * side / wide, bottom, *size))
            panel.set_axis_off()
            if picture is not None:
                panel.imshow(picture.transpose(1, 2, 0), aspect="auto")
            place = (0.97, 0.03, "right", "bottom") if picture is not None else (0.5, 0.5, "center", "center")
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            x, y, across, up = place
            panel.text(x, y, words, ha=across, va=up, fontsize=_WORDS_PT, transform=panel.transAxes, bbox=box)
    return figure


def _heads(measured: Measured, labels: list[str], room_inches: float) -> list[str]:
    """Names of methods, and of surrogates below them where labels tell them apart."""
    parts = {label: label.partition(" on ") for label in labels}
    named = short_heads(measured, list(dict.fromkeys(method for method, _, _ in parts.values())), room_inches)
    return [
        named[method] + (f"\n{wrapped(surrogate.replace('_', ' '), room_inches, _HEAD_PT)}" if surrogate else "")
        for method, _, surrogate in parts.values()
    ]


_Panel = tuple[np.ndarray | None, str]


def _lines(example: Example, labels: list[str]) -> tuple[list[_Panel], list[_Panel]]:
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
