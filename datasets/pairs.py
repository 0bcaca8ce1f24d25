"""Lists of photo pairs for face verification.

Two formats, told apart by their first line:

* LFW's ``pairs.txt`` (Huang et al., "Labeled Faces in the Wild", UMass Amherst TR 07-49, 2007; View 2). The first line
  gives the number of folds and of pairs per fold and kind, ``10<TAB>300``. Each fold is 300 lines ``name n1 n2`` (the
  same person) and then 300 lines ``name1 n1 name2 n2`` (two people); photo ``n`` of ``name`` is
  ``<name>/<name>_000n.jpg``. The development lists of View 1 are one fold, and their first line is one number.
* A CSV table with the columns ``file_a``, ``file_b``, ``same`` (0 or 1) and, optionally, ``fold`` (a whole number).
  Paths start at the data set's root. Other columns can select rows.

A pair says something about a recogniser once, and only if it says one thing: `sound_pairs` leaves out what does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from cloakbench.bench.core.files.regular_file import leads_to_folder
from cloakbench.datasets.photos import DatasetError
from cloakbench.datasets.text_lists import csv_rows, quoted, read_text, shown, split_lines, whole_number

LFW_FOLDERS = ("lfw", "lfw_funneled", "lfw-deepfunneled")
"""Folders that LFW's archives unpack to: as collected, funneled, deep-funneled."""

CONTRADICTORY, WITH_ITSELF, REPEATED = "contradictory", "with_itself", "repeated"
"""Why a pair is left out: listed as the same person and as two; one photo twice; listed before, in either order."""

_COLUMNS = ("file_a", "file_b", "same")
_MOST = 10**9  # folds, photo numbers and pairs: far above any list, far below what overflows


@dataclass(frozen=True)
class PairList:
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


@dataclass(frozen=True)
class LeftOut:
    """A pair of a list that is not used.

    Attributes:
        left, right: the photos as listed.
        same: what the list says of them.
        why: `CONTRADICTORY`, `WITH_ITSELF` or `REPEATED`.
    """

    left: str
    right: str
    same: bool
    why: str


def sound_pairs(pairs: PairList) -> tuple[PairList, tuple[LeftOut, ...]]:
    """The pairs that can be judged, in the list's order, and the others with the reason.

    A pair is the same in either order. Of a repeated one the first stays; of a contradictory one nothing does, because
    the list does not say which label is the right one.

    Raises:
        DatasetError: no pair is left.
    """
    labels: dict[frozenset[str], set[bool]] = {}
    keys = [frozenset(pair) for pair in zip(pairs.left, pairs.right, strict=True)]
    for key, same in zip(keys, pairs.same.tolist(), strict=True):
        labels.setdefault(key, set()).add(same)
    kept: list[int] = []
    left_out: list[LeftOut] = []
    seen: set[frozenset[str]] = set()
    for row, key in enumerate(keys):
        if len(key) == 1:
            why = WITH_ITSELF
        elif len(labels[key]) > 1:
            why = CONTRADICTORY
        else:
            why = REPEATED if key in seen else ""
        seen.add(key)
        if why:
            left_out.append(LeftOut(pairs.left[row], pairs.right[row], bool(pairs.same[row]), why))
        else:
            kept.append(row)
    if not kept:
        one = left_out[0]
        raise DatasetError(
            f"none of the {len(pairs)} pairs of the list can be used: {shown(one.left)} and {shown(one.right)}: "
            f"{one.why}: correct the list"
        )
    left, right = (tuple(names[row] for row in kept) for names in (pairs.left, pairs.right))
    return PairList(left, right, pairs.same[kept], pairs.fold[kept]), tuple(left_out)


def read_pairs(file: Path, root: Path, where: Mapping[str, str] | None = None) -> PairList:
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
        text = read_text(file, "the pair list")
    except OSError as error:
        raise DatasetError(
            f"cannot read the pair list {file}: {error.strerror}: name a file with pairs=FILE"
        ) from error
    lines = split_lines(text)
    if not lines or not lines[0].strip():
        raise DatasetError(f"{file}, line 1: empty; expected a CSV header or LFW's number of folds and pairs")
    if all(word.isdecimal() for word in lines[0].split()):
        if where:
            raise DatasetError(f"{file} is in LFW's format, which has no column {', '.join(where)} to select by")
        rows = list(_lfw_rows(file, lines, root))
    else:
        rows = list(_csv_rows(file, text, where or {}))
    if not rows:
        chosen = "".join(f" with {column}={value}" for column, value in (where or {}).items())
        raise DatasetError(f"{file} holds no pair{chosen}")
    left, right, same, fold = zip(*rows, strict=True)
    return PairList(left, right, np.array(same, dtype=bool), np.array(fold, dtype=np.int64))


_Row = tuple[str, str, bool, int]


def _lfw_rows(file: Path, lines: list[str], root: Path) -> Iterator[_Row]:
    counts = [whole_number(word, _MOST) or 0 for word in lines[0].split()]
    if len(counts) > 2 or 0 in counts:
        raise DatasetError(
            f"{file}, line 1: {quoted(lines[0])}; expected the number of folds and of pairs per kind, such as 10 300"
        )
    folds, per_kind = counts if len(counts) == 2 else (1, counts[0])
    expected = 2 * folds * per_kind
    while not lines[-1].strip():
        lines.pop()
    if len(lines) - 1 != expected:
        raise DatasetError(
            f"{file}, line {len(lines)}: the list ends after {len(lines) - 1} pairs, but its first line announces "
            f"{expected}: fetch it again"
        )
    prefix = None
    for index, line in enumerate(lines[1:]):
        fold, place = divmod(index, 2 * per_kind)
        same = place < per_kind
        words = line.split("\t") if "\t" in line else line.split()
        names, photos = ([words[0]] * 2, words[1:]) if same and words else (words[0::2], words[1::2])
        numbers = [whole_number(word, _MOST) for word in photos]
        if len(words) != 4 - same or None in numbers or not all(map(_is_name, names)):
            form = "name, photo, photo" if same else "name, photo, name, photo"
            raise DatasetError(f"{file}, line {index + 2}: {quoted(line)}; expected {form}: correct the line")
        prefix = _people_folder(root, names[0]) if prefix is None else prefix
        a, b = (f"{prefix}{name}/{name}_{number:04d}.jpg" for name, number in zip(names, numbers, strict=True))
        yield a, b, same, fold


def _is_name(text: str) -> bool:
    """Whether a person may be called so: their folder lies in the people's folder and nowhere else."""
    return bool(text.strip()) and text not in (".", "..") and "/" not in text


def _people_folder(root: Path, person: str) -> str:
    """What ids start with: the one of ``LFW_FOLDERS`` that holds this person's folder, or nothing."""
    if leads_to_folder(root / person):
        return ""
    return next((f"{folder}/" for folder in LFW_FOLDERS if leads_to_folder(root / folder / person)), "")


def _csv_rows(file: Path, text: str, where: Mapping[str, str]) -> Iterator[_Row]:
    _, rows = csv_rows(text, str(file), (*_COLUMNS, *where), ("fold",))
    for line, row in rows:
        if any(row[column] != value for column, value in where.items()):
            continue
        place = f"{file}, line {line}"
        if row["same"] not in ("0", "1"):
            raise DatasetError(f"{place}: same is {quoted(row['same'])}, it must be 0 or 1")
        fold = whole_number(row.get("fold", "0"), _MOST)
        if fold is None:
            raise DatasetError(f"{place}: fold is {quoted(row['fold'])}, it must be a whole number up to {_MOST:,}")
        a, b = (_relative(row[column], place) for column in ("file_a", "file_b"))
        yield a, b, row["same"] == "1", fold


def _relative(path: str, place: str) -> str:
    """A path below the root, in its shortest form."""
    pure = PurePosixPath(path)
    if not pure.parts or pure.is_absolute() or ".." in pure.parts:
        raise DatasetError(f"{place}: {quoted(path)} is not a path below the data set's root")
    return str(pure)
