"""Any data set, described by a CSV table of your own: one row per photo.

Columns, of which the first two are required and others are not read:

* ``file``: a path below the root; ``identity``: any name;
* ``role``: a role of :mod:`cloakbench.datasets.base`, or empty where the split decides;
* ``left_eye_x``, ``left_eye_y``, ``right_eye_...``, ``nose_...``, ``left_mouth_...``, ``right_mouth_...``: all ten or
  none, in pixels of the upright photo, left and right as seen in it; a row may leave all of them empty;
* attributes, under names of your own: whole numbers from 0 on, empty where unknown.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import cast

import numpy as np

from cloakbench.datasets.base import ROLES, Role
from cloakbench.datasets.detection import LANDMARK_COLUMNS
from cloakbench.datasets.layouts.reading import read_lines
from cloakbench.datasets.listing import UNKNOWN, Layout, Listing
from cloakbench.datasets.photos import DatasetError

_LARGEST = np.iinfo(np.int16).max


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
        reader = csv.DictReader(read_lines(self, self.file), strict=True)
        columns = reader.fieldnames or ()
        wanted = ("file", "identity", *self.attributes)
        if lacking := [column for column in wanted if column not in columns]:
            raise self._wrong(1, f"there is no column {', '.join(lacking)} (there are: {', '.join(columns)})")
        points = [column for column in LANDMARK_COLUMNS if column in columns]
        if points and len(points) != len(LANDMARK_COLUMNS):
            lacking = [column for column in LANDMARK_COLUMNS if column not in columns]
            raise self._wrong(1, f"landmarks need ten columns, these are missing: {', '.join(lacking)}")
        rows: list[tuple[int, Mapping[str, str]]] = []
        try:
            for row in reader:
                if len(row) != len(columns) or None in row.values():
                    raise self._wrong(reader.line_num, f"{len(columns)} values are needed, one per column")
                rows.append((reader.line_num, row))
        except csv.Error as error:
            raise self._wrong(reader.line_num, f"not CSV ({error})") from error
        if not rows:
            raise self._wrong(1, "there are no rows below the header")
        names = self._names(rows)
        roles: list[Role | None] = [self._role(line, row.get("role", "")) for line, row in rows]
        return Listing(
            names,
            [row["identity"] for _, row in rows],
            [str(self.root / name) for name in names],
            roles if any(roles) else [],
            landmarks=np.array([self._points(line, row) for line, row in rows], np.float32) if points else None,
            attributes={
                name: np.array([self._label(line, name, row[name]) for line, row in rows], np.int16)
                for name in self.attributes
            },
        )

    def _names(self, rows: Sequence[tuple[int, Mapping[str, str]]]) -> list[str]:
        names: dict[str, int] = {}
        missing: list[int] = []
        for line, row in rows:
            path = PurePosixPath(row["file"])
            if not path.name or path.is_absolute() or ".." in path.parts:
                raise self._wrong(line, f"{row['file']!r} is not a path below {self.root}")
            if not row["identity"].strip():
                raise self._wrong(line, "identity is empty")
            if str(path) in names:
                raise self._wrong(line, f"{path} was listed in line {names[str(path)]}")
            names[str(path)] = line
            if not (self.root / path).is_file():
                missing.append(line)
        if missing:
            name = next(name for name, line in names.items() if line == missing[0])
            raise self._wrong(missing[0], f"there is no file {self.root / name} ({len(missing)} files are missing)")
        return list(names)

    def _role(self, line: int, role: str) -> Role | None:
        if role and role not in ROLES:
            raise self._wrong(line, f"role is {role!r}, it must be empty or one of {', '.join(ROLES)}")
        return cast(Role, role) if role else None

    def _points(self, line: int, row: Mapping[str, str]) -> np.ndarray:
        texts = [row[column] for column in LANDMARK_COLUMNS]
        if not any(texts):
            return np.full((5, 2), np.nan)
        try:
            values = np.array([float(text) for text in texts])
        except ValueError as error:
            raise self._wrong(line, f"landmarks: {error}") from error
        if not np.isfinite(values).all():
            raise self._wrong(line, "landmarks must be finite; leave all ten empty where they are unknown")
        return values.reshape(5, 2)

    def _label(self, line: int, name: str, text: str) -> int:
        if not text:
            return UNKNOWN
        if not text.isdecimal() or int(text) > _LARGEST:
            raise self._wrong(line, f"{name} is {text!r}, it must be a whole number from 0 to {_LARGEST}, or empty")
        return int(text)

    def _wrong(self, line: int, reason: str) -> DatasetError:
        return DatasetError(f"{self.file}, line {line}: {reason}")
