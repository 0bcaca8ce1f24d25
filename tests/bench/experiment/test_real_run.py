"""The real-faces preset on the pack of real photographs and published recognisers, where it is at hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from real_pack import PACK, requires_pack

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.experiment.run import Outcome, run

pytestmark = requires_pack

P1_HITS_OF_1200 = {"mobilefacenet_casia": (1181, 1198), "mobilefacenet_y1": (1195, 1198)}
"""Top-1 and Top-5 hits in the README of the pack: LFW, one mate and 40 distractors, every ordered pair."""


@pytest.fixture(autouse=True)
def _weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(PACK / "weights"))


def copy_photos(kind: str, target: Path, people: int | None = None, strangers: int | None = None) -> Path:
    """The LFW part of the pack: ``file`` for photographs, ``aligned`` for crops; all of it, or so many people with five
    photos and so many with one."""
    entries = json.loads((PACK / "MANIFEST.json").read_text(encoding="utf-8"))["images"]
    names = sorted({entry["identity"] for entry in entries if entry.get("subset") == "lfw"})[:people]
    names += sorted({entry["identity"] for entry in entries if entry.get("subset") == "lfw_single"})[:strangers]
    for entry in entries:
        wanted = entry.get("subset") in ("lfw", "lfw_single") and entry.get("identity") in names
        if wanted and entry.get(kind):
            path = target.joinpath(*Path(entry[kind]).parts[1:])
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PACK / entry[kind], path)
    return target


def run_preset(root: Path, results: Path, *more: str, preset: str = "real_faces") -> Outcome:
    overrides = [f"experiment={preset}", f"dataset.root={root}", f"paths.results={results}", "runtime.workers=0"]
    overrides += ["report.figures=false"]
    return run(compose_config([*overrides, *more]))


def clean_row(outcome: Outcome, metric: str) -> pd.Series:
    found = outcome.results.measurements.query(f"metric == '{metric}' and method == 'identity'")
    return found.set_index("judge")["value"]


@pytest.mark.slow
def test_clean_top1_agrees_with_the_pack(tmp_path: Path) -> None:
    """The crops of the pack, all five photos of 60 people as probes, 40 distractors: its own P1, hit for hit."""
    root = copy_photos("aligned", tmp_path / "crops")
    more = ("dataset.aligned=true", "dataset.references_per_identity=0", "method=identity")
    more += ("~protocols.verification", "~protocols.quality", "report.examples=0", "statistics.resamples=10")
    outcome = run_preset(root, tmp_path / "results", *more)
    for place, k in enumerate((1, 5)):
        rates = clean_row(outcome, f"psr_p1_top{k}")
        for target, hits in P1_HITS_OF_1200.items():
            assert round(1200 * (1 - rates[target])) == hits[place]


@pytest.mark.slow
def test_photographs_are_detected_aligned_protected_and_judged(tmp_path: Path) -> None:
    pytest.importorskip("facenet_pytorch")
    root = copy_photos("file", tmp_path / "photos", people=6, strangers=15)
    outcome = run_preset(root, tmp_path / "results", "methods.pgd.steps=5", "methods.opom_convex_hull.steps=8")
    assert not outcome.problems
    assert (clean_row(outcome, "psr_p2_top1") <= 1 / 12).all()
    measured = outcome.results.measurements.query("metric == 'psr_p2_top1' and judge == 'mobilefacenet_y1'")
    rates = measured.set_index("method")["value"]
    assert rates["pgd"] >= 0.9
    assert rates["random_sign"] <= 0.25
    distances = outcome.results.measurements.query("metric == 'linf_255' and method != 'identity'")
    assert len(distances)
    assert (distances["value"] <= 8).all()


@pytest.mark.slow
def test_facecloak_from_one_photo_and_opom_from_three_hide_real_people(tmp_path: Path) -> None:
    pytest.importorskip("facenet_pytorch")
    root = copy_photos("file", tmp_path / "photos", people=10)
    people = ("dataset.probes_per_identity=2", "dataset.auxiliary_identities=20")
    methods = ("~methods.pgd", "+method@methods.facecloak=facecloak", "generator=augment")
    outcome = run_preset(root, tmp_path / "results", *people, *methods)
    assert not outcome.problems
    rates = outcome.results.measurements.query("metric == 'psr_p2_top1'")
    assert (rates["n"] == 20).all() and (rates["low"] <= rates["value"]).all() and rates["high"].notna().all()
    table = rates.pivot_table("value", "method", "judge")
    for judge in ("mobilefacenet_y1", "mobilefacenet_casia"):
        assert table[judge]["identity"] <= 0.05
        for method in ("opom_convex_hull", "facecloak"):
            assert table[judge][method] >= table[judge]["random_sign"]
    assert table["mobilefacenet_y1"]["facecloak"] >= 0.2
    cost = outcome.results.costs.set_index("method")["backward_per_image"]
    assert (2 * cost["facecloak"], 2 * cost["opom_convex_hull"]) == (80, 3 * 16), "passes of a person, with two photos"
    first = [line for line in (outcome.folder / "tables" / "ranking.md").read_text().splitlines() if "[" in line]
    assert any("Clean photo" in line for line in first)


@pytest.mark.slow
def test_of_three_recognisers_two_are_attacked_and_the_third_judges(tmp_path: Path) -> None:
    root = copy_photos("aligned", tmp_path / "crops", people=3)
    others = ("mi_fgsm", "ti_dim", "ti_dim_strong", "opom_convex_hull", "eot_opom")
    more = ("dataset.aligned=true", "methods.eot_ensemble.steps=3", "methods.pgd.steps=3")
    left_out = (f"~methods.{name}" for name in others)
    outcome = run_preset(root, tmp_path / "results", *more, *left_out, preset="transfer_real")
    assert not outcome.problems
    rates = outcome.results.measurements.query("metric == 'psr_p2_top1' and method == 'eot_ensemble'")
    black_box = rates[~rates["white_box"].astype(bool)]
    assert {tuple(pair) for pair in black_box[["surrogate", "judge"]].to_numpy()} == {
        (f"without_{name.rpartition('_')[2]}", name)
        for name in ("mobilefacenet_y1", "mobilefacenet_b", "mobilefacenet_casia")
    }
    assert (rates["n"] == 6).all()


def test_bad_files_are_named_one_by_one_and_nothing_else_is_lost(tmp_path: Path) -> None:
    pytest.importorskip("facenet_pytorch")
    root = copy_photos("file", tmp_path / "photos", people=3, strangers=5)
    person = sorted(path for path in root.iterdir() if len(list(path.iterdir())) == 5)[0]
    (person / "6.jpg").write_text("this is a text file", encoding="utf-8")
    (root / "nobody").mkdir()
    (root / "nobody" / "notes.txt").write_text("no photo", encoding="utf-8")
    (root / "empty").mkdir()
    from PIL import Image

    Image.new("RGB", (200, 200), (90, 120, 150)).save(person / "7.png")
    outcome = run_preset(root, tmp_path / "results", "method=pgd", "method.steps=1", "dataset.workers=0")
    assert len(outcome.problems) == 3
    assert any("6.jpg: unreadable" in problem for problem in outcome.problems)
    assert any("7.png: no_face" in problem for problem in outcome.problems)
    assert any("nobody" in problem and "no_photos" in problem for problem in outcome.problems)
    assert all("\n" not in problem for problem in outcome.problems)
    measured = outcome.results.measurements.query("metric == 'psr_p2_top1'")
    assert len(measured)
    assert (measured["n"] == 6).all()
    manifest = pd.read_csv(outcome.folder / "manifest.csv")
    assert set(manifest["status"]) >= {"ok", "unreadable", "no_face", "no_photos"}
