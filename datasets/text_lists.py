"""Lists and tables that people bring: read as text, with one line that says where and what is wrong.

Lines end with LF, CR LF or CR and with nothing else, so that names may hold any other character and line numbers are
those of an editor.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from cloakbench.bench.core.files.regular_file import read_regular
from cloakbench.datasets.photos import DatasetError

_LONGEST_SHOWN = 60
_MARKS_OF_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path, what: str) -> str:
    """The text of a file in UTF-8, without a byte order mark.

    Args:
        path: the file.
        what: what it is, for errors: ``the pair list``.

    Raises:
        OSError: it cannot be read; where it is no plain file,
            `cloakbench.bench.core.files.regular_file.NotRegularError`.
        DatasetError: it is not text in UTF-8; the message has the line and the remedy.
    """
    content = read_regular(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if content.startswith(_MARKS_OF_UTF16):
            raise DatasetError(f"{what} {path} is text in UTF-16: save it as UTF-8") from error
        line = content.count(b"\n", 0, error.start) + 1
        raise DatasetError(
            f"{what} {path}, line {line}: byte {content[error.start]:#04x} is not text in UTF-8: save it as UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DatasetError(
            f"{what} {path}, line {line}: a NUL character, which no text has: save it as plain text in UTF-8"
        )
    return text


def split_lines(text: str) -> list[str]:
    """The lines of a text, without their ends and without an empty one behind the last."""
    lines = re.split("\r\n|\n|\r", text)
    return lines[:-1] if not lines[-1] else lines


def csv_rows(
    text: str, place: str, needed: Collection[str], used: Collection[str] = ()
) -> tuple[tuple[str, ...], Iterator[tuple[int, Mapping[str, str]]]]:
    """A CSV table with a header: the names of its columns, and its rows with their line numbers.

    Rows that hold nothing but blanks are passed over.

    Args:
        text: the table.
        place: what the table is called in errors, such as its path.
        needed: columns that there must be.
        used: more columns that are read where there are any.

    Raises:
        DatasetError: a needed column is absent, or a column that is read occurs twice. While rows are taken: a row has
            too few or too many fields, or is not CSV. The message has the line.
    """
    reader = csv.reader((f"{line}\n" for line in split_lines(text)), strict=True)
    try:
        columns = tuple(next(reader, ()))
    except csv.Error as error:
        raise _not_csv(place, reader.line_num, error) from error
    if absent := [name for name in needed if name not in columns]:
        raise DatasetError(
            f"{place}, line 1: there is no column {', '.join(absent)} (there are: {shown(', '.join(columns))}): add it "
            "to the header"
        )
    counts = Counter(columns)
    if twice := [name for name in dict.fromkeys((*needed, *used)) if counts[name] > 1]:
        raise DatasetError(f"{place}, line 1: the column {twice[0]} occurs {counts[twice[0]]} times: keep one")

    def rows() -> Iterator[tuple[int, Mapping[str, str]]]:
        try:
            for row in reader:
                if not any(cell.strip() for cell in row):
                    continue
                if len(row) != len(columns):
                    raise DatasetError(
                        f"{place}, line {reader.line_num}: {len(columns)} values are needed, one per column, and there "
                        f"are {len(row)}: correct the line"
                    )
                yield reader.line_num, dict(zip(columns, row, strict=True))
        except csv.Error as error:
            raise _not_csv(place, reader.line_num, error) from error

    return columns, rows()


def whole_number(text: str, most: int) -> int | None:
    """A whole number from 0 to ``most`` in plain digits; None for anything else, however many digits it has."""
    if not (text.isascii() and text.isdecimal()):
        return None
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) <= len(str(most)) and int(digits) <= most else None


def shown(text: str) -> str:
    """A piece of a file as it stands in a message: short and in one line, whatever was in the file."""
    piece = "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text[:_LONGEST_SHOWN]
    )
    return piece if len(text) <= _LONGEST_SHOWN else f"{piece}... ({len(text)} characters)"


def quoted(text: str) -> str:
    """`shown` between quotes, with every unusual character spelt out."""
    return repr(text) if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]!r}... ({len(text)} characters)"


def _not_csv(place: str, line: int, error: csv.Error) -> DatasetError:
    return DatasetError(f"{place}, line {line}: not CSV ({error}): correct the quotes, or save the table anew")
