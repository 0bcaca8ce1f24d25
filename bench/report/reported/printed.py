"""The numbers that the papers print, read from ``results/reported`` and checked."""

from __future__ import annotations

import csv
import importlib.resources
import io
import math
import re
from importlib.resources.abc import Traversable
from typing import Any

import pandas as pd
import yaml

from cloakbench.bench.report.estimate import records

KEY = ("paper", "table", "dataset", "task", "surrogate", "method", "target", "metric")
COLUMNS = (*KEY, "value", "unit", "note")
UNITS = frozenset({"%", "pp", "dB", "s", "score_1_to_10", "unitless"})
LOST = "lost in extraction"
"""The note of a cell that the text of the paper does not contain; such a cell is empty."""

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""That of libyaml, where it is there: it is ten times as fast."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


class ReportedSchemaError(ValueError):
    """A file of reported numbers breaks its schema; the message names the file, the line and the rule."""


def reported_folder() -> Traversable:
    """Where the committed files are, installed or not."""
    return importlib.resources.files("cloakbench.results") / "reported"


def load_reported(folder: Traversable | None = None) -> pd.DataFrame:
    """All long tables in one frame: `COLUMNS`, with ``value`` as float (NaN for a lost cell) and ``printed`` as text.

    Raises:
        ReportedSchemaError: a file breaks the schema, or two files hold the same key.
    """
    folder = folder or reported_folder()
    names = sorted(entry.name for entry in folder.iterdir() if _is_long_table(entry.name))
    if not names:
        raise ReportedSchemaError(f"no reported tables in {folder}; reinstall the project or restore results/reported")
    lines = []
    for name in names:
        lines += read_table((folder / name).read_text(encoding="utf-8"), name)
    frame = pd.DataFrame(lines)
    if len(frame) != len(frame.drop_duplicates(list(KEY))):
        raise ReportedSchemaError(f"two files in {folder} hold the same key")
    return frame


def load_lines(folder: Traversable | None = None) -> dict[str, list[dict[str, Any]]]:
    """The lines of `load_reported` by table: ``facecloak_1`` to its lines in printed order.

    Raises:
        ReportedSchemaError: as `load_reported`.
    """
    tables: dict[str, list[dict[str, Any]]] = {}
    for line in records(load_reported(folder)):
        tables.setdefault(f"{line['paper']}_{line['table']}", []).append(line)
    return tables


def read_table(content: str, name: str) -> list[dict[str, Any]]:
    """The lines of one long table, checked, with ``value`` as a number and ``printed`` as the text it came from.

    Raises:
        ReportedSchemaError: wrong columns, an empty part of a key, a key twice, an unknown unit, a value that is no
            number, an empty value that is not lost, a lost one that is not empty, a percentage outside 0 to 100.
    """
    reader = csv.DictReader(io.StringIO(content), strict=True)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ReportedSchemaError(f"{name}: columns are {reader.fieldnames}, expected {list(COLUMNS)}")
    lines = []
    keys = set()
    for line in reader:
        key = tuple(line[column] for column in KEY)
        problem = "the key occurs twice" if key in keys else _problem(line)
        if problem:
            raise ReportedSchemaError(f"{name}, line {reader.line_num}: {problem}")
        keys.add(key)
        lines.append(line | {"printed": line["value"], "value": float(line["value"] or math.nan)})
    return lines


def _problem(line: dict[str, str]) -> str:
    """What is wrong with a line; empty when nothing is."""
    if None in line or None in line.values():
        return f"not {len(COLUMNS)} fields"
    value, unit = line["value"], line["unit"]
    number = _NUMBER.fullmatch(value)
    problems = {
        "a part of the key is empty": not all(line[column] for column in KEY),
        f"unknown unit {unit!r}": unit not in UNITS,
        f"a value is empty exactly when its note is {LOST!r}": (value == "") != (line["note"] == LOST),
        f"{value!r} is no number": bool(value) and not number,
        f"{value} % is no share": bool(number) and unit == "%" and not 0 <= float(value) <= 100,
    }
    return next((problem for problem, found in problems.items() if found), "")


def load_survey_table(number: int) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of Table I or II of the survey as printed; the first column names the method."""
    content = (reported_folder() / f"survey_table{number}.csv").read_text(encoding="utf-8")
    reader = csv.DictReader(io.StringIO(content), strict=True)
    return list(reader.fieldnames or ()), list(reader)


def is_comparable(dataset: str, reported_dataset: str) -> bool:
    """Whether a run's data set is the one that a paper prints numbers for."""
    return dataset.lower().replace("-", "_").replace(" ", "_").startswith(reported_dataset)


def comparability(dataset: str, reported_dataset: str) -> str:
    """What may be concluded from a measured number beside a reported one."""
    if is_comparable(dataset, reported_dataset):
        return "same protocol and people, other weights"
    return "not comparable: other faces, networks, weights and gallery; only orderings may be read"


def load_prose() -> list[dict[str, str]]:
    """The lines of ``prose_claims.csv`` in order: seed (the paper), section, claim, value (may be empty), unit."""
    content = (reported_folder() / "prose_claims.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(content), strict=True))


def load_yaml(name: str, folder: Traversable | None = None) -> dict[str, Any]:
    """A YAML file of a folder, ``results/reported`` when left out, as plain values.

    Raises:
        ReportedSchemaError: the file is no YAML, holds a key twice, or is no mapping.
    """
    content = ((folder or reported_folder()) / name).read_text(encoding="utf-8")
    try:
        found = yaml.load(content, Loader=_UniqueKeys)
    except yaml.YAMLError as problem:
        raise ReportedSchemaError(f"{name}: {' '.join(str(problem).split())}") from problem
    if not isinstance(found, dict):
        raise ReportedSchemaError(f"{name}: expected a mapping at the top")
    return found


class _UniqueKeys(_SafeLoader):
    """A safe loader that refuses a key given twice, of which YAML would keep the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [str(key.value) for key, _ in node.value]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise yaml.constructor.ConstructorError(None, None, f"{min(twice)} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _is_long_table(name: str) -> bool:
    return name.endswith(".csv") and "_table" in name and not name.startswith("survey_")
