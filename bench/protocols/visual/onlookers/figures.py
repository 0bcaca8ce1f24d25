"""`onlooker_pictures`: originals, what was published of them, and what attackers without a key make of it."""

from __future__ import annotations

import re

import numpy as np
import torch
from matplotlib.figure import Figure

from cloakbench.bench.protocols.quality.faces import short_heads
from cloakbench.bench.protocols.quality.metrics import ssim
from cloakbench.bench.protocols.visual.index import NAME
from cloakbench.bench.report.drawing.plotting import TWO_COLUMNS, Drawing, Skipped, styled
from cloakbench.bench.report.drawing.words import LINE_SPACING, wrapped
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.labels import CLEAN
from cloakbench.bench.report.results import RECOVERED, Example

_LINES_MOST = 12
_FACES_MOST = 2
_HEAD_PT, _WORDS_PT = 6.5, 5.5
_NAMES_INCHES = 0.9
_GAP_INCHES = 0.02
_VIEW = "_view"


@styled
def onlooker_pictures(measured: Measured, number: int, roles: int) -> Drawing:
    """A line for each face and method; columns are the published photo, each attacker's picture, the owner's, and the
    original.

    Args:
        measured: the run.
        number: of the role whose photos are shown, among those of the run.
        roles: how many there are; each has as many examples.
    """
    every = [one for one in measured.results.examples if one.publication == NAME]
    each = len(every) // roles
    faces = every[number * each : (number + 1) * each][:_FACES_MOST]
    lines = [(face, label) for face in faces for label in face.shown if label != CLEAN and label in face.protected]
    lines = lines[:_LINES_MOST]
    names = list(dict.fromkeys(name for face, label in lines for name in face.shown[label] if _is_held(name)))
    if not names:
        return Skipped("the run stored no pictures of attackers")
    owners = any(RECOVERED in face.shown[label] for face, label in lines)
    heads = ["Published", *map(_head, names), *["With the key"] * owners, "Original"]
    side = min(1.0, (TWO_COLUMNS - _NAMES_INCHES) / len(heads))
    above = 3 * LINE_SPACING * _HEAD_PT / 72 + 0.08
    wide, high = _NAMES_INCHES + side * len(heads), above + side * len(lines)
    figure = Figure(figsize=(wide, high))
    for column, head in enumerate(heads):
        x = (_NAMES_INCHES + (column + 0.5) * side) / wide
        words = wrapped(head, side - 0.04, _HEAD_PT)
        figure.text(x, 1 - above / 2 / high, words, ha="center", va="center", fontsize=_HEAD_PT, linespacing=1.1)
    told = short_heads(measured, list(dict.fromkeys(label for _, label in lines)), _NAMES_INCHES - 0.1)
    for row, (face, label) in enumerate(lines):
        bottom = 1 - (above + (row + 1) * side) / high
        place = (_NAMES_INCHES / 2 / wide, bottom + side / 2 / high)
        figure.text(*place, told[label], ha="center", va="center", fontsize=_HEAD_PT)
        for column, picture in enumerate(_pictures(face, label, names, owners=owners)):
            left = (_NAMES_INCHES + column * side) / wide
            panel = figure.add_axes((left, bottom, (side - _GAP_INCHES) / wide, (side - _GAP_INCHES) / high))
            panel.set_axis_off()
            if picture is None:
                continue
            panel.imshow(picture.transpose(1, 2, 0), aspect="auto")
            if column < len(heads) - 1 and not (0 < column <= len(names) and names[column - 1].endswith(_VIEW)):
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
                words = _likeness(face, picture)
                panel.text(0.97, 0.03, words, ha="right", fontsize=_WORDS_PT, transform=panel.transAxes, bbox=box)
    return figure


def _pictures(face: Example, label: str, names: list[str], *, owners: bool) -> list[np.ndarray | None]:
    shown = face.shown[label]
    given = [shown[name].numpy() if name in shown else None for name in [*names, *[RECOVERED] * owners]]
    return [face.protected[label].numpy(), *given, face.original.numpy()]


def _is_held(name: str) -> bool:
    return name.endswith(_VIEW) or re.search(r"_\d+$", name) is not None


def _head(name: str) -> str:
    key, _, held = name.rpartition("_")
    if name.endswith(_VIEW):
        return f"{key.replace('_', ' ').capitalize()} seen"
    return f"{key.replace('_', ' ').capitalize()}, {held} held"


def _likeness(face: Example, picture: np.ndarray) -> str:
    return f"{float(ssim(face.original[None] / 255, torch.from_numpy(picture)[None] / 255)):.2f}"
