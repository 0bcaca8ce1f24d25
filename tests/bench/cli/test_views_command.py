"""``cloakbench views``: table, numbers and sheet of a generator; what it refuses."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from cloakbench.bench.cli.main import main

SMALL = ("evaluation.identities=4", "evaluation.probes_per_identity=5", "count=4", "statistics.resamples=20", "rows=2")


def test_it_shows_and_keeps_numbers_and_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["views", "generator=augment", *SMALL, f"paths.results={tmp_path}"]) == 0
    shown = capsys.readouterr().out
    assert "Views by augment: 4 people, one photo each, judged by 8 recognisers" in shown
    folder = tmp_path / "views" / "augment"
    found = pd.read_csv(folder / "quality.csv")
    assert found["judge"].nunique() == 8 + 2
    assert set(found["of"]) == {"views", "photos", "strangers", "the seed photo alone"}
    assert (folder / "by_judge.md").read_text(encoding="utf-8").count("\n") == 2 + 13 + 1 + 2 + 8
    with Image.open(folder / "sheet.png") as sheet:
        assert sheet.size == (5 * 116, 4 * 116)


def test_too_few_photos_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["views", "generator=augment", *SMALL, "count=6", f"paths.results={tmp_path}"]) == 1
    assert "has 5 photos: count=6 takes 7 of each person" in capsys.readouterr().err
