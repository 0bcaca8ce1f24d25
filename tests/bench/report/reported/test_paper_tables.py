"""Papers' tables in their own shape: every printed number, ours under it, means, gains, notes, coverage."""

from __future__ import annotations

import io
import math
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from cloakbench.bench.report.archive import load_results
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.reported.beside import side_by_side_tables
from cloakbench.bench.report.reported.lookup import Lookup
from cloakbench.bench.report.reported.paired import measured_cell, place, rows_beside
from cloakbench.bench.report.reported.pairings import GAIN_ENDINGS, load_pairings
from cloakbench.bench.report.reported.printed import load_lines
from cloakbench.bench.report.reported.shape import printed_table
from cloakbench.bench.report.reported.shown import coverage_table, paper_table
from cloakbench.bench.report.reported.tables import printed_tables, reported_tables
from cloakbench.bench.report.table import Number
from cloakbench.bench.report.table_text import to_csv, to_latex, to_markdown

from .planted import SURROGATE, TARGETS, VEIL_SURROGATES, cell, identification, planted, veil_rows

ROOT = Path(__file__).parents[4]
REFERENCE = ROOT / "results" / "reference" / "bench"
LINES = load_lines()
PAIRINGS = load_pairings(LINES)
EVERYWHERE = {"source": 0.99, "mobile": 0.5, "squeeze": 0.6, "arc": 0.7, "inception": 0.3, "cos": 0.8}
SFACE = ("sface", "target", "resnet", "FaceResNet", "SFace", "ResNet-18", False)
FOUR = (
    ("deep", "surrogate, target", "ir", "IResNet", "CosFace", "IR-50", False),
    ("gated", "surrogate, target", "ir_se", "IResNet", "CosFace", "IRSE-50", False),
    ("inception", "surrogate, target", "inception_resnet", "InceptionResnetV1", "CosFace", "", False),
    ("phone", "surrogate, target", "mobilefacenet", "MobileFaceNet", "ArcFace", "MobileFaceNet", False),
)


@pytest.fixture(scope="module")
def reference() -> Lookup:
    return Lookup(Measured(load_results(REFERENCE)))


def texts(table):
    return [[row.label, *(c.text if isinstance(c, Number) else c for c in row.cells)] for row in table.rows]


@pytest.mark.parametrize("name", sorted(LINES))
def test_every_printed_number_of_a_table_is_shown(name, reference):
    table = paper_table(reference, PAIRINGS, name, LINES)
    shown = [
        cell.text
        for row in table.rows
        if not row.label.startswith("measured")
        for cell in row.cells
        if isinstance(cell, Number) and not math.isnan(cell.value)
    ]
    own = bool(PAIRINGS.tables[name].own or PAIRINGS.tables[name].base)
    printed = [
        line["value"] for line in LINES[name] if line["printed"] and (own or not line["metric"].endswith(GAIN_ENDINGS))
    ]
    assert sorted(float(one.replace("−", "-")) for one in shown) == sorted(printed)
    assert all(render(table) for render in (to_markdown, to_csv, to_latex))
    for row in table.rows:
        assert row.cells[-1], f"{row.label} says neither that it is measured nor why not"


def test_a_table_that_does_not_exist_is_refused_with_the_names(reference):
    with pytest.raises(ValueError, match="no reported table is called 'facecloak_9'; use one of facecloak_1"):
        paper_table(reference, PAIRINGS, "facecloak_9", LINES)


def test_no_measured_number_of_the_reference_run_is_of_another_box(reference):
    frame = load_results(REFERENCE).measurements
    found = Counter()
    for name, pairing in PAIRINGS.tables.items():
        placed = place(reference, pairing)
        printed = printed_table(pairing, LINES[name])
        for _, surrogate, method in printed.rows:
            for row in rows_beside(reference, placed, method, surrogate)[0]:
                for target, metric in printed.columns:
                    number = measured_cell(reference, placed, row, target, metric).estimate
                    if number.ok and target in placed.targets:
                        found[name] += 1
                        same = frame[
                            (frame["method"] == row.run.method)
                            & (frame["metric"] == pairing.metrics[metric])
                            & (frame["surrogate"] == row.surrogate)
                            & (frame["judge"] == placed.targets[target])
                            & (frame["condition"] == "none")
                            & (frame["epsilon_255"].fillna(0) == (row.run.budget.number if row.run.budget else 0))
                        ]
                        assert list(same["white_box"]) == [False]
                        assert list(same["value"]) == [number.value]
    seven = 7 * 6 * 2  # methods, networks, Top-1 and Top-5
    ablated = {f"facecloak_{number}": 6 for number in (5, 6, 7)}  # FaceCloak as Table I has it, by network
    assert found == {"facecloak_1": seven, "facecloak_2": seven, **ablated}


def test_reference_numbers_are_as_before_but_for_the_ir50_column(reference):
    """The committed tables were made when IR50 stood beside the surrogate itself, an IR-50."""
    paired, differences = side_by_side_tables(reference, PAIRINGS, LINES)
    for table in (paired, differences):
        before = pd.read_csv(REFERENCE / "tables" / f"{table.name}.csv").astype(str)
        now = pd.read_csv(io.StringIO(to_csv(table))).astype(str)
        assert list(now.columns) == list(before.columns)
        if table is paired:
            kept = [column for column in before if not column.startswith(("ir50", "surrogate"))]
            assert now[kept].to_dict() == before[kept].to_dict()
        else:
            others = now["target"] != "cosface_inception_resnet"
            assert 0 < list(others).count(True) < len(now)
            assert now[others].to_dict() == before[others].to_dict()


def test_coverage_counts_every_printed_row(reference):
    lines = texts(coverage_table(reference, PAIRINGS, LINES))
    assert sum(int(line[2]) for line in lines) == 216
    assert {line[1]: line[3] for line in lines if line[3] != "0"} == {
        "reported_facecloak_1": "7",
        "reported_facecloak_2": "7",
        **{f"reported_facecloak_{number}": "1" for number in (5, 6, 7)},
        "reported_facecloak_8": "2",
        "reported_veil_1": "1",
        "reported_veil_2": "1",
        "reported_veil_3": "1",
        "reported_invisible_face_1": "2",
        **{f"reported_invisible_face_{number}": "1" for number in (5, 6, 7, 9, 10)},
    }


def test_a_report_shows_claims_and_coverage_beside_the_pairs_and_any_table_on_request(reference):
    names = [table.name for table in reported_tables(reference)]
    assert names == ["reported_beside_measured", "reported_differences", "reported_claims", "reported_coverage"]
    assert len(printed_tables(reference)) == 21
    assert [table.name for table in printed_tables(reference, ("veil_2",))] == ["reported_veil_2"]


def test_the_mean_of_a_measured_row_is_over_the_printed_columns_and_the_black_box_one_beside_it():
    """As in the paper, whose mean has the column that is the surrogate itself."""
    cards = (*((SURROGATE[0], "surrogate, target", *SURROGATE[2:]),), *TARGETS[:4], SFACE)
    rates = {"source": 0.9, "mobile": 0.5, "squeeze": 0.6, "arc": 0.7, "inception": 0.3, "sface": 0.4}
    table = paper_table(planted(identification("fi_uap", rates), cards), PAIRINGS, "facecloak_1", LINES)
    keys = [column.key for column in table.columns]
    measured = next(row for row in table.rows if row.label.startswith("measured, 8/255 on source"))
    values = dict(zip(keys, measured.cells, strict=True))
    assert values["cosface_psr_top1"].text == "–", "the only CosFace network is the surrogate"
    assert values["average_psr_top1"].text == f"{100 * sum(rates.values()) / 6:.1f}"
    assert values["average_psr_top1"].marks == "†"
    assert values["black_box_psr_top1"].text == f"{100 * (sum(rates.values()) - 0.9) / 5:.1f}"
    printed = next(row for row in table.rows if row.label == "FI-UAP")
    assert dict(zip(keys, printed.cells, strict=True))["black_box_psr_top1"] == ""


def test_a_block_ends_with_the_distance_from_the_best_other_method_printed_and_measured():
    rows = [
        row
        for method, factor in (("fi_uap", 0.5), ("opom_convex_hull", 0.8), ("facecloak", 1.0))
        for row in identification(method, {name: factor * rate for name, rate in EVERYWHERE.items()})
    ]
    table = paper_table(planted(rows), PAIRINGS, "facecloak_1", LINES)
    of_block = [row for row in table.rows if row.section == "Surrogate: CosFace (here source)"]
    printed, measured = of_block[-2:]
    keys = [column.key for column in table.columns]
    assert (printed.label, measured.label) == ("minus the best other, printed", "measured, minus the best other")
    values = dict(zip(keys, measured.cells, strict=True))
    assert values["mobilenet_psr_top1"].value == pytest.approx(100 * 0.2 * EVERYWHERE["mobile"])
    assert values["measured_here"].startswith("best other in columns: OPOM-ConvexHull")
    gains = [line for line in LINES["facecloak_1"] if line["metric"] == "psr_top1_gain_printed"]
    first = next(line for line in gains if (line["surrogate"], line["target"]) == ("cosface", "arcface"))
    assert dict(zip(keys, printed.cells, strict=True))["arcface_psr_top1"].value == first["value"]


def test_each_column_of_a_leave_one_out_table_is_of_the_ensemble_without_its_target():
    names = [card[0] for card in FOUR]
    rows = [
        cell(
            "verification",
            metric,
            "pgd",
            0.1 * (1 + place) + (0.5 if judge != left_out else 0) + 0.01 * ("legacy" in metric),
            surrogate=f"without_{left_out}",
            judge=judge,
            epsilon_255=16.0,
            white_box=judge != left_out,
        )
        for metric in ("impersonation_far_1e-2", "impersonation_legacy_far_1e-2")
        for left_out in names
        for place, judge in enumerate(names)
    ]
    table = paper_table(planted(rows, FOUR, targeted=("pgd",)), PAIRINGS, "facecloak_3", LINES)
    calibrated, legacy = (row for row in table.rows if row.label.startswith("measured, 16/255"))
    assert calibrated.label == "measured, 16/255 on the ensemble without the target"
    assert legacy.label == f"{calibrated.label}, legacy thresholds"
    assert [one.text for one in calibrated.cells[:5]] == ["10.0", "20.0", "30.0", "40.0", "25.0"]
    assert [one.text for one in legacy.cells[:5]] == ["11.0", "21.0", "31.0", "41.0", "26.0"]
    assert len([row for row in table.rows if not row.label.startswith("measured")]) == 19


def test_a_metric_without_any_number_has_a_note_and_no_rows_of_gaps():
    metrics = ("impersonation_far_1e-2", "impersonation_legacy_far_1e-2")
    gap = {"status": "unavailable", "note": "no legacy constant"}
    rows = [
        cell("verification", metric, "pgd", 0.5, judge="gated", surrogate="deep", epsilon_255=16.0) | given
        for metric, given in zip(metrics, ({}, gap), strict=True)
    ]
    table = paper_table(planted(rows, FOUR, targeted=("pgd",)), PAIRINGS, "facecloak_3", LINES)
    assert [row.label for row in table.rows if row.label.startswith("measured")] == ["measured, 16/255 on deep"]
    assert "No rows by legacy thresholds: no legacy constant." in table.footnotes


def test_a_table_that_no_network_judges_has_one_row_of_a_method_over_all_surrogates():
    rows = [
        cell("quality", metric, "tip_im", value, surrogate=name, epsilon_255=16.0)
        for metric, values in (("ssim", (0.8, 0.9)), ("psnr", (30.0, 31.0)))
        for name, value in zip(("deep", "gated"), values, strict=True)
    ]
    table = paper_table(planted(rows, FOUR), PAIRINGS, "facecloak_4", LINES)
    measured = [line for line in texts(table) if line[0].startswith("measured")]
    assert [line[:3] for line in measured] == [["measured, 16/255, mean over 2 surrogates", "0.85", "30.50"]]


def test_caveats_of_the_register_and_numbers_lost_from_the_text_stand_under_a_table(reference):
    notes = paper_table(reference, PAIRINGS, "facecloak_1", LINES).footnotes
    assert any(note.startswith("D-08, paper: ") for note in notes)
    assert any("lost in the text" in note for note in notes)
    assert any("Tables V to VII" in note for note in paper_table(reference, PAIRINGS, "facecloak_6", LINES).footnotes)


def test_without_a_matching_network_nothing_stands_side_by_side():
    lookup = planted([cell("quality", "ssim", "tip_im", 0.9)])
    assert side_by_side_tables(lookup, PAIRINGS, LINES) == []


def test_veils_stand_beside_the_surrogate_of_their_loss_and_end_with_their_change():
    table = paper_table(planted(veil_rows("veil_3"), VEIL_SURROGATES), PAIRINGS, "veil_3", LINES)
    lines = texts(table)
    printed = [line for line in lines if line[-1] == "measured below"]
    assert len(printed) == 6
    for line in printed:
        assert lines[lines.index(line) + 1][1:3] == line[1:3], "measured numbers are the planted ones, by surrogate"
    assert {row.section for row in table.rows} == {
        f"Surrogate: {letter}-ResNet (here {loss})"
        for letter, loss in (("S", "softmax"), ("L", "cosface"), ("A", "arcface"))
    }
    changes = [line[1:3] for line in lines if line[-1] == "change"]
    assert len(changes) == 6
    for asked, found in zip(changes[::2], changes[1::2], strict=True):
        assert found == asked, "as printed: with block variance minus without"


def test_a_metric_that_is_a_gap_does_not_take_further_rows_with_it():
    """LPIPS needs a file; unseen photos have an SSIM all the same."""
    rows = [row | {"metric": row["metric"].removesuffix("_seen")} for row in veil_rows("veil_1")]
    rows = [row for row in veil_rows("veil_1") + rows if "lpips" not in row["metric"]]
    found = texts(paper_table(planted(rows, VEIL_SURROGATES), PAIRINGS, "veil_1", LINES))
    assert sum(line[0].endswith("unseen photos") for line in found) == 6
