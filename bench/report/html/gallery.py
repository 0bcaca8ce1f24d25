"""Gallery: the photos that a run shows, before and after, what was changed, and who still knows the person.

The page holds each picture as a JPEG of its own size; beside it lie the photos as they were published, as PNG.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from cloakbench.bench.report.contents import WholeReport
from cloakbench.bench.report.decisions.who_knows import run_of, who_knows
from cloakbench.bench.report.drawing.difference import difference_picture
from cloakbench.bench.report.estimate import records, text
from cloakbench.bench.report.labels import CLEAN
from cloakbench.bench.report.results import Example

FOLDER = "gallery"
"""Where the photos lie beside the page."""
_MOST_PX = 224
_QUALITY = 82


def gallery(report: WholeReport) -> list[dict[str, Any]]:
    """The faces of a run for a page: each with its pictures, and every method with who was asked about its photo."""
    measured = report.measured
    said = who_knows(measured)
    titles = {line["label"]: text(line["title"]) for line in records(measured.results.protocols)}
    faces = []
    for number, example in enumerate(measured.results.examples):
        cards = []
        for place, (label, photo) in enumerate(example.protected.items()):
            run, surrogate = run_of(measured, label)
            if run.method == CLEAN:
                continue
            changed = difference_picture(_pixels(example.original), _pixels(photo))
            cards.append(
                {
                    "title": measured.title(run.method),
                    "budget": run.budget.title if run.budget else "",
                    "surrogate": surrogate,
                    "photo": _jpeg(_pixels(photo)),
                    "difference": _jpeg(changed),
                    "file": full_size(number, place, label),
                    "others": [
                        [name.replace("_", " "), _jpeg(_pixels(picture))]
                        for name, picture in example.shown.get(label, {}).items()
                    ],
                    "seen": said.get((example.publication, example.image_id, run, surrogate), []),
                }
            )
        faces.append(
            {
                "name": example.image_id,
                "about": titles.get(example.publication, ""),
                "photo": _jpeg(_pixels(example.original)),
                "file": full_size(number),
                "cards": cards,
            }
        )
    return faces


def full_size_photos(examples: Sequence[Example]) -> Iterator[tuple[str, bytes]]:
    """File below the folder of the report, and its PNG, of every photo that the gallery shows."""
    for number, example in enumerate(examples):
        yield full_size(number), _png(example.original)
        for place, (label, photo) in enumerate(example.protected.items()):
            if label != CLEAN:
                yield full_size(number, place, label), _png(photo)


def full_size(number: int, place: int = 0, label: str = "") -> str:
    """Name of the file of a photo: ``gallery/face1/03_pgd_8_255.png``; the original's without a label."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", label).strip("_")[:80]
    return f"{FOLDER}/face{number + 1}/" + (f"{place:02d}_{plain}.png" if label else "original.png")


def _pixels(photo: Tensor) -> np.ndarray:
    return photo.permute(1, 2, 0).contiguous().numpy()


def _png(photo: Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(_pixels(photo)).save(buffer, "PNG")
    return buffer.getvalue()


def _jpeg(pixels: np.ndarray) -> str:
    """A picture as a data address, no larger than a thumbnail needs."""
    picture, buffer = Image.fromarray(pixels), io.BytesIO()
    picture.thumbnail((_MOST_PX, _MOST_PX))
    picture.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
