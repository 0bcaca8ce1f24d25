"""`made_of`: the pictures that methods give of how a mask was made, beside the mask (FaceCloak, Figure 2)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from cloakbench.bench.protocols.quality.faces import short_heads
from cloakbench.bench.report.drawing.difference import difference_picture
from cloakbench.bench.report.drawing.plotting import TWO_COLUMNS, Drawing, Skipped, styled
from cloakbench.bench.report.drawing.words import LINE_SPACING, wrapped
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.results import Example

_LINES_MOST = 10
_HEAD_PT = 6.5
_NAMES_INCHES = 1.1


@styled
def made_of(measured: Measured) -> Drawing:
    """A line for each face and method: the photo, each picture that the method gave, the mask, the protected photo.

    Pictures are of the person, whose mask lies on every photo; they show what it was learnt from, so they need not lie
    on the very photo beside them.
    """
    faces = [example for example in measured.results.first_examples if example.shown]
    whole = max(1, _LINES_MOST // max((len(example.shown) for example in faces), default=1))
    lines = [(example, label) for example in faces[:whole] for label in example.shown][:_LINES_MOST]
    if not lines:
        return Skipped("no method of the run gives pictures of how its masks are made")
    names = list(dict.fromkeys(name for example, label in lines for name in example.shown[label]))
    heads = ["Photo", *(name.replace("_", " ") for name in names), "Mask × 10", "Protected"]
    heads = [head[0].upper() + head[1:] for head in heads]
    side = min(1.0, (TWO_COLUMNS - _NAMES_INCHES) / len(heads))
    above = 2 * LINE_SPACING * _HEAD_PT / 72 + 0.06
    wide, high = _NAMES_INCHES + side * len(heads), above + side * len(lines)
    figure = Figure(figsize=(wide, high))
    place = {"ha": "center", "va": "center", "fontsize": _HEAD_PT}
    for column, head in enumerate(heads):
        x = (_NAMES_INCHES + (column + 0.5) * side) / wide
        figure.text(x, 1 - above / 2 / high, wrapped(head, side - 0.04, _HEAD_PT, most=2), **place)
    told = short_heads(measured, [label for _, label in lines], _NAMES_INCHES - 0.1)
    for number, (example, label) in enumerate(lines):
        bottom = 1 - (above + (number + 1) * side) / high
        figure.text(_NAMES_INCHES / 2 / wide, bottom + side / 2 / high, told[label], **place)
        for column, picture in enumerate(_pictures(example, label, names)):
            panel = figure.add_axes(
                ((_NAMES_INCHES + column * side) / wide, bottom, (side - 0.02) / wide, (side - 0.02) / high)
            )
            panel.set_axis_off()
            if picture is not None:
                panel.imshow(picture.transpose(1, 2, 0), aspect="auto")
    return figure


def _pictures(example: Example, label: str, names: list[str]) -> list[np.ndarray | None]:
    """Pictures ``[3, H, W]`` of a line; None where the method gives no such one."""
    shown, original = example.shown[label], example.original.numpy()
    protected = example.protected[label].numpy()
    given = [shown[name].numpy() if name in shown else None for name in names]
    return [original, *given, difference_picture(original, protected), protected]
