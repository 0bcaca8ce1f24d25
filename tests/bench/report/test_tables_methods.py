"""Methods beside the survey's tables: printed cells stay as printed, ours come from classes and measurements."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.reported.printed import load_survey_table
from cloakbench.bench.report.reporters import reporters
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.tables_methods import SURVEY_ROWS, methods_table, settings_table, survey_tables


@pytest.fixture
def measured(results: Results) -> Measured:
    return Measured(results)


def test_every_row_of_table_two_that_we_map_is_printed_there() -> None:
    columns, lines = load_survey_table(2)
    assert set(SURVEY_ROWS) <= {line[columns[0]] for line in lines}


def test_a_run_without_a_method_of_the_survey_has_no_survey_table(measured: Measured) -> None:
    results = replace(measured.results, methods=measured.results.methods.assign(name="pgd"))
    assert survey_tables(Measured(results), reporters(results)) == []
    assert methods_table(Measured(results)) is not None


def test_printed_cells_stand_over_what_the_run_says(measured: Measured) -> None:
    tables = survey_tables(measured, reporters(measured.results))
    assert [table.name for table in tables] == ["survey_table1", "survey_table2"]
    rows = [row for row in tables[1].rows if row.section == "OPOM [3]"]
    keys = [column.label for column in tables[1].columns]
    printed = dict(zip(keys, rows[0].cells, strict=True))
    assert printed == {
        "Auxiliary data requirement": "NO",
        "API": "YES",
        "Open-set": "YES",
        "Target-identity": "NO",
        "Person-specific": "YES",
        "Effective for out-of-distribution data leakage": "Not discussed",
    }
    ours = [dict(zip(keys, row.cells, strict=True)) for row in rows[1:]]
    variants = [key for key in measured.results.methods["key"] if str(key).startswith("opom")]
    assert len(ours) == len(variants) > 0
    assert all(answer["Person-specific"] == "YES" and answer["API"] == "not measured" for answer in ours)
    assert any(str(answer["Open-set"]).startswith("PSR ") for answer in ours)


def test_a_row_without_a_run_says_whether_there_is_an_implementation(measured: Measured) -> None:
    here = {
        row.section: row.cells[0]
        for row in survey_tables(measured, reporters(measured.results))[1].rows
        if row.label == "here"
    }
    assert (here["DFPP [13]"], here["APF [14]"]) == ("no implementation here", "not in this run")


def test_needs_decide_about_auxiliary_data(measured: Measured) -> None:
    methods = measured.results.methods.copy()
    methods["needs"] = pd.Series("auxiliary, surrogates", index=methods.index)
    table = survey_tables(Measured(replace(measured.results, methods=methods)), reporters(measured.results))[1]
    ours = [row for row in table.rows if row.section == "OPOM [3]" and row.label != "survey"]
    assert ours and all(row.cells[0] == "YES" for row in ours)


def test_controls_aim_at_nothing(measured: Measured) -> None:
    table = methods_table(measured)
    assert table is not None
    goals = {row.label: row.cells[0] for row in table.rows}
    assert goals["Clean photo"] == goals["Random sign (control)"] == "none: a control"
    assert goals["OPOM-ConvexHull"] == "evade recognition"


def test_a_title_of_the_run_is_printed_and_a_run_that_kept_none_has_the_usual_names(measured: Measured) -> None:
    methods = measured.results.methods
    titled = Measured(replace(measured.results, methods=methods.assign(title=[f"<{key}>" for key in methods["key"]])))
    table, usual = methods_table(titled), methods_table(measured)
    assert table is not None and usual is not None
    assert sorted(row.label for row in table.rows) == sorted(f"<{key}>" for key in methods["key"])
    assert [row.cells for row in table.rows] == [row.cells for row in usual.rows], "the order is the same"


def test_a_variant_has_the_title_of_its_method_and_its_settings(measured: Measured) -> None:
    methods = pd.DataFrame({"key": ["pgd"], "variant": ["steps=2"], "title": ["Ours"]})
    assert Measured(replace(measured.results, methods=methods)).title("pgd (steps=2)") == "Ours (steps=2)"


def test_settings_of_papers_and_departures_from_them_are_printed_once_for_methods_that_share_them(
    measured: Measured,
) -> None:
    assert settings_table(measured) is None
    methods = measured.results.methods
    ours = methods["key"].str.startswith("opom")
    told = methods.assign(
        title=methods["key"],
        official_settings=ours.map({True: "16 steps", False: ""}),
        deviations=methods["key"].map({"pgd": "no cross-entropy"}).fillna(""),
    )
    table = settings_table(Measured(replace(measured.results, methods=told)))
    assert table is not None
    assert {row.label: row.cells for row in table.rows} == {
        "pgd": ("", "no cross-entropy"),
        ", ".join(methods["key"][ours]): ("16 steps", ""),
    }
