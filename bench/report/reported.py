"""The numbers that the papers print, read from ``results/reported`` and checked, and what may be set beside them."""

from __future__ import annotations

import csv
import importlib.resources
import io
import math
import re
from importlib.resources.abc import Traversable
from typing import Any

import pandas as pd

from cloakbench.bench.report.index import text

KEY = ("paper", "table", "dataset", "task", "surrogate", "method", "target", "metric")
COLUMNS = (*KEY, "value", "unit", "note")
UNITS = frozenset({"%", "pp", "dB", "s", "score_1_to_10", "unitless"})
LOST = "lost in extraction"
"""The note of a cell that the text of the paper does not contain; such a cell is empty."""

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")

FACECLOAK_TABLES = {"1": ("I", "privacy_commons"), "2": ("II", "privacy_celebrities")}
"""Identification tables of FaceCloak: number in the files to printed number and data set."""
FACECLOAK_TARGETS = ("arcface", "cosface", "sface", "mobilenet", "senet", "ir50")
FACECLOAK_SURROGATES = ("arcface", "cosface", "softmax")
_BACKBONES = {
    "mobilenet": ("mobilenet",),
    "senet": ("senet", "se_resnet", "seresnet", "se-resnet"),
    "ir50": ("ir50", "ir_50", "ir-50", "iresnet50", "ir_se_50"),
}


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


def target_matches(models: pd.DataFrame) -> dict[str, str]:
    """FaceCloak's target key to our model, for every key that one of our targets stands for.

    A model matches by its own name first, then as a backbone (MobileNet, SENet, IR-50; by ``stands_for``, then by
    backbone), then as a head (ArcFace, CosFace, SFace) on any other backbone. One model stands for one key; of several
    models for one key the first in the order of ``models`` is taken.
    """
    return _match(models, "target", FACECLOAK_TARGETS)


def surrogate_matches(models: pd.DataFrame) -> dict[str, str]:
    """FaceCloak's surrogate key (arcface, cosface, softmax: heads) to our surrogate."""
    return _match(models, "surrogate", FACECLOAK_SURROGATES)


def comparability(dataset: str, reported_dataset: str) -> str:
    """What may be concluded from a measured number beside a reported one."""
    if dataset.lower().replace("-", "_").replace(" ", "_").startswith(reported_dataset):
        return "same protocol and people, other weights"
    return "not comparable: other faces, networks, weights and gallery; only orderings may be read"


def _is_long_table(name: str) -> bool:
    return name.endswith(".csv") and "_table" in name and not name.startswith("survey_")


def _match(models: pd.DataFrame, role: str, keys: tuple[str, ...]) -> dict[str, str]:
    matches: dict[str, str] = {}
    candidates = [line for line in models.to_dict("records") if role in line["roles"]]
    for exact in (True, False):
        for line in candidates:
            key = str(line["name"]).lower() if exact else _stands_for(line, keys)
            if key in keys and line["name"] not in matches.values():
                matches.setdefault(key, line["name"])
    return {key: matches[key] for key in keys if key in matches}


def _stands_for(line: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    for described in (text(line["stands_for"]).lower(), str(line["backbone"]).lower()):
        for key, spellings in _BACKBONES.items():
            if key in keys and any(spelling in described for spelling in spellings):
                return key
    head = str(line["head"]).lower()
    return head if head in keys and not line["robust"] else None
