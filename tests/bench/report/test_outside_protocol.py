"""Protocols and metrics of somebody's own package are reported, listed and diagnosed like ours; nothing is lost."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from cloakbench.bench.cli import doctor
from cloakbench.bench.cli.list import main as list_names
from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.config.node_keys import node_code, node_settings
from cloakbench.bench.core import code_digests
from cloakbench.bench.engine.protocol import Protocol
from cloakbench.bench.experiment.run import Outcome, run
from cloakbench.bench.protocols.identification.protocol import Identification
from cloakbench.bench.protocols.poisoning.protocol import Poisoning
from cloakbench.bench.protocols.quality.protocol import Quality
from cloakbench.bench.protocols.verification.protocol import Verification
from cloakbench.bench.report.archive import load_results
from cloakbench.bench.report.decisions.columns import DECIDED
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.reporters import reporters
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.writer import write_report

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("pdf_left_out")]

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, faces_cache: Path) -> Outcome:
    """A run with the protocol, and with depths and rates that no table of ours names."""
    folder = tmp_path_factory.mktemp("glance")
    words = ["experiment=tiny_glance", f"paths.results={folder}", f"paths.cache={faces_cache}", "runtime.workers=0"]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(CONFIG_DIR.parent))
        return run(compose_config(words, config_dirs=[str(CONFIG_DIR)]))


@pytest.fixture(scope="module")
def results(finished: Outcome) -> Results:
    return load_results(finished.folder)


def report_of(folder: Path) -> str:
    return (folder / "report.md").read_text(encoding="utf-8")


def header(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as stream:
        return next(csv.reader(stream))


def test_it_has_its_section_in_the_order_of_the_experiment(finished: Outcome) -> None:
    report = report_of(finished.folder)
    headings = re.findall(r"^## (.*)$", report, re.MULTILINE)
    assert headings.index("Picture quality") + 1 == headings.index("At a glance")
    section = report.split("## At a glance")[1].split("\n## ")[0]
    assert "figures/glance.png" in section and "Light in the eyes of observers." in section
    assert (finished.folder / "figures" / "glance.pdf").is_file()
    assert re.search(r"mole.*owl", section) and "Light ↓ (grey levels)" in section
    assert "Dark glasses 0.5" in section
    assert "- nobody looked twice." in report


def test_a_metric_that_its_sections_leave_out_stands_at_the_end(finished: Outcome) -> None:
    report = report_of(finished.folder)
    assert "Shade" not in report.split("## At a glance")[1].split("\n## ")[0]
    left = report.split("## Also measured")[1]
    assert "Shade (grey levels)" in left
    assert "owl_seen_shade" in header(finished.folder / "tables" / "also_glance.csv")
    assert "also_by_condition_glance.csv" in left


def test_its_numbers_are_among_all_measurements(finished: Outcome) -> None:
    frame = pd.read_csv(finished.folder / "tables" / "measurements.csv", keep_default_na=False)
    rows = frame[frame["protocol"] == "glance"]
    assert set(rows["metric"]) == {"seen_light", "seen_shade"}
    assert set(rows["judge"]) == {"owl", "mole"}
    assert set(rows["condition"]) == {"none", "shade_0.5"}
    light = rows[(rows["metric"] == "seen_light") & (rows["condition"] == "none")].astype({"value": float})
    by_observer = light.groupby("judge")["value"].mean()
    assert by_observer["owl"] == pytest.approx(4 * by_observer["mole"])


def test_every_metric_that_was_measured_is_in_a_table(finished: Outcome) -> None:
    """With ``ks=[1,20] fars=[0.05]``."""
    tables = sorted((finished.folder / "tables").glob("*.csv"))
    columns = " ".join(name for path in tables if path.stem != "measurements" for name in header(path))
    measured = set(pd.read_csv(finished.folder / "tables" / "measurements.csv")["metric"])
    assert {"psr_p1_top20", "psr_p2_top20_given_clean", "dodging_far_5e-2", "impersonation_far_5e-2"} <= measured
    assert [
        metric for metric in sorted(measured) if not re.search(rf"(^|[ _]){re.escape(metric)}([ _]|$)", columns)
    ] == []
    report = report_of(finished.folder)
    assert "Each cell: Top-1 / Top-20." in report
    assert "at false accept rates 5e-2." in report


def test_its_judges_are_nobody_that_recognisers_are_averaged_with(results: Results) -> None:
    index = Measured(results)
    assert index.judges("psr_p2_top1") == ("tiny1", "tiny2")
    assert index.judges("seen_light") == ("mole", "owl")
    assert not [target for _, _, target in index.absent() if target in ("owl", "mole")]


def test_it_can_be_listed_and_says_what_it_lacks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    list_names(["protocols", "--config-dir", str(CONFIG_DIR)])
    assert re.search(r"glance +How light photos look to observers", capsys.readouterr().out)
    monkeypatch.setattr(doctor, "group_options", lambda group, _: ["tiny_glance"] * (group == "experiment"))
    [diagnosis] = doctor.diagnose([str(CONFIG_DIR)], measured=False)  # of all experiments it would take seconds
    assert "a lamp" in [part.what for part in diagnosis.missing]


def test_an_added_metric_is_measured_wherever_its_protocol_is_and_printed(finished: Outcome) -> None:
    frame = pd.read_csv(finished.folder / "tables" / "measurements.csv", keep_default_na=False)
    rows = frame[frame["metric"] == "margin"]
    assert set(rows["protocol"]) == {"identification"}
    assert set(zip(rows["method"], rows["judge"], strict=True)) == {
        (method, judge) for method in ("identity", "random_sign", "fgsm") for judge in ("tiny1", "tiny2")
    }
    records = pd.read_parquet(finished.folder / "data" / "records_identification.parquet")
    for row in rows.to_dict("records"):
        own = records[(records["method"] == row["method"]) & (records["judge"] == row["judge"])]
        margins = own["best_distractor_similarity"] - own["best_mate_similarity"]
        assert float(row["value"]) == pytest.approx(margins.mean())
        assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
    left = report_of(finished.folder).split("## Also measured")[1]
    assert "Identification: also measured" in left and "Margin ↑ (cosine)" in left


def test_an_image_metric_of_ones_own_stands_in_the_table_of_ours(finished: Outcome) -> None:
    section = report_of(finished.folder).split("## Picture quality")[1].split("\n## ")[0]
    assert "Linf (grey levels)" in section and "Mean change ↑ (grey levels)" in section
    frame = pd.read_csv(finished.folder / "tables" / "measurements.csv", keep_default_na=False)
    rows = frame[frame["metric"] == "mean_change_255"].set_index("method")["value"].astype(float)
    assert rows["identity"] == 0
    assert 7 < rows["random_sign"] <= 8 and 7 < rows["fgsm"] <= 8


def test_metrics_of_ones_own_can_be_listed_and_say_what_they_lack(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    list_names(["metrics", "--config-dir", str(CONFIG_DIR)])
    assert re.search(r"margin +By how much the best stranger", capsys.readouterr().out)
    list_names(["image_metrics", "--config-dir", str(CONFIG_DIR)])
    assert re.search(r"mean_change +Mean absolute difference", capsys.readouterr().out)
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "without_ruler.yaml").write_text(
        "# @package _global_\n# Without a ruler.\ndefaults: [tiny_glance, _self_]\nmetrics: {margin: {ruler: false}}\n"
        "protocols: {quality: {image_metrics: {mean_change: {ruler: false}}}}\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(doctor, "group_options", lambda group, _: ["without_ruler"] * (group == "experiment"))
    [diagnosis] = doctor.diagnose([str(CONFIG_DIR), str(tmp_path)], measured=False)
    told = {str(lack) for lack in diagnosis.missing}
    assert {"Margin: metrics.margin.ruler=true", "Mean change: image_metrics.mean_change.ruler=true"} <= told
    assert diagnosis.ready


def test_one_metric_more_ages_no_photo_no_answer_and_no_value(faces_cache: Path, tmp_path: Path) -> None:
    words = ["experiment=tiny_glance", f"paths.results={tmp_path}", f"paths.cache={faces_cache}", "runtime.workers=0"]
    words += ["dataset.identities=2", "dataset.probes_per_identity=2", "~model@targets.tiny2", "report.figures=false"]

    def stored() -> dict[str, int]:
        files = (tmp_path / "store").rglob("*.*")
        return {str(path.relative_to(tmp_path / "store")): path.stat().st_mtime_ns for path in files if path.is_file()}

    fewer = ["~metric@metrics.margin", "~image_metric@protocols.quality.image_metrics.mean_change"]
    run(compose_config([*words, *fewer], config_dirs=[str(CONFIG_DIR)]))
    before = stored()
    run(compose_config(words, config_dirs=[str(CONFIG_DIR)]))
    after = stored()
    assert {name: after[name] for name in before} == before
    made = Counter(name.partition("/")[0] for name in after.keys() - before.keys())
    units = len(list((tmp_path / "store" / "protected").rglob("*.zip")))
    decided = dict.fromkeys(DECIDED, 1)
    assert made == {"quality": units, "records": 1, "measurements": 2, **decided}


def test_a_kept_run_knows_its_protocols_and_conditions(results: Results) -> None:
    assert list(results.protocols["label"]) == ["identification", "verification", "quality", "glance"]
    assert json.loads(results.protocols["config"].iloc[0])["ks"] == [1, 20]
    assert set(results.protocols["publication"]) == {""}
    shade = results.conditions[results.conditions["label"] == "shade_0.5"].iloc[0]
    assert (shade["title"], shade["family"], shade["strength"], shade["axis"]) == (
        "Dark glasses",
        "shade",
        0.5,
        "share of light",
    )


def test_a_protocol_that_is_not_here_any_more_keeps_its_numbers(results: Results, tmp_path: Path) -> None:
    gone = [config.replace("glance.Glance", "glanced_away.Glance") for config in results.protocols["config"]]
    without = replace(results, protocols=results.protocols.assign(config=gone))
    write_report(without, tmp_path, figures=False)
    report = report_of(tmp_path)
    assert re.search(r"^- At a glance: numbers stand in general tables only: .*glanced\\?_away", report, re.MULTILINE)
    assert {"owl_seen_light", "owl_seen_shade"} <= set(header(tmp_path / "tables" / "glance.csv"))


def test_a_kept_run_builds_nothing_but_protocols_and_nothing_inside_their_settings(
    results: Results, tmp_path: Path
) -> None:
    touch = {"_target_": "subprocess.Popen", "args": ["touch", str(tmp_path / "touched")]}
    inside = {"_target_": "glance.Glance", "gains": {"owl": 1.0}, "shades": touch}
    planted = results.protocols.iloc[:2].assign(config=[json.dumps(touch), json.dumps(inside)])
    first, _ = reporters(replace(results, protocols=planted))[:2]
    assert list(first.checks(Measured(results))) == [
        "Identification: numbers stand in general tables only: subprocess.Popen is no protocol"
    ]
    assert not (tmp_path / "touched").exists()


def test_a_run_of_an_older_version_is_reported_in_general_tables_and_says_so_once(
    results: Results, tmp_path: Path
) -> None:
    old = replace(results, protocols=results.protocols.iloc[:0], conditions=results.conditions.iloc[:0])
    old = replace(old, metrics=results.metrics.iloc[:0])
    write_report(old, tmp_path, figures=False)
    assert report_of(tmp_path).count("the run was kept by a version that did not say how its protocols were set") == 1
    assert "tiny2_psr_p2_top20" in header(tmp_path / "tables" / "identification.csv")


def test_reporters_stand_in_the_order_of_the_experiment(results: Results) -> None:
    assert [one.name for one in reporters(results)] == ["identification", "verification", "quality", "glance"]
    assert reporters(results)[-1].title == "At a glance"


@pytest.mark.parametrize("protocol", [Identification, Verification, Quality, Poisoning])
def test_what_is_printed_is_no_part_of_what_numbers_are_keyed_by(
    protocol: type[Protocol], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()
    whole = code_digests._read

    def noted(name: str) -> code_digests.CanonicalCode:
        read.add(name)
        return whole(name)

    one = protocol.__new__(protocol)
    node = {"_target_": f"{protocol.__module__}.{protocol.__qualname__}"}
    code_digests.forget_sources()
    with monkeypatch.context() as patch:
        patch.setattr(code_digests, "_read", noted)
        node_settings(node, one.printing)
        node_code(node, base=("cloakbench.bench.engine.answers",), without=one.printing)
    code_digests.forget_sources()
    assert protocol.__module__ in read
    assert {name for name in read if "report" in name.split(".")[2:]} == {
        "cloakbench.bench.report",
        "cloakbench.bench.report.metric",
    }
    assert one.report_module not in read
