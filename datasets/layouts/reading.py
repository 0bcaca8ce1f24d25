"""Reading for layouts: folders and label files, with one line for whatever is wrong.

A missing or malformed label file stops the listing. A photo that a label file names and that is not there, or that no
label file identifies, becomes a rejected entry of the manifest; everything else goes on.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import DTypeLike

from cloakbench.bench.core.files.regular_file import NotRegularError, leads_to_file
from cloakbench.datasets.base import ManifestEntry
from cloakbench.datasets.listing import UNKNOWN, Layout
from cloakbench.datasets.photos import DatasetError, is_litter
from cloakbench.datasets.text_lists import read_text, shown, split_lines, whole_number

_MOST_ROWS = 10**9


def absent(layout: Layout, path: Path, reason: str = "does not exist") -> DatasetError:
    """The error for something that should lie under the root: where it comes from and where to put it."""
    return DatasetError(
        f"{layout.name}: {path} {reason}; get it from {layout.page} and put under {layout.root}: {layout.folder}"
    )


def rejection(image_id: str, status: str, note: str, identity: str = "") -> ManifestEntry:
    """A photo that cannot be used, and why."""
    return ManifestEntry(image_id, identity, "", "", status, note)


def files_in(layout: Layout, folder: Path) -> set[str]:
    """Names of the files in a flat folder, hidden ones and other litter left out.

    Raises:
        DatasetError: the folder is missing or cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if not is_litter(entry.name) and leads_to_file(entry)}
    except OSError as error:
        raise absent(layout, folder) from error


def read_lines(layout: Layout, path: Path) -> list[str]:
    """The lines of a text file without empty ones at its end.

    Raises:
        DatasetError: the file is missing, empty or not text.
    """
    lines = split_lines(read_label_file(layout, path))
    while not lines[-1].strip():
        lines.pop()
    return lines


def read_label_file(layout: Layout, path: Path) -> str:
    """The text of a label file or table.

    Raises:
        DatasetError: the file is missing, blank, no plain file or not text.
    """
    try:
        text = read_text(path, layout.name)
    except NotRegularError as error:
        raise DatasetError(f"{layout.name}: {path}: {error.strerror}: put the file itself there") from error
    except OSError as error:
        raise absent(layout, path) from error
    if not text.strip():
        raise DatasetError(f"{path} is empty: fetch it again")
    return text


@dataclass(frozen=True)
class LabelTable:
    """A label file: one row of numbers per name.

    Attributes:
        names: what the rows are about, in the order of the file.
        values: ``[len(names), columns]``.
        columns: names of the columns, where the file has them.
        rows: name to row.
    """

    names: tuple[str, ...]
    values: np.ndarray
    columns: tuple[str, ...] = ()
    rows: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", {name: row for row, name in enumerate(self.names)})

    def aligned_to(self, names: Sequence[str], unknown: float = UNKNOWN) -> np.ndarray:
        """The values of ``names``, ``unknown`` where the file has none."""
        index = np.array([self.rows.get(name, -1) for name in names], dtype=np.int64)
        values = np.where((index >= 0)[:, None], self.values[index], self.values.dtype.type(unknown))
        return cast(np.ndarray, values)


def read_table(
    layout: Layout,
    path: Path,
    *,
    columns: int,
    titled: bool = False,
    dtype: DTypeLike = np.int32,
    allowed: Collection[int] | None = None,
) -> LabelTable:
    """A label file of rows ``name number number ...``.

    Args:
        layout: whose file it is.
        path: the file.
        columns: numbers per row.
        titled: the first line is the number of rows and the second names the columns, as in CelebA's files.
        dtype: of the values.
        allowed: the only values there may be.

    Raises:
        DatasetError: the file is missing, a row is cut off or is not numbers, a name occurs twice, or the number of
            rows is not the one announced. The message has the line.
    """
    lines = read_lines(layout, path)
    titles: tuple[str, ...] = ()
    first = 1
    if titled:
        titles = tuple(lines[1].split()) if len(lines) > 1 else ()
        announced = whole_number(lines[0].strip(), _MOST_ROWS)
        if announced is None or len(titles) != columns:
            raise DatasetError(f"{path}: the first two lines must be the number of rows and {columns} column names")
        if len(lines) - 2 != announced:
            raise DatasetError(f"{path}: {len(lines) - 2} rows, but its first line announces {announced}")
        first, lines = 3, lines[2:]
    names: dict[str, None] = {}
    for number, line in enumerate(lines, start=first):
        words = line.split()
        if len(words) != columns + 1:
            raise DatasetError(
                f"{path}, line {number}: a name and {columns} numbers are needed, there are {len(words)} words; the "
                "file is cut off or damaged"
            )
        if words[0] in names:
            raise DatasetError(f"{path}, line {number}: {shown(words[0])} occurs twice: remove one")
        names[words[0]] = None
    values = read_numbers(path, lines, range(1, columns + 1), dtype, first)
    if allowed is not None:
        odd = np.flatnonzero(~np.isin(values, list(allowed)).all(axis=1))
        if len(odd):
            raise DatasetError(f"{path}, line {odd[0] + first}: values must be among {sorted(allowed)}")
    return LabelTable(tuple(names), values, titles)


def read_numbers(path: Path, lines: list[str], columns: range, dtype: DTypeLike, first: int = 1) -> np.ndarray:
    """``[len(lines), len(columns)]`` of the words at ``columns``; ``first`` is the number of the first line.

    Raises:
        DatasetError: a word is not a number of ``dtype``.
    """
    try:
        return np.loadtxt(lines, dtype, comments=None, usecols=columns, ndmin=2).reshape(len(lines), len(columns))
    except (ValueError, OverflowError) as problem:
        for number, line in enumerate(lines, start=first):
            try:
                np.array(line.split()[columns.start : columns.stop]).astype(dtype)
            except (ValueError, OverflowError) as error:
                raise DatasetError(f"{path}, line {number}: {shown(str(error))}: correct the line") from None
        raise DatasetError(f"{path} is not a table of numbers ({shown(str(problem))}): fetch it again") from problem
