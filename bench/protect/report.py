"""``report.csv`` and ``report.md``: what happened to every photo.

Names of files are somebody else's text, and are escaped as everywhere (`cloakbench.bench.core.escape`).
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cloakbench.bench.core import escape
from cloakbench.bench.core.status import OK
from cloakbench.bench.protect.discover import Left, Photo, PhotoFolder
from cloakbench.bench.protect.evaluate import VIEWS, CopiedFace
from cloakbench.bench.protect.faces import Face

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
    "exact",
    "metadata_dropped",
    "verdict",
    "notes",
)
"""``face`` counts from the left; ``box`` is the detector's. Changes and SSIM are over the box of photo pixels that the
crop covers, ``changed_pixels`` is over the whole photo; ``exact`` says whether the file holds just the pixels that were
made. Four more columns per model: see `Similarity`."""

_LEFT_MOST = 200  # of what was left alone, named in the report


@dataclass(frozen=True)
class PhotoChange:
    """A whole copy: how many of its pixels differ from the photo's, and whether its type kept what was made."""

    pixels: int
    exact: bool


def failure_row(photo: Photo, status: str, note: str) -> Row:
    """A photo that has no copy."""
    return {"file": photo.name, "status": status, "notes": note}


def face_row(
    photo: Photo,
    number: int,
    face: Face,
    copied: CopiedFace,
    whole: PhotoChange,
    dropped: Sequence[str],
    notes: Sequence[str],
) -> Row:
    """A face that was protected."""
    box = dict(zip(COLUMNS[4:8], (round(value, 1) for value in face.box or ()), strict=False))
    change = copied.change
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
        "changed_pixels": whole.pixels,
        "exact": "yes" if whole.exact else "no",
        "metadata_dropped": "; ".join(dropped),
        "notes": "; ".join(notes),
        "cosines": {key: dict(found) for key, found in copied.similarity.items()},
    }


def left_rows(photo_folder: PhotoFolder) -> list[Row]:
    """What was left alone and may hold photos: a line each, as for a photo that has no copy."""
    return [
        {"file": item.name, "status": "not_followed", "notes": item.why}
        for item in photo_folder.left
        if item.may_hold_photos
    ]


def to_csv(rows: Sequence[Row], models: Sequence[str]) -> bytes:
    """All rows; an empty cell is a value there is none of."""
    named = {key: {f"cosine_{view}_{key}": view for view in ("crop", *VIEWS)} for key in models}
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [*COLUMNS, *(name for names in named.values() for name in names)], restval="")
    writer.writeheader()
    for row in rows:
        known = {name: _cell(value) for name, value in row.items() if name != "cosines"}
        for key, names in named.items():
            known |= {name: row.get("cosines", {}).get(key, {}).get(view) for name, view in names.items()}
        writer.writerow(known)
    return stream.getvalue().encode("utf-8", "replace")


def to_markdown(
    rows: Sequence[Row],
    models: Sequence[str],
    settings: Sequence[str],
    warnings: Sequence[str],
    photo_folder: PhotoFolder,
) -> bytes:
    """The same for a person to read, and what was left alone."""
    states = {row["file"]: row["status"] for row in rows}
    done = sum(status == OK for status in states.values())
    lines = ["# Protected photos", "", f"{done} of {len(states)} photos have a protected copy."]
    if missing := Counter(status for status in states.values() if status != OK):
        counts = ", ".join(f"{status} {count}" for status, count in sorted(missing.items()))
        lines += ["", f"**The others were not copied: {counts}.** Do not publish their originals by mistake."]
    lines += [f"\n**{escape.markdown(warning)}**" for warning in warnings]
    lines += ["", *(f"- {escape.markdown(line)}" for line in settings), ""]
    if done:
        lines += ["![before and after](report.png)", ""]
    titles = ["Photo", "Status", "Verdict", "Face", "Crop, px", "Largest change", "Mean change", "SSIM"]
    titles += [f"{key}: crop → photo, JPEG 75, half" for key in models] + ["Metadata dropped", "Notes"]
    lines += [_line(titles), "|" + " --- |" * len(titles)]
    for row in rows:
        cosines = row.get("cosines", {})
        cells = [row["file"], row["status"], row.get("verdict"), row.get("face"), row.get("crop_px")]
        cells += [row.get("max_change_255"), row.get("mean_change_255"), row.get("ssim")]
        cells += [_cosines(cosines.get(key, {})) for key in models]
        lines.append(_line([*cells, row.get("metadata_dropped"), row.get("notes")]))
    lines += [
        "",
        _LEGEND,
        *_left_alone([item for item in photo_folder.left if not item.may_hold_photos], photo_folder.litter),
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _cosines(found: dict[str, float | None]) -> str:
    if not found:
        return ""
    crop, *views = ("-" if found.get(view) is None else f"{found[view]:.3f}" for view in ("crop", *VIEWS))
    return f"{crop} → {', '.join(views)}"


def _left_alone(left: Sequence[Left], litter: int) -> list[str]:
    lines = []
    if left or litter:
        lines = [
            "",
            "## Left alone",
            "",
            *(f"- {escape.markdown(f'{item.name}: {item.why}')}" for item in left[:_LEFT_MOST]),
        ]
        lines += [f"- {len(left) - _LEFT_MOST} more files"] if len(left) > _LEFT_MOST else []
        lines += [f"- hidden files, and such as systems leave behind: {litter}"] if litter else []
    return lines


_LEGEND = """\
Changes are in grey levels of 255; they and SSIM are taken over the part of the photo that the aligned face covers.
Under each model's name stands the cosine to the original face, first of the protected crop as the method made it, then
of the face found again in the saved file, in that file stored once more as JPEG of quality 75, and at half its size: 1
is the same face, about 0 is another person. The verdict holds these against the recogniser's threshold at FAR 1e-3,
above which it takes two faces for one person's; other photos of the person are mostly less alike than the original. A
model marked *surrogate* helped to make the change and says nothing about recognisers that did not. A recogniser that
nobody tried may still know the face."""


def _cell(value: Any) -> Any:
    """A value as a spreadsheet may read it."""
    return escape.csv(value) if isinstance(value, str) else value


def _line(cells: Sequence[Any]) -> str:
    return f"| {' | '.join('' if cell is None else escape.markdown(str(cell)) for cell in cells)} |"
