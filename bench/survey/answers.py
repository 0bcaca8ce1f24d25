"""Answers of raters: CSV files that sheets saved, checked line by line."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.escape import terminal
from cloakbench.bench.core.files.regular_file import read_regular
from cloakbench.bench.survey.page import COLUMNS, HIGHEST, LOWEST, QUESTIONS
from cloakbench.bench.survey.study import Study

RATINGS = ("rater", "group", "set", "code", *QUESTIONS)
"""Columns of the frame of ratings, one row for each picture that a rater was shown; NaN for a question left open."""


def read_answers(files: Sequence[Path], study: Study, raters: Mapping[str, str]) -> pd.DataFrame:
    """All ratings, by rater, set and code.

    Args:
        files: what pages saved.
        study: whose answers they are.
        raters: name of each sheet to its group.

    Raises:
        ConfigError: a file is no such table, is of another study or of a rater that it has not, or has a line that is
            out of range, about a picture that was not shown, or there twice; one line naming file and line.
    """
    known = {(str(number), code) for number, code in study.items}
    seen: dict[tuple[str, str, str], str] = {}
    rows = []
    for file in files:
        for where, line in _lines(file):
            _check_origin(where, line, study, raters)
            picture = (line["set"], line["code"])
            if picture not in known:
                raise ConfigError(f"{where}: set {_said(picture[0])} has no picture {_said(picture[1])}")
            if before := seen.get((line["rater"], *picture)):
                raise ConfigError(
                    f"{where}: {line['rater']} rated picture {picture[1]} of set {picture[0]} before, in {before}; "
                    "keep one"
                )
            seen[line["rater"], *picture] = where
            ratings = [_rating(where, name, line[name]) for name in QUESTIONS]
            rows.append((line["rater"], raters[line["rater"]], int(line["set"]), line["code"], *ratings))
    rated = {rater for rater, _, _ in seen}
    for rater in sorted(rated):
        gaps = sorted(known - {(number, code) for who, number, code in seen if who == rater})
        rows += [(rater, raters[rater], int(number), code, float("nan"), float("nan")) for number, code in gaps]
    frame = pd.DataFrame(rows, columns=list(RATINGS))
    return frame.sort_values(["rater", "set", "code"], ignore_index=True)


def gaps(ratings: pd.DataFrame) -> dict[str, int]:
    """How many answers each rater left open; those who left none are not named."""
    left = Counter[str]()
    for name in QUESTIONS:
        left.update(ratings.loc[ratings[name].isna(), "rater"].tolist())
    return dict(sorted(left.items()))


def _lines(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Each line after the first as ``file, line n`` and its cells by column."""
    try:
        text = read_regular(file).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{file}, line 1: no CSV file in UTF-8; give the file as the sheet saved it") from None
    table = csv.reader(io.StringIO(text))
    if tuple(head := next(table, [])) != COLUMNS:
        raise ConfigError(f"{file}, line 1: the columns are {_said(', '.join(head))}, and must be {', '.join(COLUMNS)}")
    for cells in table:
        where = f"{file}, line {table.line_num}"
        if len(cells) != len(COLUMNS):
            raise ConfigError(f"{where}: {len(cells)} cells, and there are {len(COLUMNS)} columns")
        yield where, dict(zip(COLUMNS, cells, strict=True))


def _check_origin(where: str, line: Mapping[str, str], study: Study, raters: Mapping[str, str]) -> None:
    if line["study"] != study.name:
        raise ConfigError(f"{where}: answers of study {_said(line['study'])}, and the run's is {study.name}")
    if line["rater"] not in raters:
        raise ConfigError(f"{where}: the study has no {_said(line['rater'])}; sheets are {', '.join(raters)}")


def _rating(where: str, question: str, text: str) -> float:
    """A whole number of the scale; NaN for nothing."""
    if not text.strip():
        return float("nan")
    if text.strip().isdecimal() and LOWEST <= int(text) <= HIGHEST:
        return float(int(text))
    raise ConfigError(f"{where}: {question} is {_said(text)}; it must be a whole number from {LOWEST} to {HIGHEST}")


def _said(text: str) -> str:
    return repr(terminal(text[:60]))
