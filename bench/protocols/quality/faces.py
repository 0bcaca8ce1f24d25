"""`image_grid`: what methods made of the same photos, and how far that is from them (survey, Figure 4)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from cloakbench.bench.protocols.quality.metrics import psnr, ssim
from cloakbench.bench.report.decisions.who_knows import Answers, mean_similarity, run_of, who_knows
from cloakbench.bench.report.drawing.difference import DIFFERENCE_GAIN, difference_picture
from cloakbench.bench.report.drawing.plotting import TWO_COLUMNS, Drawing, Skipped, styled
from cloakbench.bench.report.drawing.words import LINE_SPACING, wrapped
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.labels import CLEAN
from cloakbench.bench.report.results import Example

_COLUMNS_MOST = 10
_FACES = {1: 4, 2: 2, 3: 1}
"""Blocks of columns to the faces that each shows: a page has room for about eight lines."""
_HEAD_PT, _WORDS_PT, _SSIM_PT = 6.5, 7.0, 5.0
_GAP_INCHES = 0.02


@styled
def image_grid(measured: Measured) -> Drawing:
    """Methods in columns; for each face a line of photos, the original first, over a line of differences times ten.

    In each difference stand SSIM and PSNR of the protected photo above it, and its mean cosine to photos of the person
    before recognisers that hold no weights of its surrogate, where a run has asked some. Many methods stand in up to
    three blocks, the more blocks the fewer faces; methods for which there is no room at all are named below.
    """
    examples = measured.results.first_examples
    labels = list(dict.fromkeys(label for e in examples for label in e.protected if label != CLEAN))
    if not labels:
        return Skipped("the run stored no example photos")
    parts, left_out = blocks_of(labels)
    examples = examples[: _FACES[len(parts)]]
    columns = len(parts[0])
    side = min(1.1, TWO_COLUMNS / (columns + 1))
    wide = side * (columns + 1)
    named = short_heads(measured, [label for part in parts for label in part], side - 0.04)
    heads = [["Original", *(named[label] for label in part)] for part in parts]
    tops = [LINE_SPACING * _HEAD_PT / 72 * max(head.count("\n") + 1 for head in line) + 0.08 for line in heads]
    footer, below = left_out_line(measured, left_out, wide)
    high = sum(tops) + 2 * side * len(examples) * len(parts) + below
    figure = Figure(figsize=(wide, high))
    top, seen_of = high, partial(_seen, measured, who_knows(measured))
    for part, line, head in zip(parts, heads, tops, strict=True):
        for column, words in enumerate(line):
            place = {"ha": "center", "va": "center", "fontsize": _HEAD_PT, "linespacing": 1.1}
            figure.text((column + 0.5) * side / wide, (top - head / 2) / high, words, **place)
        _block(figure, seen_of, examples, part, side, top - head)
        top -= head + 2 * side * len(examples)
    if left_out:
        figure.text(0.05 / wide, below / 2 / high, footer, ha="left", va="center", fontsize=_HEAD_PT)
    return figure


def blocks_of(labels: Sequence[str]) -> tuple[list[Sequence[str]], Sequence[str]]:
    """Columns of a picture in up to three blocks of at most ten, as even as they come, and those without any room."""
    most = _COLUMNS_MOST * max(_FACES)
    shown = labels[:most]
    columns = -(-len(shown) // -(-len(shown) // _COLUMNS_MOST))
    return [shown[first : first + columns] for first in range(0, len(shown), columns)], labels[most:]


def left_out_line(measured: Measured, labels: Sequence[str], wide: float) -> tuple[str, float]:
    """The line below a picture ``wide`` inches wide that names what has no room in it, and how high it is."""
    if not labels:
        return "", 0.0
    names = ", ".join(" ".join(part for part in _parts(measured, label) if part) for label in labels)
    line = wrapped(f"Not shown for lack of room: {names}.", wide - 0.1, _HEAD_PT, most=6)
    return line, LINE_SPACING * _HEAD_PT / 72 * (line.count("\n") + 1) + 0.06


def _block(
    figure: Figure,
    seen_of: Callable[[Example, str], str],
    examples: Sequence[Example],
    labels: Sequence[str],
    side: float,
    top: float,
) -> None:
    """Photos and differences of some methods, with what is printed of each, from ``top`` inches downwards."""
    wide, high = figure.get_size_inches()
    for number, example in enumerate(examples):
        for line, pictures in enumerate(_lines(example, labels)):
            bottom = top - (2 * number + line + 1) * side
            for column, picture in enumerate(pictures):
                size = ((side - _GAP_INCHES) / wide, (side - _GAP_INCHES) / high)
                panel = figure.add_axes((column * side / wide, bottom / high, *size))
                panel.set_axis_off()
                if isinstance(picture, str):
                    panel.text(0.5, 0.5, picture, ha="center", va="center", color="0.4", fontsize=_WORDS_PT)
                else:
                    panel.imshow(picture.transpose(1, 2, 0), aspect="auto")
                    if line and (seen := seen_of(example, labels[column - 1])):
                        place = {"transform": panel.transAxes, "ha": "right", "va": "bottom", "fontsize": _SSIM_PT}
                        panel.text(
                            0.97, 0.03, seen, **place, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}
                        )


def _seen(measured: Measured, answers: Answers, example: Example, label: str) -> str:
    """SSIM, PSNR and cosine of one protected photo, as printed."""
    protected = example.protected.get(label)
    if protected is None:
        return ""
    pair = example.original[None] / 255, protected[None] / 255
    alike = mean_similarity(answers.get((example.publication, example.image_id, *run_of(measured, label)), []))
    lines = [f"SSIM {float(ssim(*pair)):.2f}", f"{float(psnr(*pair)):.1f} dB"]
    return "\n".join([*lines, *([] if math.isnan(alike) else [f"cos {alike:.2f}"])])


def _lines(example: Example, labels: Sequence[str]) -> tuple[list[np.ndarray | str], list[np.ndarray | str]]:
    """The two lines of a face: photos and differences ``[3, H, W]``, or the words that stand in their place."""
    original = example.original.numpy()
    photos: list[np.ndarray | str] = [original]
    differences: list[np.ndarray | str] = [f"difference\n×{DIFFERENCE_GAIN}"]
    for label in labels:
        protected = example.protected.get(label)
        photos.append("failed" if protected is None else protected.numpy())
        differences.append("" if protected is None else difference_picture(original, protected.numpy()))
    return photos, differences


def short_heads(measured: Measured, labels: Sequence[str], room_inches: float, most: int = 3) -> dict[str, str]:
    """Heads of columns: names without the remarks in brackets that nothing else hangs on, and budgets below them.

    Names that are told apart by what stands in brackets alone keep it, on up to ``most`` lines.
    """
    short = {label: re.sub(r" \([^)]*\)", "", _parts(measured, label)[0]) for label in labels}
    heads = {}
    for label, plain in short.items():
        name, budget = _parts(measured, label)
        told = plain if list(short.values()).count(plain) == 1 else name
        heads[label] = "\n".join([wrapped(told, room_inches, _HEAD_PT, most), *([budget] if budget else [])])
    return heads


def _parts(measured: Measured, label: str) -> tuple[str, str]:
    """``pgd 8/255`` to printed name and budget."""
    method, _, budget = label.rpartition(" ") if label.endswith("/255") else (label, "", "")
    return measured.title(method), budget
