"""Lists of photo pairs for face verification.

Two formats, told apart by their first line:

* LFW's ``pairs.txt`` (Huang et al., "Labeled Faces in the Wild", UMass Amherst TR 07-49, 2007; View 2). The first line
  gives the number of folds and of pairs per fold and kind, ``10<TAB>300``. Each fold is 300 lines ``name n1 n2`` (the
  same person) and then 300 lines ``name1 n1 name2 n2`` (two people); photo ``n`` of ``name`` is
  ``<name>/<name>_000n.jpg``. The development lists of View 1 are one fold, and their first line is one number.
* A CSV table with the columns ``file_a``, ``file_b``, ``same`` (0 or 1) and, optionally, ``fold`` (a whole number).
  Paths start at the data set's root. Other columns can select rows.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from cloakbench.datasets.photos import DatasetError

LFW_FOLDERS = ("lfw", "lfw_funneled", "lfw-deepfunneled")
"""Folders that LFW's archives unpack to: as collected, funneled, deep-funneled."""

_COLUMNS = ("file_a", "file_b", "same")


@dataclass(frozen=True)
class Pairs:
    """Pairs of photos, each of one person or of two.

    Attributes:
        left, right: P image ids each: paths relative to the root, with forward slashes.
        same: bool ``[P]``, True where both show the same person.
        fold: int64 ``[P]``, the cross-validation fold from 0 on; 0 throughout when the list has no folds.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    same: np.ndarray
    fold: np.ndarray

    def __len__(self) -> int:
        return len(self.left)


def read_pairs(file: Path, root: Path, where: Mapping[str, str] | None = None) -> Pairs:
    """The pairs of a list, in its order; nothing is checked about the photos themselves.

    Args:
        file: LFW's ``pairs.txt`` or a CSV table.
        root: what paths are relative to. For LFW's format the people's folders lie in it or in one of ``LFW_FOLDERS``
            below it, and that folder is part of the ids.
        where: column to the value that a row must have to be taken; CSV tables only.

    Raises:
        DatasetError: the file cannot be read, a line is malformed (the message has its number), a column does not
            exist, or no pair is left.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DatasetError(f"cannot read the pair list {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"the pair list {file} is not text in UTF-8: {error}") from error
    if not lines or not lines[0].strip():
        raise DatasetError(f"{file}, line 1: empty; expected a CSV header or LFW's number of folds and pairs")
    if all(word.isdecimal() for word in lines[0].split()):
        if where:
            raise DatasetError(f"{file} is in LFW's format, which has no column {', '.join(where)} to select by")
        rows = list(_lfw_rows(file, lines, root))
    else:
        rows = list(_csv_rows(file, lines, where or {}))
    if not rows:
        chosen = "".join(f" with {column}={value}" for column, value in (where or {}).items())
        raise DatasetError(f"{file} holds no pair{chosen}")
    left, right, same, fold = zip(*rows, strict=True)
    return Pairs(left, right, np.array(same, dtype=bool), np.array(fold, dtype=np.int64))


_Row = tuple[str, str, bool, int]


def _lfw_rows(file: Path, lines: list[str], root: Path) -> Iterator[_Row]:
    numbers = [int(word) for word in lines[0].split()]
    if len(numbers) > 2 or 0 in numbers:
        raise DatasetError(f"{file}, line 1: {lines[0]!r}; expected the number of folds and of pairs per kind")
    folds, per_kind = numbers if len(numbers) == 2 else (1, numbers[0])
    expected = 2 * folds * per_kind
    while not lines[-1].strip():
        lines.pop()
    if len(lines) - 1 != expected:
        raise DatasetError(
            f"{file}, line {len(lines)}: the list ends after {len(lines) - 1} pairs, but its first line announces "
            f"{expected}: fetch it again"
        )
    prefix = _people_folder(root, lines[1].split()[0] if lines[1].split() else "")
    for index, line in enumerate(lines[1:]):
        fold, place = divmod(index, 2 * per_kind)
        same = place < per_kind
        words = line.split("\t") if "\t" in line else line.split()
        names, photos = ([words[0]] * 2, words[1:]) if same else (words[0::2], words[1::2])
        if len(words) != 4 - same or not all(word.isdecimal() for word in photos):
            form = "name, photo, photo" if same else "name, photo, name, photo"
            raise DatasetError(f"{file}, line {index + 2}: {line!r}; expected {form}")
        a, b = (f"{prefix}{name}/{name}_{int(photo):04d}.jpg" for name, photo in zip(names, photos, strict=True))
        yield a, b, same, fold


def _people_folder(root: Path, person: str) -> str:
    """What ids start with: the one of ``LFW_FOLDERS`` that holds this person's folder, or nothing."""
    if (root / person).is_dir():
        return ""
    return next((f"{folder}/" for folder in LFW_FOLDERS if (root / folder / person).is_dir()), "")


def _csv_rows(file: Path, lines: list[str], where: Mapping[str, str]) -> Iterator[_Row]:
    reader = csv.DictReader(lines, strict=True)
    columns = reader.fieldnames or ()
    if absent := [column for column in (*_COLUMNS, *where) if column not in columns]:
        raise DatasetError(f"{file}, line 1: there is no column {', '.join(absent)} (there are: {', '.join(columns)})")
    try:
        for row in reader:
            if len(row) != len(columns) or None in row.values():
                raise DatasetError(f"{file}, line {reader.line_num}: {len(columns)} values are needed, one per column")
            if any(row[column] != value for column, value in where.items()):
                continue
            if row["same"] not in ("0", "1"):
                raise DatasetError(f"{file}, line {reader.line_num}: same is {row['same']!r}, it must be 0 or 1")
            fold = row.get("fold", "0")
            if not fold.isdecimal():
                raise DatasetError(f"{file}, line {reader.line_num}: fold is {fold!r}, it must be a whole number")
            a, b = (_relative(row[column], f"{file}, line {reader.line_num}") for column in ("file_a", "file_b"))
            yield a, b, row["same"] == "1", int(fold)
    except csv.Error as error:
        raise DatasetError(f"{file}, line {reader.line_num}: not CSV ({error})") from error


def _relative(path: str, place: str) -> str:
    """A path below the root, in its shortest form."""
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts:
        raise DatasetError(f"{place}: {path!r} is not a path below the data set's root")
    return str(pure)
