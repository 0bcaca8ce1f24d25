"""Methods beside the survey's tables: printed cells stay as printed, ours come from classes and measurements."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pandas as pd
import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

from cloakbench.bench.protocols.identification.report import identification_evidence
from cloakbench.bench.protocols.quality.report import quality_evidence
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.reported.printed import load_survey_table
from cloakbench.bench.report.reported.survey_answers import WHOLE_IMAGE, agreement, by_class
from cloakbench.bench.report.reporters import reporters
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.section import Reporter
from cloakbench.bench.report.table import Number, Row
from cloakbench.bench.report.tables_marks import marks_sections
from cloakbench.bench.report.tables_methods import (
    API,
    LEAKAGE,
    OPEN_SET,
    SURVEY_ROWS,
    methods_table,
    settings_table,
    survey_tables,
)

CONF = Path(__file__).parents[3] / "conf"


@pytest.fixture
def measured(results: Results) -> Measured:
    return Measured(results)


def test_every_row_that_we_map_is_printed_in_one_of_the_tables() -> None:
    printed = [load_survey_table(number) for number in (1, 2)]
    assert set(SURVEY_ROWS) <= {line[columns[0]] for columns, lines in printed for line in lines}
    assert all({OPEN_SET, API} <= set(columns) for columns, _ in printed) and LEAKAGE in printed[1][0]


def test_every_class_that_stands_in_a_row_exists() -> None:
    names = ("em_class", "rem", "opom_convex_hull", "apf", "fawkes_paper", "fawkes_v1_mid", "tip_im", "gender_an")
    names = (*names, "amt_gan", "dfpp", "deepblur", "optics", "bfr_resistant")
    targets = [OmegaConf.load(CONF / "method" / f"{name}.yaml")["_target_"] for name in names]
    assert {get_class(target).name for target in targets} == set(chain(*SURVEY_ROWS.values()))


@pytest.mark.slow
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
    unasked = "not measured: no service was asked about it in this run"
    assert all(answer["Person-specific"] == "YES" and answer["API"] == unasked for answer in ours)
    assert any(str(answer["Open-set"]).startswith("PSR ") for answer in ours)


def test_what_several_protocols_say_of_one_question_stands_in_one_cell(measured: Measured) -> None:
    def reporter(**said: str) -> Reporter:
        answers = {"evidence": lambda _, method: said if method == "opom_convex_hull" else {}}
        return cast("Reporter", SimpleNamespace(name="identification", **answers))

    both = [reporter(**{LEAKAGE: "one", OPEN_SET: "three"}), reporter(**{LEAKAGE: "two"})]
    table = survey_tables(measured, both)[1]
    places = {column.label: place for place, column in enumerate(table.columns)}
    [row] = [row for row in table.rows if row.label == "here: OPOM-ConvexHull"]
    assert (row.cells[places[LEAKAGE]], row.cells[places[OPEN_SET]]) == ("one; two", "three")
    others = [row.cells[places[LEAKAGE]] for row in table.rows if row.label.startswith("here: ")]
    assert others.count("one; two") == 1
    assert "not measured: photos of it were neither enrolled nor trained on in this run" in others


def test_what_acts_in_training_is_not_said_to_lack_a_judge_of_photos(measured: Measured) -> None:
    [opom] = [line for line in measured.results.methods.to_dict("records") if line["key"] == "opom_convex_hull"]
    em = {**opom, "key": "em", "name": "em", "goal": "poison training", "title": "EM"}
    methods = pd.concat([measured.results.methods, pd.DataFrame([em])], ignore_index=True)
    table = survey_tables(Measured(replace(measured.results, methods=methods)), [])[1]
    places = {column.label: place for place, column in enumerate(table.columns)}
    [row] = [row for row in table.rows if row.label.startswith("here") and row.section == "EM [11]"]
    reason = "not measured: it is for recognisers in training, and these are finished"
    assert row.cells[places[API]] == row.cells[places[OPEN_SET]] == reason
    assert row.cells[places[LEAKAGE]] != reason


def test_unprotected_photos_that_search_enrolled_ones_are_leakage_beside_the_clean_row(measured: Measured) -> None:
    frame = measured.results.measurements
    assert LEAKAGE not in identification_evidence(measured, [1], "opom_convex_hull")
    enrolled = frame[frame["metric"] == "psr_p2_top1"].assign(metric="psr_enrolled_top1", value=0.25, low=0.2, high=0.3)
    enrolled.loc[enrolled["method"] == "identity", ["value", "low", "high"]] = [0.02, 0.01, 0.03]
    told = Measured(replace(measured.results, measurements=pd.concat([frame, enrolled], ignore_index=True)))
    words = identification_evidence(told, [1], "opom_convex_hull")[LEAKAGE]
    assert words.startswith("PSR 25.0 [20.0, 30.0] % where protected photos are enrolled (n 500)")
    assert words.endswith(", 2.0 [1.0, 3.0] % where clean ones are")


def test_a_row_without_a_run_says_why_in_every_cell(measured: Measured) -> None:
    tables = survey_tables(measured, reporters(measured.results))
    here = {row.section: row.cells for table in tables for row in table.rows if row.label == "here"}
    assert set(here["DFPP [13]"]) == set(here["AMT-GAN [4]"]) == {"not in this run"}
    [reason] = set(here["Diff-Privacy [8]"])
    assert str(reason).startswith(
        "no weights here: it needs Stable Diffusion 1.4, CLIP, FaceNet; photos made elsewhere"
    )
    assert all(str(cell).strip() for table in tables for row in table.rows for cell in row.cells)


def test_answers_that_follow_from_what_a_run_keeps_begin_with_a_word_of_the_survey(measured: Measured) -> None:
    line = {"needs": "surrogates", "targeted": False, "person_specific": True, "official_settings": ""}
    cost = {"method": "ours", "status": "ok", "images": 10, "publication": "", "training_passes": 0}
    photo_by_photo = {**cost, "seconds_per_image": 0.05, "forward_per_image": 7.5, "backward_per_image": 6.0}
    generated = {**cost, "seconds_per_image": 0.04, "forward_per_image": 1.0, "backward_per_image": 0.0}
    generated["training_passes"] = 1200
    failed = {**cost, "status": "method_failed", "seconds_per_image": 9.0}
    slow = by_class(line, pd.DataFrame([photo_by_photo, failed]), "ours")
    assert (slow["Real-time capability"], slow["Person-specific"], slow["Hardware compatibility"]) == (
        "NO",
        "YES",
        "NO",
    )
    assert slow["Scalability"] == "Moderate: 7.5 forward and 6.0 backward passes a photo"
    quick = by_class({**line, "hardware": True}, pd.DataFrame([generated]), "ours")
    assert quick["Real-time capability"] == "YES" and quick["Hardware compatibility"].startswith("YES: ")
    assert quick["Scalability"].startswith("Low: 1.0 forward and 0.0 backward passes a photo, 1200 once")
    plain = by_class(line, pd.DataFrame([generated]), "ours")
    assert plain["Scalability"].startswith("High: ")
    assert "Scalability" not in by_class(line, pd.DataFrame([generated]), "another")


def test_agreement_counts_cells_that_both_sources_decide() -> None:
    rows = [
        Row("survey", ("YES", "Not discussed", "High", "NO"), "a"),
        Row("here: a", ("NO: 3 %", "YES", "High: 1 pass", "NO"), "a"),
        Row("survey", ("NO", "NO", "NO", "NO"), "b"),
        Row("here", ("not in this run",) * 4, "b"),
    ]
    assert agreement(rows) == "Of 3 cells that both sources decide, 2 agree."
    assert agreement(rows[2:]) == ""


@pytest.mark.slow
def test_pixels_outside_the_face_say_whether_the_whole_photo_is_changed(measured: Measured) -> None:
    frame = measured.results.measurements
    assert quality_evidence(measured, "opom_convex_hull") == {}
    told = frame[frame["metric"] == "ssim"].assign(metric="changed_outside", value=61.5, low=60.0, high=63.0)
    results = replace(measured.results, measurements=pd.concat([frame, told], ignore_index=True))
    words = quality_evidence(Measured(results), "opom_convex_hull")[WHOLE_IMAGE]
    assert words.startswith("YES: 61.5 [") and "% of the pixels outside the face (n " in words


def test_bits_that_were_read_back_are_a_table_of_their_own(measured: Measured) -> None:
    assert marks_sections(measured) == []
    costs = measured.results.costs.assign(
        bits_read=float("nan"), bits_read_low=float("nan"), bits_read_high=float("nan"), bits_written=float("nan")
    )
    costs.loc[costs.index[-1], ["bits_read", "bits_read_low", "bits_read_high", "bits_written"]] = [
        0.97,
        0.95,
        0.99,
        600,
    ]
    [section] = marks_sections(Measured(replace(measured.results, costs=costs)))
    [row] = section.tables[0].rows
    rate = row.cells[-1]
    assert row.cells[-2] == "600" and isinstance(rate, Number) and rate.words() == "97.0 [95.0, 99.0]"


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


@pytest.mark.slow
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
