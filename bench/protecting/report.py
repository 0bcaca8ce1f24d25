"""``report.csv`` and ``report.md``: what happened to every photo."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

from cloakbench.bench.protecting.collect import Photo
from cloakbench.bench.protecting.faces import Face
from cloakbench.bench.protecting.judge import Verdict
from cloakbench.datasets.base import OK

Row = dict[str, Any]
"""A face of a photo, or a photo that was not protected; plain JSON values."""

COLUMNS = (
    "file",
    "output",
    "status",
    "face",
    "box_left",
    "box_top",
    "box_right",
    "box_bottom",
    "crop_px",
    "max_change_255",
    "mean_change_255",
    "ssim",
    "changed_pixels",
    "metadata_dropped",
    "notes",
)
"""``face`` counts from the left; ``box`` is the detector's. Changes and SSIM are over the box of photo pixels that the
crop covers, ``changed_pixels`` is over the whole photo. One more pair of columns per model: see `Similarity`."""


def failure_row(photo: Photo, status: str, note: str) -> Row:
    """A photo that has no copy."""
    return {"file": photo.name, "status": status, "notes": note}


def face_row(
    photo: Photo,
    number: int,
    face: Face,
    verdict: Verdict,
    changed_pixels: int,
    dropped: Sequence[str],
    notes: Sequence[str],
) -> Row:
    """A face that was protected."""
    box = dict(zip(COLUMNS[4:8], (round(value, 1) for value in face.box or ()), strict=False))
    change = verdict.change
    return {
        "file": photo.name,
        "output": photo.output,
        "status": OK,
        "face": number,
        **box,
        "crop_px": round(face.side_px, 1),
        "max_change_255": change.max_255,
        "mean_change_255": change.mean_255,
        "ssim": change.ssim,
        "changed_pixels": changed_pixels,
        "metadata_dropped": "; ".join(dropped),
        "notes": "; ".join(notes),
        "cosines": {key: [found.crop, found.photo] for key, found in verdict.similarity.items()},
    }


def to_csv(rows: Sequence[Row], models: Sequence[str]) -> bytes:
    """All rows; an empty cell is a value there is none of."""
    pairs = [(f"cosine_crop_{key}", f"cosine_photo_{key}") for key in models]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [*COLUMNS, *(name for pair in pairs for name in pair)], restval="")
    writer.writeheader()
    for row in rows:
        known = {name: value for name, value in row.items() if name != "cosines"}
        for key, pair in zip(models, pairs, strict=True):
            known |= dict(zip(pair, row.get("cosines", {}).get(key, ()), strict=False))
        writer.writerow(known)
    return stream.getvalue().encode("utf-8", "replace")


def to_markdown(rows: Sequence[Row], models: Sequence[str], settings: Sequence[str], warnings: Sequence[str]) -> bytes:
    """The same for a person to read."""
    states = {row["file"]: row["status"] for row in rows}
    done = sum(status == OK for status in states.values())
    lines = ["# Protected photos", "", f"{done} of {len(states)} photos have a protected copy."]
    if missing := Counter(status for status in states.values() if status != OK):
        counts = ", ".join(f"{status} {count}" for status, count in sorted(missing.items()))
        lines += ["", f"**The others were not copied: {counts}.** Do not publish their originals by mistake."]
    lines += [f"\n**{warning}**" for warning in warnings] + ["", *(f"- {line}" for line in settings), ""]
    titles = ["Photo", "Status", "Face", "Crop, px", "Largest change", "Mean change", "SSIM"]
    titles += [f"{key}: crop → photo" for key in models] + ["Metadata dropped", "Notes"]
    lines += [_line(titles), _line(["---"] * len(titles))]
    for row in rows:
        cosines = row.get("cosines", {})
        cells = [row["file"], row["status"], row.get("face"), row.get("crop_px"), row.get("max_change_255")]
        cells += [row.get("mean_change_255"), row.get("ssim")]
        cells += [" → ".join("-" if value is None else f"{value:.3f}" for value in cosines.get(k, ())) for k in models]
        lines.append(_line([*cells, row.get("metadata_dropped"), row.get("notes")]))
    lines += ["", _LEGEND]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


_LEGEND = """\
Changes are in grey levels of 255; they and SSIM are taken over the part of the photo that the aligned face covers.
Under each model's name stands the cosine to the original face, first of the protected crop as the method made it, then
of the face found again in the saved file: 1 is the same face, about 0 is another person, and each recogniser has its
own threshold in between. A model marked *surrogate* helped to make the change and says nothing about recognisers that
did not. A recogniser that nobody tried may still know the face."""


def _line(cells: Sequence[Any]) -> str:
    text = ("" if cell is None else str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(text)} |"
