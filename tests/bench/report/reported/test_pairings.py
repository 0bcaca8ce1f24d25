"""Printed rows beside measured ones: all tables are shown, boxes are never mixed, bad pairings are one line."""

from __future__ import annotations

import copy
from pathlib import Path

import pandas as pd
import pytest
import yaml
from omegaconf import OmegaConf

from cloakbench.bench.config.build import build
from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.axes import BudgetSize, split_row_name
from cloakbench.bench.protocols.identification.protocol import Identification
from cloakbench.bench.protocols.poisoning.rates import METRICS as POISONING
from cloakbench.bench.protocols.quality.learnt import Dists, DreamSim, Lpips
from cloakbench.bench.protocols.quality.metrics import L2, Linf, MsSsim, Psnr, Ssim
from cloakbench.bench.protocols.verification.protocol import Verification
from cloakbench.bench.report.index import CellPlace, Place, Run
from cloakbench.bench.report.reported.cards import assign, read_match
from cloakbench.bench.report.reported.paired import NOT_BLACK, NOT_WHITE, measured_cell, place, rows_beside
from cloakbench.bench.report.reported.pairings import load_pairings, read_pairings
from cloakbench.bench.report.reported.printed import ReportedSchemaError, load_lines, load_yaml
from cloakbench.bench.report.reported.shown import paper_table
from cloakbench.bench.report.table import Number

from .planted import SURROGATE, TARGETS, cell, identification, planted

ROOT = Path(__file__).parents[4]
LINES = load_lines()
PAIRINGS = load_pairings(LINES)
EVERYWHERE = {"source": 0.99, "mobile": 0.5, "squeeze": 0.6, "arc": 0.7, "inception": 0.3, "cos": 0.8}


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
    placed = place(planted(rows, cards), PAIRINGS.tables["facecloak_1"])
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
    placed = place(lookup, read_pairings(content, LINES).tables["facecloak_1"])
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
    placed = place(lookup, PAIRINGS.tables["facecloak_1"])
    assert rows_beside(lookup, placed, "fi_uap", "cosface") == ((), why_not)
    placed = place(lookup, PAIRINGS.tables["facecloak_3"])
    small = "the small version here leaves its person and imitates nobody"
    assert rows_beside(lookup, placed, "amt_gan", "not_stated") == ((), small)


def test_a_printed_surrogate_that_is_not_in_the_run_is_said():
    lookup = planted(identification("fi_uap", EVERYWHERE))
    placed = place(lookup, PAIRINGS.tables["facecloak_1"])
    assert rows_beside(lookup, placed, "fi_uap", "softmax") == ((), "no such surrogate in this run")


def test_untargeted_methods_do_not_stand_beside_printed_impersonation():
    rows = [
        cell("verification", "impersonation_far_1e-2", m, 0.4, surrogate="source", judge="inception", epsilon_255=16.0)
        for m in ("pgd", "fgsm")
    ]
    lookup = planted(rows, targeted=("pgd",))
    placed = place(lookup, PAIRINGS.tables["facecloak_3"])
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
        placed = place(lookup, tables["facecloak_1"])
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
    config = compose_config(["experiment=veil_table2"]).protocols.visual
    visual = build(OmegaConf.to_container(config, resolve=True), "protocols.visual")
    hidden = compose_config(["experiment=invisible_face_table1"]).protocols.attributes
    attributes = build(OmegaConf.to_container(hidden, resolve=True), "protocols.attributes")
    asked = compose_config(["experiment=invisible_face_table4"]).protocols.remote
    remote = build(OmegaConf.to_container(asked, resolve=True), "protocols.remote")
    measured = {
        "remote": remote.metrics,
        "attributes": attributes.metrics,
        "identification": Identification().metrics,
        "verification": Verification().metrics,
        "poisoning": POISONING,
        "visual": visual.metrics,
        "quality": tuple(one.described for one in (Ssim, MsSsim, Psnr, Lpips, Dists, DreamSim, L2, Linf)),
    }
    names = {protocol: {metric.name for metric in metrics} for protocol, metrics in measured.items()}
    for table in PAIRINGS.tables.values():
        further = table.also.values() if table.protocol == "visual" else ()  # others name metrics of attacked networks
        for printed, metric in [pair for group in (table.metrics, *further) for pair in group.items()]:
            protocol, _, name = metric.rpartition(".")
            known = names[protocol or table.protocol] | names["quality"]
            assert name in known, f"{table.name}: {printed} is paired with {metric}, which nobody measures"


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
        ("tables/veil_3/base", "avih", "base is 'avih', which the table does not print"),
        (
            "side_by_side",
            ["invisible_face_3"],
            "side_by_side: 'invisible_face_3' is no table with a measurement",
        ),
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
