"""The commands about one recogniser on real faces and published weights: they give the figures of the pack."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real_pack import PACK, requires_pack

from cloakbench.bench.cli import check, verify

pytest.importorskip("cloakbench.datasets.pairs", reason="no reader of pair lists")
pytestmark = requires_pack

MODELS = ("mobilefacenet_casia", "mobilefacenet_y1")
AUC = {
    ("mobilefacenet_casia", "lfw"): 0.99857,
    ("mobilefacenet_casia", "orl"): 0.99950,
    ("mobilefacenet_casia", "hires"): 1.0,
    ("mobilefacenet_y1", "lfw"): 0.99891,
    ("mobilefacenet_y1", "orl"): 1.0,
    ("mobilefacenet_y1", "hires"): 1.0,
}
"""From the pack's README: area under the ROC curve over its ``pairs.csv``, on its own aligned crops."""
PAIRS = {"lfw": 1200, "orl": 380, "hires": 105}
PEOPLE = {"lfw": 60, "orl": 19, "hires": 4}
Verified = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops, shared by the models."""
    return tmp_path_factory.mktemp("crops")


@pytest.fixture
def verified(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Verified:
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(PACK / "weights"))

    def call(model: str, subset: str, *words: str) -> dict[str, Any]:
        common = ["dataset=folder", f"dataset.root={PACK}", f"dataset.cache={cache}", f"where={{subset: {subset}}}"]
        paths = [f"paths.results={tmp_path}", "statistics.resamples=20"]
        assert verify.main([f"model={model}", *common, *paths, *words]) == 0
        [folder] = (tmp_path / "verify").iterdir()
        about = json.loads((folder / "verification.json").read_text(encoding="utf-8"))
        return about | {row["metric"]: row for row in about["rates"]}

    return call


@pytest.mark.parametrize(
    ("model", "subset"),
    [pytest.param(*one, marks=[pytest.mark.slow] * (one[1] == "lfw" or one[0] != MODELS[1])) for one in AUC],
)
def test_auc_on_the_aligned_crops(model: str, subset: str, verified: Verified, tmp_path: Path) -> None:
    file = tmp_path / "aligned.csv"
    with (PACK / "pairs.csv").open(newline="") as stream, file.open("w", newline="") as out:
        writer = csv.writer(out)
        for row in csv.reader(stream):
            writer.writerow([cell.replace("faces/", "aligned112/").replace(".jpg", ".png") for cell in row])
    found = verified(model, subset, "dataset.aligned=true", f"pairs={file}")
    assert found["auc"]["value"] == pytest.approx(AUC[model, subset], abs=0.001)
    assert found["auc"]["n"] == PAIRS[subset]
    assert found["auc"]["n_identities"] == PEOPLE[subset]
    assert found["accuracy"]["value"] > 0.97


@pytest.mark.slow
@pytest.mark.parametrize(
    "subset", ["hires", pytest.param("orl", marks=pytest.mark.slow), pytest.param("lfw", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("model", [pytest.param(MODELS[0], marks=pytest.mark.slow), MODELS[1]])
def test_auc_through_our_own_detector_and_aligner(model: str, subset: str, verified: Verified) -> None:
    """Measured: casia 0.99804, 0.99928, 1; y1 0.99891, 0.99983, 1 (lfw, orl, hires); no photo without a face."""
    pytest.importorskip("facenet_pytorch")
    found = verified(model, subset, f"pairs={PACK / 'pairs.csv'}")
    assert found["auc"]["value"] == pytest.approx(AUC[model, subset], abs=0.01)
    assert found["n_pairs_without_score"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("people", [16, pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.parametrize("model", [pytest.param(MODELS[0], marks=pytest.mark.slow), MODELS[1]])
def test_check_passes_and_reproduces_the_clean_top1_of_the_card(
    model: str, people: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """299 of 300 and 300 of 300 with 40 others in the gallery, as in the README of the pack."""
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(PACK / "weights"))
    names = sorted(path.name for path in (PACK / "aligned112").iterdir() if not path.name.startswith(("orl", "hires")))
    several = [name for name in names if len(list((PACK / "aligned112" / name).iterdir())) > 1]
    for name in several[:people] + [name for name in names if name not in several]:
        shutil.copytree(PACK / "aligned112" / name, tmp_path / "crops" / name)
    words = [f"model={model}", "dataset=folder", f"dataset.root={tmp_path / 'crops'}", "dataset.aligned=true"]
    words += ["dataset.references_per_identity=0", "dataset.probes_per_identity=null", "statistics.resamples=50"]
    assert check.main([*words, f"paths.results={tmp_path}", f"dataset.cache={tmp_path / 'cache'}"]) == 0
    shown = capsys.readouterr().out
    assert "skipped" not in shown
    assert "failed" not in shown
    if people is None:
        hits = {"mobilefacenet_casia": "299 of 300", "mobilefacenet_y1": "300 of 300"}
        assert hits[model] in shown
        assert "40 others" in " ".join(shown.split())
