"""Any data set, described by a CSV table of your own: one row per photo.

Columns, of which the first two are required and others are not read:

* ``file``: a path below the root; ``identity``: any name;
* ``role``: a role of :mod:`cloakbench.datasets.base`, or empty where the split decides;
* ``left_eye_x``, ``left_eye_y``, ``right_eye_...``, ``nose_...``, ``left_mouth_...``, ``right_mouth_...``: all ten or
  none, in pixels of the upright photo, left and right as seen in it; a row may leave all of them empty, and one with a
  point that is not finite is rejected with the status ``bad_landmarks``;
* attributes, under names of your own: whole numbers from 0 on, empty where unknown.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import cast

import numpy as np

from cloakbench.bench.core.files.regular_file import leads_to_folder
from cloakbench.datasets.base import ROLES, Role
from cloakbench.datasets.detection import LANDMARK_COLUMNS
from cloakbench.datasets.layouts.reading import read_label_file, rejection
from cloakbench.datasets.listing import UNKNOWN, Layout, Listing
from cloakbench.datasets.photos import DatasetError
from cloakbench.datasets.text_lists import csv_rows, quoted, shown, whole_number

_LARGEST = int(np.iinfo(np.int16).max)
_LARGEST_POINT = 1e9
_NO_POINTS = np.full((5, 2), np.nan)


class CsvTable(Layout):
    """Photos, people, roles and labels of a table, in its order; image ids are the paths in ``file``.

    Args:
        root: folder the paths start in.
        file: the table, below the root or an absolute path.
        attributes: columns that are attributes.
    """

    name = "csv"
    page = "a table of your own"
    licence = "that of your photos"
    folder = "photos.csv with the columns file and identity, and the photos it names"
    disk_gib = 0.0

    def __init__(self, root: Path, file: str = "photos.csv", attributes: Sequence[str] = ()) -> None:
        super().__init__(root)
        self.file = root / Path(file).expanduser()
        self.attributes = tuple(attributes)

    def listing(self) -> Listing:
        """See :class:`Layout`.

        Raises:
            DatasetError: the table is missing or malformed, a role is unknown, a photo is listed twice, or files are
                missing; the message has the line.
        """
        wanted = ("file", "identity", *self.attributes)
        text = read_label_file(self, self.file)
        columns, content = csv_rows(text, str(self.file), wanted, ("role", *LANDMARK_COLUMNS))
        points = [column for column in LANDMARK_COLUMNS if column in columns]
        if points and len(points) != len(LANDMARK_COLUMNS):
            lacking = [column for column in LANDMARK_COLUMNS if column not in columns]
            raise self._wrong(1, f"landmarks need ten columns, these are missing: {', '.join(lacking)}")
        rows = list(content)
        if not rows:
            raise self._wrong(1, "there are no rows below the header: add one per photo")
        names = self._names(rows)
        roles: list[Role | None] = [self._role(line, row.get("role", "")) for line, row in rows]
        given = [self._points(line, row) if points else _NO_POINTS for line, row in rows]
        labels = {name: [self._label(line, name, row[name]) for line, row in rows] for name in self.attributes}
        kept = [place for place, some in enumerate(given) if not np.isinf(some).any()]
        return Listing(
            [names[place] for place in kept],
            [rows[place][1]["identity"] for place in kept],
            [str(self.root / names[place]) for place in kept],
            [roles[place] for place in kept] if any(roles) else [],
            landmarks=np.array([given[place] for place in kept], np.float32) if points else None,
            attributes={name: np.array(values, np.int16)[kept] for name, values in labels.items()},
            rejected=tuple(
                rejection(names[place], "bad_landmarks", f"line {line}: a point is not a number", row["identity"])
                for place, (line, row) in enumerate(rows)
                if np.isinf(given[place]).any()
            ),
        )

    def _names(self, rows: Sequence[tuple[int, Mapping[str, str]]]) -> list[str]:
        names: dict[str, int] = {}
        missing: list[int] = []
        for line, row in rows:
            path = PurePosixPath(row["file"])
            if not path.name or path.is_absolute() or ".." in path.parts:
                raise self._wrong(line, f"{quoted(row['file'])} is not a path below {self.root}")
            if not row["identity"].strip():
                raise self._wrong(line, "identity is empty: name the person")
            if str(path) in names:
                raise self._wrong(line, f"{shown(str(path))} was listed in line {names[str(path)]}: remove one")
            names[str(path)] = line
            if not os.path.lexists(self.root / path) or leads_to_folder(self.root / path):
                missing.append(line)
        if missing:
            name = next(name for name, line in names.items() if line == missing[0])
            where = f"{self.root}/{shown(name)}"
            raise self._wrong(
                missing[0], f"there is no file {where} ({len(missing)} files are missing): correct the path"
            )
        return list(names)

    def _role(self, line: int, role: str) -> Role | None:
        if role and role not in ROLES:
            raise self._wrong(line, f"role is {quoted(role)}, it must be empty or one of {', '.join(ROLES)}")
        return cast(Role, role) if role else None

    def _points(self, line: int, row: Mapping[str, str]) -> np.ndarray:
        """Five points; NaN where the row has none, infinite where one is not finite or too large for float32."""
        texts = [row[column] for column in LANDMARK_COLUMNS]
        if not any(texts):
            return _NO_POINTS
        try:
            values = np.array([float(text) for text in texts])
        except ValueError as error:
            raise self._wrong(line, f"landmarks: {shown(str(error))}: leave all ten empty if unknown") from error
        sound = np.isfinite(values) & (np.abs(values) < _LARGEST_POINT)
        return (values if sound.all() else np.full(10, np.inf)).reshape(5, 2)

    def _label(self, line: int, name: str, text: str) -> int:
        if not text:
            return UNKNOWN
        label = whole_number(text, _LARGEST)
        if label is None:
            raise self._wrong(
                line, f"{name} is {quoted(text)}, it must be a whole number from 0 to {_LARGEST}, or empty"
            )
        return label

    def _wrong(self, line: int, reason: str) -> DatasetError:
        return DatasetError(f"{self.file}, line {line}: {reason}")
