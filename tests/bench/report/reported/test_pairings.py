"""Printed rows beside measured ones: all tables are shown, boxes are never mixed, bad pairings are one line."""

from __future__ import annotations

import copy
import io
import math
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml

from cloakbench.bench.core.axes import BudgetSize, split_row_name
from cloakbench.bench.protocols.identification.protocol import Identification
from cloakbench.bench.protocols.poisoning.rates import METRICS as POISONING
from cloakbench.bench.protocols.quality.learnt import Dists, DreamSim, Lpips
from cloakbench.bench.protocols.quality.metrics import L2, Linf, MsSsim, Psnr, Ssim
from cloakbench.bench.protocols.verification.protocol import Verification
from cloakbench.bench.report.archive import load_results
from cloakbench.bench.report.index import CellPlace, Measured, Place, Run
from cloakbench.bench.report.reported.beside import side_by_side_tables
from cloakbench.bench.report.reported.cards import assign, read_match
from cloakbench.bench.report.reported.lookup import Lookup
from cloakbench.bench.report.reported.paired import NOT_BLACK, NOT_WHITE, measured_cell, place, rows_beside
from cloakbench.bench.report.reported.pairings import GAIN_ENDINGS, load_pairings, read_pairings
from cloakbench.bench.report.reported.printed import ReportedSchemaError, load_lines, load_yaml
from cloakbench.bench.report.reported.shape import printed_table
from cloakbench.bench.report.reported.shown import coverage_table, paper_table
from cloakbench.bench.report.reported.tables import printed_tables, reported_tables
from cloakbench.bench.report.table import Number
from cloakbench.bench.report.table_text import to_csv, to_latex, to_markdown

from .planted import SURROGATE, TARGETS, cell, identification, planted

ROOT = Path(__file__).parents[4]
REFERENCE = ROOT / "results" / "reference" / "bench"
LINES = load_lines()
PAIRINGS = load_pairings(LINES)
EVERYWHERE = {"source": 0.99, "mobile": 0.5, "squeeze": 0.6, "arc": 0.7, "inception": 0.3, "cos": 0.8}


@pytest.fixture(scope="module")
def reference() -> Lookup:
    return Lookup(Measured(load_results(REFERENCE)))


@pytest.fixture
def content() -> dict:
    return copy.deepcopy(load_yaml("pairings.yaml"))


def texts(table):
    return [[row.label, *(c.text if isinstance(c, Number) else c for c in row.cells)] for row in table.rows]


def test_each_of_the_21_tables_is_paired_or_has_a_reason():
    assert list(PAIRINGS.tables) == sorted(LINES, key=list(PAIRINGS.tables).index)
    assert len(PAIRINGS.tables) == 21
    for name, pairing in PAIRINGS.tables.items():
        methods = {line["method"] for line in LINES[name]}
        assert methods == set(pairing.methods) | (methods & set(pairing.why_not))


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
    own = bool(PAIRINGS.tables[name].own)
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
        placed = place(pairing, reference.models)
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


def test_ir50_stands_beside_the_inception_resnet_and_never_an_ir50_network():
    rows = identification("fi_uap", EVERYWHERE) + identification("fi_uap", EVERYWHERE, "psr_p1_top5")
    lookup = planted(rows)
    table = paper_table(lookup, PAIRINGS, "facecloak_1", LINES)
    measured = [line for line in texts(table) if line[0] == "measured, 8/255 on source"]
    assert len(measured) == 1
    keys = [column.key for column in table.columns]
    values = dict(zip(keys, measured[0][1:], strict=True))
    assert values["ir50_psr_top1"] == "30.0"
    assert values["arcface_psr_top1"] == "70.0"
    assert values["cosface_psr_top1"] == "80.0", "the other CosFace network: the first is the surrogate"
    assert values["mobilenet_psr_top1"] == "50.0"
    assert values["senet_psr_top1"] == "60.0"
    assert values["sface_psr_top1"] == "–"
    assert values["average_psr_top1"] == "–", "a mean over six columns needs all six"
    assert values["black_box_psr_top1"] == f"{100 * (0.5 + 0.6 + 0.7 + 0.3 + 0.8) / 5:.1f}"
    assert values["measured_here"] == "10 of 14 columns, n 100"
    assert any("SFace Top-1" in note and "no such network in this run" in note for note in table.footnotes)


def test_a_column_for_which_only_the_surrogate_is_left_is_a_gap_with_that_reason():
    cards = (SURROGATE, TARGETS[0])
    rows = identification("fi_uap", {"source": 0.99, "mobile": 0.5})
    placed = place(PAIRINGS.tables["facecloak_1"], planted(rows, cards).models)
    lookup = planted(rows, cards)
    (row,), why_not = rows_beside(lookup, placed, "fi_uap", "cosface")
    assert why_not == ""
    assert placed.targets["cosface"] == "source"
    found = measured_cell(lookup, placed, row, "cosface", "psr_top1")
    assert not found.estimate.ok
    assert found.why_not == NOT_BLACK


def test_a_black_box_rate_does_not_stand_in_a_white_box_table(content):
    content["tables"]["facecloak_1"]["box"] = "white"
    del content["tables"]["facecloak_2"]["box"]
    lookup = planted(identification("fi_uap", EVERYWHERE))
    placed = place(read_pairings(content, LINES).tables["facecloak_1"], lookup.models)
    (row,), _ = rows_beside(lookup, placed, "fi_uap", "cosface")
    assert measured_cell(lookup, placed, row, "mobilenet", "psr_top1").why_not == NOT_WHITE
    assert measured_cell(lookup, placed, row, "cosface", "psr_top1").estimate.value == 0.99


@pytest.mark.parametrize(
    ("rows", "why_not"),
    [
        ([cell("quality", "ssim", "fi_uap", 0.9)], "no identification in this run"),
        (identification("pgd", EVERYWHERE), "not in this run"),
        (identification("fi_uap", EVERYWHERE, epsilon_255=4.0), "measured at 4/255, not at 8/255"),
        (identification("fi_uap", EVERYWHERE, surrogate="mobile"), "not measured on source"),
    ],
)
def test_a_printed_row_without_a_measurement_says_why(rows, why_not):
    lookup = planted(rows)
    placed = place(PAIRINGS.tables["facecloak_1"], lookup.models)
    assert rows_beside(lookup, placed, "fi_uap", "cosface") == ((), why_not)
    placed = place(PAIRINGS.tables["facecloak_3"], lookup.models)
    assert rows_beside(lookup, placed, "amt_gan", "not_stated") == ((), "no implementation here")


def test_a_printed_surrogate_that_is_not_in_the_run_is_said():
    lookup = planted(identification("fi_uap", EVERYWHERE))
    placed = place(PAIRINGS.tables["facecloak_1"], lookup.models)
    assert rows_beside(lookup, placed, "fi_uap", "softmax") == ((), "no such surrogate in this run")


def test_untargeted_methods_do_not_stand_beside_printed_impersonation():
    rows = [
        cell("verification", "impersonation_far_1e-2", m, 0.4, surrogate="source", judge="inception", epsilon_255=16.0)
        for m in ("pgd", "fgsm")
    ]
    lookup = planted(rows, targeted=("pgd",))
    placed = place(PAIRINGS.tables["facecloak_3"], lookup.models)
    assert rows_beside(lookup, placed, "fgsm", "not_stated") == ((), "not aimed at another person in this run")
    (row,), _ = rows_beside(lookup, placed, "pgd", "not_stated")
    assert measured_cell(lookup, placed, row, "facenet", "psr").estimate.value == 0.4
    assert placed.targets["mobileface"] == "arc"


def test_a_pairing_that_names_a_variant_is_for_its_rows_and_others_are_for_the_method_as_composed(content):
    rows = identification("fi_uap", EVERYWHERE)
    varied = identification("fi_uap", dict.fromkeys(EVERYWHERE, 0.25), variant="decay=0.5, steps=2")
    content["tables"]["facecloak_1"]["methods"]["fi_uap"] = {"method": "fi_uap", "variant": "steps=2, decay=0.50"}

    def rate(tables, *some):
        lookup = planted([row for one in some for row in one])
        placed = place(tables["facecloak_1"], lookup.models)
        found, why_not = rows_beside(lookup, placed, "fi_uap", "cosface")
        return why_not or measured_cell(lookup, placed, found[0], "mobilenet", "psr_top1").estimate.value

    named = read_pairings(content, LINES).tables
    assert rate(named, rows, varied) == 0.25
    assert rate(PAIRINGS.tables, rows, varied) == EVERYWHERE["mobile"]
    assert rate(named, rows) == rate(PAIRINGS.tables, varied) == "not in this run"


def test_a_variant_that_is_no_setting_is_refused_in_one_line(content):
    content["tables"]["facecloak_1"]["methods"]["fi_uap"] = {"method": "fi_uap", "variant": "steps 2"}
    with pytest.raises(ReportedSchemaError, match=r"fi_uap: variant is 'steps 2': write settings as in decay=0.5"):
        read_pairings(content, LINES)


def test_coverage_counts_every_printed_row(reference):
    lines = texts(coverage_table(reference, PAIRINGS, LINES))
    assert sum(int(line[2]) for line in lines) == 216
    assert {line[1]: line[3] for line in lines if line[3] != "0"} == {
        "reported_facecloak_1": "7",
        "reported_facecloak_2": "7",
        **{f"reported_facecloak_{number}": "1" for number in (5, 6, 7)},
        "reported_facecloak_8": "2",
    }


def test_the_mean_leaves_the_surrogate_out_and_a_missing_cell_is_missing():
    lookup = planted(identification("fi_uap", EVERYWHERE))
    asked = CellPlace(Place("identification", "psr_p1_top1", "none"), Run("fi_uap", BudgetSize(8.0)), "source")
    assert lookup.black_box(asked).value == pytest.approx((0.5 + 0.6 + 0.7 + 0.3 + 0.8) / 5)
    assert not lookup.rate(asked).ok


def test_a_match_is_whole_for_families_and_a_beginning_for_backbones():
    cards = pd.DataFrame(
        [
            ("hard", "target", "ir", "IR-50", "CosFace", "IR-50, adversarially trained", True),
            ("se", "target", "ir_se", "IR-SE-50", "CosFace", "", False),
            ("v1", "target", "mobilenet", "MobileNet v1", "CosFace", "", False),
        ],
        columns=["name", "roles", "family", "backbone", "head", "stands_for", "robust"],
    )
    assert assign(cards, {"x": (read_match({"family": "ir"}),)}) == {}
    assert assign(cards, {"x": (read_match({"family": "ir", "robust": True}),)}) == {"x": "hard"}
    assert assign(cards, {"x": (read_match({"backbone": "mobilenet"}),)}) == {"x": "v1"}
    assert assign(cards, {"x": (read_match({"head": "cosface"}),)}, avoid=("se",)) == {"x": "v1"}
    assert assign(cards, {"x": (read_match({"family": "ir_se"}),)}, avoid=("se",)) == {"x": "se"}


def test_every_paired_method_is_one_that_can_be_run():
    methods = {path.stem for path in (ROOT / "conf" / "method").glob("*.yaml")}
    rows = {paired.method for pairing in PAIRINGS.tables.values() for paired in pairing.methods.values()}
    assert {split_row_name(row)[0] for row in rows} <= methods
    no_method = {
        key for pairing in PAIRINGS.tables.values() for key, why in pairing.why_not.items() if "no impl" in why
    }
    assert not no_method & methods


def test_every_paired_metric_is_one_that_is_measured():
    measured = {
        "identification": Identification().metrics,
        "verification": Verification().metrics,
        "poisoning": POISONING,
        "quality": tuple(one.described for one in (Ssim, MsSsim, Psnr, Lpips, Dists, DreamSim, L2, Linf)),
    }
    names = {protocol: {metric.name for metric in metrics} for protocol, metrics in measured.items()}
    for table in PAIRINGS.tables.values():
        for printed, metric in table.metrics.items():
            known = names[table.protocol] | names["quality"]
            assert metric in known, f"{table.name}: {printed} is paired with {metric}, which nobody measures"


def set_in(content, path, value):
    *way, last = path.split("/")
    for key in way:
        content = content[key]
    content[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("tables/facecloak_9", {}, "facecloak_9: no CSV file holds such a table"),
        ("tables/facecloak_3/methods/nobody", "pgd", "facecloak_3: the table prints no method 'nobody'"),
        ("tables/facecloak_3/methods/fgsm", {}, "facecloak_3: fgsm names no measured method"),
        ("tables/facecloak_3/reported_only/fgsm", "no_method", "'fgsm' is both paired and reported only"),
        ("tables/facecloak_3/reported_only", {}, "'adv_makeup' is neither paired nor given a reason"),
        ("tables/facecloak_3/reported_only/gift", "why", "unknown reason 'why' for gift"),
        ("tables/facecloak_3/metrics", {}, "metric 'psr' is neither paired nor given a reason"),
        ("tables/facecloak_3/metrics/mosr", "psr", "the table prints no metric 'mosr'"),
        ("tables/facecloak_3/targets", "nets", "no networks are called 'nets'"),
        ("tables/facecloak_3/targets", "facecloak_identification", "target 'arcface' is printed without a match"),
        ("tables/facecloak_3/box", "grey", "box is 'grey'; use black, white or none"),
        ("tables/facecloak_3/colour", 1, "unknown key 'colour'"),
        ("tables/facecloak_3/targeted", "yes", "targeted cannot be 'yes'"),
        ("tables/veil_1", {"label": "x"}, "veil_1: an entry has at least label, title and reported_only"),
        ("networks/facecloak_verification/ir152", [{"depth": "152"}], "a model card has no column 'depth'"),
        ("networks/facecloak_verification/ir152", [{"robust": True}], "matches no model card"),
        ("networks/facecloak_verification/ir152", 3, "networks.facecloak_verification"),
        ("side_by_side", ["veil_1"], "side_by_side: 'veil_1' is no table with a measurement beside it"),
        ("names/nobody", "Nobody", "no table prints 'nobody'"),
        ("more", {}, "'more' is missing or unknown at the top"),
    ],
)
def test_a_bad_pairing_is_refused_in_one_line(content, path, value, message):
    set_in(content, path, value)
    with pytest.raises(ReportedSchemaError) as refused:
        read_pairings(content, LINES)
    assert message in str(refused.value)
    assert str(refused.value).startswith("pairings.yaml")
    assert "\n" not in str(refused.value)


def test_a_table_without_an_entry_is_refused(content):
    del content["tables"]["veil_3"]
    with pytest.raises(ReportedSchemaError, match="veil_3 has no entry under tables"):
        read_pairings(content, LINES)


def test_a_key_given_twice_is_refused(tmp_path, monkeypatch):
    (tmp_path / "pairings.yaml").write_text("a: 1\nb: 2\na: 3\n", encoding="utf-8")
    monkeypatch.setattr("cloakbench.bench.report.reported.printed.reported_folder", lambda: tmp_path)
    with pytest.raises(ReportedSchemaError, match=r"^pairings.yaml: a is given twice .*line 1") as refused:
        load_yaml("pairings.yaml")
    assert "\n" not in str(refused.value)
    (tmp_path / "pairings.yaml").write_text(yaml.safe_dump([1]), encoding="utf-8")
    with pytest.raises(ReportedSchemaError, match="expected a mapping"):
        load_yaml("pairings.yaml")


def test_a_report_shows_claims_and_coverage_beside_the_pairs_and_any_table_on_request(reference):
    names = [table.name for table in reported_tables(reference)]
    assert names == ["reported_beside_measured", "reported_differences", "reported_claims", "reported_coverage"]
    assert len(printed_tables(reference)) == 21
    assert [table.name for table in printed_tables(reference, ("veil_2",))] == ["reported_veil_2"]


SFACE = ("sface", "target", "resnet", "FaceResNet", "SFace", "ResNet-18", False)


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


FOUR = (
    ("deep", "surrogate, target", "ir", "IResNet", "CosFace", "IR-50", False),
    ("gated", "surrogate, target", "ir_se", "IResNet", "CosFace", "IRSE-50", False),
    ("inception", "surrogate, target", "inception_resnet", "InceptionResnetV1", "CosFace", "", False),
    ("phone", "surrogate, target", "mobilefacenet", "MobileFaceNet", "ArcFace", "MobileFaceNet", False),
)


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
