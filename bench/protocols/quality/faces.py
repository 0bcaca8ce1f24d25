"""`image_grid`: what methods made of the same photos, and how far that is from them (survey, Figure 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from cloakbench.bench.core import escape
from cloakbench.bench.core.axes import split_row_name
from cloakbench.bench.protocols.quality.metrics import ssim
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.labels import CLEAN, method_name
from cloakbench.bench.report.plotting import TWO_COLUMNS, Drawing, Skipped, styled
from cloakbench.bench.report.results import Example

_EXAMPLES_MOST = 4
_LABELS_MOST = 10
_DIFFERENCE_GAIN = 10


@styled
def image_grid(measured: Measured) -> Drawing:
    """Methods in columns; for each face a line of photos, the original first, over a line of differences times ten.

    Under each protected photo stands its SSIM to the original.
    """
    examples = measured.results.examples[:_EXAMPLES_MOST]
    labels = _spread(list(dict.fromkeys(label for e in examples for label in e.protected if label != CLEAN)))
    if not labels:
        return Skipped("the run stored no example photos")
    head, gap = 0.36, 0.02
    side = min(1.1, TWO_COLUMNS / (len(labels) + 1))
    width, height = side * (len(labels) + 1), head + 2 * side * len(examples)
    figure = Figure(figsize=(width, height))
    for number, example in enumerate(examples):
        for line, pictures in enumerate(_lines(example, labels)):
            bottom = height - head - (2 * number + line + 1) * side
            for column, picture in enumerate(pictures):
                bounds = (column * side / width, bottom / height, (side - gap) / width, (side - gap) / height)
                panel = figure.add_axes(bounds)
                panel.set_axis_off()
                if isinstance(picture, str):
                    panel.text(0.5, 0.5, picture, ha="center", va="center", color="0.4", fontsize=7)
                else:
                    panel.imshow(picture.transpose(1, 2, 0), aspect="auto")
                    if line and (seen := _ssim(example, labels[column - 1])):
                        place = {"transform": panel.transAxes, "ha": "right", "va": "bottom", "fontsize": 5.5}
                        panel.text(1.0, 0.0, seen, **place, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    for column, label in enumerate(["Original", *map(_two_lines, labels)]):
        middle = (column + 0.5) * side / width
        figure.text(middle, 1 - head / height / 2, label, ha="center", va="center", fontsize=6.5)
    return figure


def _spread(labels: list[str]) -> list[str]:
    """At most `_LABELS_MOST` of the labels, spread evenly from the first to the last; the controls are first."""
    if len(labels) <= _LABELS_MOST:
        return labels
    return [labels[round(place)] for place in np.linspace(0, len(labels) - 1, _LABELS_MOST)]


def _ssim(example: Example, label: str) -> str:
    """SSIM of one protected photo to its original, as printed."""
    protected = example.protected.get(label)
    if protected is None:
        return ""
    return f"SSIM {float(ssim(example.original[None] / 255, protected[None] / 255)):.2f}"


def _lines(example: Example, labels: Sequence[str]) -> tuple[list[np.ndarray | str], list[np.ndarray | str]]:
    """The two lines of a face: photos and differences ``[3, H, W]``, or the words that stand in their place."""
    original = example.original.numpy()
    photos: list[np.ndarray | str] = [original]
    differences: list[np.ndarray | str] = [f"difference\n×{_DIFFERENCE_GAIN}"]
    for label in labels:
        protected = example.protected.get(label)
        photos.append("failed" if protected is None else protected.numpy())
        differences.append("" if protected is None else _difference(original, protected.numpy()))
    return photos, differences


def _two_lines(label: str) -> str:
    """``pgd 8/255`` to printed name, what makes a variant, and budget; remarks in brackets are left out."""
    method, _, budget = label.rpartition(" ") if label.endswith("/255") else (label, "", "")
    method, variant = split_row_name(method)
    name = method_name(method).partition(" (")[0]
    return "\n".join(escape.figure(part) for part in (name, variant, budget) if part)


def _difference(original: np.ndarray, protected: np.ndarray) -> np.ndarray:
    """uint8 picture of the amplified difference about mid-grey."""
    difference = protected.astype(np.float32) - original.astype(np.float32)
    return (127.5 + _DIFFERENCE_GAIN * difference).clip(0, 255).round().astype(np.uint8)
