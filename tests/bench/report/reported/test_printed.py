"""The papers' numbers: every file keeps the schema, and a broken one is refused."""

from __future__ import annotations

import csv
import math

import pandas as pd
import pytest

from cloakbench.bench.report.reported.printed import (
    COLUMNS,
    KEY,
    LOST,
    UNITS,
    ReportedSchemaError,
    comparability,
    load_reported,
    read_table,
    reported_folder,
)

FILES = sorted(entry.name for entry in reported_folder().iterdir() if entry.name.endswith(".csv"))
LONG = [name for name in FILES if "_table" in name and not name.startswith("survey")]
GOOD = "facecloak,1,privacy_commons,identification_1n,arcface,pgd,arcface,psr_top1,6.3,%,"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return load_reported()


def test_all_long_tables_are_loaded(frame):
    assert len(LONG) == 21
    assert len(frame) == 1911
    assert tuple(frame.columns) == (*COLUMNS, "printed")
    assert set(frame["unit"]) == UNITS
    assert not frame.duplicated(list(KEY)).any()


@pytest.mark.parametrize("name", LONG)
def test_long_table_keeps_the_schema(name):
    lines = read_table((reported_folder() / name).read_text(encoding="utf-8"), name)
    assert lines
    assert all(f"{line['paper']}_table{line['table']}.csv" == name for line in lines)
    assert all(math.isnan(line["value"]) == (line["note"] == LOST) for line in lines)


@pytest.mark.parametrize(("name", "rows", "columns"), [("survey_table1.csv", 6, 7), ("survey_table2.csv", 7, 7)])
def test_survey_tables_are_full(name, rows, columns):
    header, *lines = csv.reader((reported_folder() / name).read_text(encoding="utf-8").splitlines())
    assert (len(lines), len(header)) == (rows, columns)
    assert all(len(line) == columns and all(line) for line in lines)


def test_prose_claims_have_a_value_or_say_why_not():
    lines = list(csv.DictReader((reported_folder() / "prose_claims.csv").read_text(encoding="utf-8").splitlines()))
    assert len(lines) == 182
    assert all(bool(line["value"]) != (line["unit"] in ("qualitative", LOST)) for line in lines)


def test_only_known_cells_are_lost(frame):
    lost = frame[frame["value"].isna()]
    assert set(zip(lost["paper"], lost["table"], strict=True)) == {("facecloak", "3"), ("facecloak", "8")}
    assert len(lost) == 17


def test_printed_averages_agree_with_their_rows(frame):
    """FaceCloak Tables I and II within rounding, the two known slips apart (threshold 0.15 points)."""
    rows = frame[
        (frame["paper"] == "facecloak")
        & frame["table"].isin(["1", "2"])
        & frame["metric"].isin(["psr_top1", "psr_top5"])
    ]
    wide = rows.pivot_table(index=["table", "surrogate", "method", "metric"], columns="target", values="value")
    off = (wide["average"] - wide.drop(columns="average").mean(axis=1)).abs()
    assert set(off[off > 0.149].index) == {
        ("1", "softmax", "opom_class_center", "psr_top1"),
        ("2", "cosface", "advcloak_convex_hull", "psr_top5"),
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (GOOD.replace("6.3", ""), "a value is empty exactly when"),
        (GOOD + LOST, "a value is empty exactly when"),
        (GOOD.replace("6.3", "six"), "'six' is no number"),
        (GOOD.replace("6.3", "nan"), "'nan' is no number"),
        (GOOD.replace("6.3", "163"), "163 % is no share"),
        (GOOD.replace("%", "percent"), "unknown unit 'percent'"),
        (GOOD.replace("pgd", ""), "a part of the key is empty"),
        (GOOD + "\n" + GOOD, "line 3: the key occurs twice"),
        (GOOD + ",more", "not 11 fields"),
        (GOOD.rsplit(",", 2)[0], "not 11 fields"),
    ],
)
def test_broken_line_is_refused(line, message):
    with pytest.raises(ReportedSchemaError, match=message):
        read_table(",".join(COLUMNS) + "\n" + line + "\n", "facecloak_table1.csv")


def test_wrong_columns_are_refused():
    with pytest.raises(ReportedSchemaError, match="columns are"):
        read_table("a,b\n1,2\n", "x_table1.csv")


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(ReportedSchemaError, match="no reported tables"):
        load_reported(tmp_path)


def test_same_people_are_not_called_incomparable():
    assert comparability("Privacy-Commons v1", "privacy_commons").startswith("same protocol")
    assert comparability("synthetic world v1", "privacy_commons").startswith("not comparable")
