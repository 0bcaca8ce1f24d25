"""Real photographs against published attribute networks: the preset's whole path; skipped without the pack."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest
from real_pack import PACK, requires_pack

from cloakbench.bench.cli.main import main
from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.experiment.run import Outcome, run

pytestmark = requires_pack

PEOPLE = 12


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The preset on the pack's first labelled adults, each a person of its own."""
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(PACK / "weights"))
    with (PACK / "attributes.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["subset"] == "utk"][:PEOPLE]
    table = tmp_path / "photos.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "identity", "role", "gender", "age"])
        for place, row in enumerate(rows):
            writer.writerow([row["file"], f"p{place}", "test", int(row["gender"] == "F"), row["age"]])
    folders = (f"dataset.root={PACK}", f"dataset.layout.file={table}", f"dataset.landmarks_file={PACK}/landmarks.csv")
    return ["experiment=real_attributes", *folders, f"paths.results={tmp_path / 'results'}"]


def run_preset(words: list[str]) -> Outcome:
    quick = ("methods.lowkey_m.steps=5", "methods.chhabra.searches=1", "methods.chhabra.search_steps=5")
    return run(compose_config([*words, *quick, "runtime.workers=0", "report.figures=false"]))


@pytest.mark.slow
def test_pgd_m_hides_what_random_signs_do_not(words: list[str]) -> None:
    outcome = run_preset(words)
    assert not outcome.problems
    rates = outcome.results.measurements.query("metric == 'mosr'").set_index("method")
    assert (rates["n"] == PEOPLE).all() and rates.loc["pgd_m", "white_box"]
    assert rates.loc["identity", "value"] <= 2 / PEOPLE and rates.loc["random_sign", "value"] <= 2 / PEOPLE
    assert rates.loc["pgd_m", "value"] >= 0.5
    assert len(outcome.results.examples) == 4 and "pgd_m 8/255" in outcome.results.examples[0].protected
    distances: pd.DataFrame = outcome.results.measurements.query("metric == 'linf_255' and method == 'pgd_m'")
    assert len(distances) and (distances["value"] <= 8).all()


def test_aligned_crops_are_refused_in_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "dataset.crop=aligned"]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert "attribute model faceapi was trained on face boxes" in said[-1] and "dataset.crop=box" in said[-1]
