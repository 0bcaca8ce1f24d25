"""The original photos of an experiment as files, so that a system in any language can protect them.

In the folder lie ``crops/`` (the aligned faces that are attacked and measured, PNG), ``photos/`` (the files they were
cut from, where there are any, byte by byte) and one table of both, ``manifest.csv``, which ``manifest.json`` repeats
and explains (`COLUMNS`). Crops keep the names of their photos, which is how ``method=precomputed`` finds them again.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image
from torch import Tensor

from cloakbench.bench.core import escape
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.status import OK
from cloakbench.bench.protect.owned_files import cannot_write, content_of, obstacle, write_whole
from cloakbench.datasets.alignment import ARCFACE_TEMPLATE
from cloakbench.datasets.base import Dataset
from cloakbench.datasets.detection import LANDMARK_COLUMNS
from cloakbench.datasets.originals import HasOriginals, Original
from cloakbench.datasets.photos import PhotoError

SCHEMA = "cloakbench export 1"

_TEXTS = ("image_id", "identity", "status")
_MATRIX = ("matrix_xx", "matrix_xy", "matrix_x", "matrix_yx", "matrix_yy", "matrix_y")
_BOX = ("box_left", "box_top", "box_right", "box_bottom")
COLUMNS: Mapping[str, str] = {
    "image_id": "name of the photo, unique within a role; here as in identity, manifest.csv spells out invisible "
    "characters and puts a quote before a formula, manifest.json has the name itself",
    "identity": "the person it shows",
    "role": "probe: protected and measured; reference: other photos of the same people, which a system may learn from; "
    "auxiliary: people for anchors, targets and training; distractor, impostor: not to be protected; train, test: for "
    "protocols that train on protected photos",
    "status": "ok, or why files of this photo are missing",
    "crop": "the aligned face, an RGB PNG below this folder; its protected version keeps the name and the size",
    "crop_sha256": "of that file",
    "pixels_sha256": "of the crop's pixels, 8-bit RGB planes in row order",
    "photo": "the photo as published, a file below this folder; empty where faces come from no file",
    "photo_sha256": "of that file",
    "photo_width": "of the photo, turned upright by its EXIF orientation, in pixels",
    "photo_height": "likewise",
    **dict.fromkeys(_BOX, "the detector's face box in the upright photo, pixels; empty where points were given"),
    **dict.fromkeys(LANDMARK_COLUMNS, "landmark in the upright photo, pixels, (0, 0) the centre of the top left one"),
    **{f"crop_{name}": "the same landmark in the crop" for name in LANDMARK_COLUMNS},
    **dict.fromkeys(_MATRIX, "crop x = matrix_xx * photo x + matrix_xy * photo y + matrix_x, and y likewise"),
}


@dataclass(frozen=True)
class Exported:
    """What was written: files by kind, and a line for each photo that is missing."""

    crops: int
    photos: int
    problems: tuple[str, ...]


def export(dataset: Dataset, output: Path, experiment: str, seed: int, *, overwrite: bool) -> Exported:
    """Write the faces of every role of a data set, and the photos they come from.

    Files that are there already with the same content are left alone, so a killed export goes on.

    Args:
        dataset: whose photos.
        output: a folder, made when missing.
        experiment, seed: for the manifest.
        overwrite: replace files of other content.

    Raises:
        ConfigError: something else lies in the folder, or it cannot be written to.
    """
    folder = _Folder(output, overwrite=overwrite)
    rows: list[dict[str, Any]] = []
    taken: dict[str, str] = {}
    for role in dataset.roles():
        faces = dataset.faces(role)
        digests = faces.digests()
        for number, image_id in enumerate(faces.image_id):
            row: dict[str, Any] = {"image_id": image_id, "identity": faces.identity[number], "role": role}
            row |= {"status": OK, "pixels_sha256": digests[number]}
            rows.append(row)
            crop = f"crops/{_png(image_id)}"
            if fault := _bad_name(image_id) or _shared_name(image_id, taken.setdefault(crop, image_id)):
                row["status"] = fault
                continue
            row |= folder.put("crop", crop, _encoded(faces.images[number]))
            if faces.landmarks is not None:
                row |= _numbers([f"crop_{name}" for name in LANDMARK_COLUMNS], faces.landmarks[number].flatten())
            if isinstance(dataset, HasOriginals):
                _add_original(folder, dataset, row, faces.images[number])
    manifest = dataset.manifest()
    table = _table(rows)
    about = {
        "schema": SCHEMA,
        "experiment": experiment,
        "seed": seed,
        "dataset": {"name": manifest.name, "version": manifest.version, "manifest_sha256": manifest.digest()},
        "crop": {"size": 112, "landmarks_at": [list(point) for point in ARCFACE_TEMPLATE]},
        "roles": dict(Counter(row["role"] for row in rows)),
        "manifest_csv_sha256": hashlib.sha256(table).hexdigest(),
        "columns": dict(COLUMNS),
        "images": rows,
    }
    folder.put("", "manifest.csv", table)
    folder.put("", "manifest.json", (json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode())
    problems = tuple(f"{row['image_id']}: {row['status']}" for row in rows if row["status"] != OK)
    files = {name: len({row[name] for row in rows if row.get(name)}) for name in ("crop", "photo")}
    return Exported(files["crop"], files["photo"], problems)


def _add_original(folder: _Folder, dataset: HasOriginals, row: dict[str, Any], crop: Tensor) -> None:
    """The file a face was cut from, and where the face lies in it."""
    try:
        original = dataset.original(row["image_id"])
    except PhotoError as problem:
        row["status"] = f"{problem.status}: {problem}"
        return
    row |= folder.put("photo", f"photos/{row['image_id']}", original.content)
    row |= {"photo_width": original.width, "photo_height": original.height}
    if _is_cut_so(original, crop):
        row |= _numbers(LANDMARK_COLUMNS, _flat(original.points))
        row |= _numbers(_MATRIX, _flat(original.matrix))
        row |= dict(zip(_BOX, (round(value, 2) for value in original.box or ()), strict=False))


def _is_cut_so(original: Original, crop: Tensor) -> bool:
    """Whether the face that was found again is the one of the crop: photos may be replaced while they are read."""
    return original.crop is not None and bool((original.crop == crop).all())


class _Folder:
    """The output folder."""

    def __init__(self, output: Path, *, overwrite: bool) -> None:
        self._output = output
        self._overwrite = overwrite
        try:
            output.mkdir(parents=True, exist_ok=True)
            for remains in output.glob(".writing-*"):
                remains.unlink(missing_ok=True)
        except OSError as problem:
            raise cannot_write(output, problem) from problem

    def put(self, name: str, inner: str, content: bytes) -> dict[str, str]:
        """Write a file; its columns are ``name`` and ``name_sha256``."""
        place = self._output / inner
        if hindrance := obstacle(self._output, Path(inner)):
            raise ConfigError(f"{hindrance}, or choose another output=FOLDER")
        known = content_of(place)
        if known != content:
            if (known is not None or place.is_symlink() or place.exists()) and not self._overwrite:
                raise ConfigError(
                    f"{inner} in {self._output} is there already with other content: choose another output=FOLDER, or "
                    "set overwrite=true"
                )
            try:
                write_whole(place, content, self._output / f".writing-{secrets.token_hex(8)}")
            except OSError as problem:
                raise cannot_write(self._output, problem) from problem
        return {name: inner, f"{name}_sha256": hashlib.sha256(content).hexdigest()} if name else {}


def _png(image_id: str) -> str:
    """The name of a crop: the photo's, and ``.png`` after any other suffix."""
    return image_id if PurePosixPath(image_id).suffix == ".png" else f"{image_id}.png"


def _bad_name(image_id: str) -> str:
    path = PurePosixPath(image_id)
    if path.is_absolute() or ".." in path.parts or "\0" in image_id or not path.name:
        return "not exported: its name leads out of the folder, rename the photo"
    return ""


def _shared_name(image_id: str, other: str) -> str:
    return "" if image_id == other else f"not exported: its crop would be called as that of {other}, rename the photo"


def _encoded(image: Tensor) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(stream, "PNG")
    return stream.getvalue()


def _flat(values: Tensor | None) -> Tensor:
    assert values is not None
    return values.flatten()


def _numbers(names: Sequence[str], values: Tensor) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in zip(names, values, strict=True)}


def _table(rows: Sequence[dict[str, Any]]) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(COLUMNS), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | {name: escape.csv(row[name]) for name in _TEXTS} for row in rows)
    return stream.getvalue().encode("utf-8", "replace")
