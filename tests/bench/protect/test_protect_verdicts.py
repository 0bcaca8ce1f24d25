"""Who still knows the face, whence the thresholds come, and the sheet to look at."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from albums import files, protect, rows, words
from PIL import Image

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.protect.evaluate import VIEWS
from cloakbench.bench.protect.recognition import Threshold, verdict
from cloakbench.bench.protect.settings import read_settings
from cloakbench.bench.protect.sheet import Shown, draw_sheet
from cloakbench.bench.protocols.verification.thresholds import Calibration, stored_thresholds

THRESHOLDS = {"a": Threshold(0.4, ""), "b": Threshold(0.3, ""), "c": Threshold(None, "")}


def views(photo: float | None, jpeg75: float | None, half: float | None) -> dict[str, float | None]:
    return {"crop": 0.1, "photo": photo, "jpeg75": jpeg75, "half": half}


@pytest.mark.parametrize(
    ("cosines", "expected"),
    [
        (
            {"a": views(0.5, 0.5, 0.3), "b": views(0.1, 0.1, 0.1)},
            "still recognised at FAR 1e-3 by a; no longer recognised by b; after JPEG 75: the same; "
            "at half size: no longer recognised by a, b",
        ),
        (
            {"a": views(0.4, 0.5, None)},
            "no longer recognised at FAR 1e-3 by a; after JPEG 75: still recognised by a; "
            "at half size: no face found again for a",
        ),
        ({"c": views(0.9, 0.9, 0.9)}, "no threshold for c"),
        ({}, "no recogniser looked at it: name one with model@target=NAME"),
    ],
)
def test_a_verdict_is_one_line(cosines: dict[str, dict[str, float | None]], expected: str) -> None:
    assert verdict(cosines, THRESHOLDS) == expected


def calibrate(album: Path, key: str, spread: float) -> float:
    """A calibration of a judge in the store that `protect` looks at: 150 people at random, near to each other."""
    settings = read_settings(compose_config(words(album, "out", f"model@target={key}"), "protect", [CONFIG]))
    draw = torch.Generator().manual_seed(0)
    embeddings = torch.nn.functional.normalize(torch.randn(150, 8, generator=draw) * spread + 1, dim=1)
    people = tuple(str(number) for number in range(150))
    calibration = Calibration(settings.fingerprints[key], "pixels", people, (0.001, 0.01, 0.1), None, 10, 0, 10)
    table = stored_thresholds(settings.store, calibration, lambda: embeddings)
    return float(table["threshold"].iloc[0])


CONFIG = str(Path(__file__).parents[2] / "support" / "conf")


def test_calibrated_thresholds_of_the_store_decide_and_cost_no_copy_again(album: Path) -> None:
    outcome = protect(album, "out", "model@target=tiny2")
    text = (album.parent / "out" / "report.md").read_text()
    assert "no threshold for tiny1, tiny2" in text
    assert any("cloakbench calibrate model=tiny2" in line for line in outcome.verdicts)
    before = files(album.parent / "out")["a.png"]
    low = calibrate(album, "tiny2", 10)
    high = calibrate(album, "tiny1", 0.01)
    assert low < 0.95 < high
    outcome = protect(album, "out", "model@target=tiny2")
    assert outcome.reused == 4
    assert files(album.parent / "out")["a.png"] == before
    table = rows(album.parent / "out")
    for _, row in table.iterrows():
        still = row["cosine_photo_tiny2"] > low
        assert ("still recognised at FAR 1e-3 by tiny2" in row["verdict"]) == still
        assert "no longer recognised" in row["verdict"]
        assert row["cosine_half_tiny1"] <= high
    known = int((table["cosine_photo_tiny2"] > low).sum())
    assert f"tiny2: still recognises {known} of 4 faces at FAR 1e-3 (" in "".join(outcome.verdicts)
    assert "calibrated on 150 photos of 150 people" in (album.parent / "out" / "report.md").read_text()


def test_every_view_of_a_copy_is_judged(album: Path) -> None:
    protect(album)
    table = rows(album.parent / "out")
    for view in ("crop", *VIEWS):
        assert table[f"cosine_{view}_tiny1"].between(-1, 1).all()
    assert (table["cosine_photo_tiny1"] != table["cosine_half_tiny1"]).any()


def test_the_sheet_shows_photo_copy_and_difference(album: Path) -> None:
    protect(album)
    sheet = Image.open(album.parent / "out" / "report.png").convert("RGB")
    assert sheet.width == 1002
    panels = [sheet.crop((14 + 160 * column, 34, 174 + 160 * column, 194)) for column in range(3)]
    before, after, difference = (torch.from_numpy(np.array(panel)).float() for panel in panels)
    assert 0.5 < float((before - after).abs().mean()) < 8
    assert abs(float(difference.mean()) - 127.5) < 20
    assert float(difference.std()) > 20
    again = (album.parent / "out" / "report.png").read_bytes()
    protect(album)
    assert (album.parent / "out" / "report.png").read_bytes() == again


def test_a_sheet_draws_long_names_and_letters_that_its_font_lacks() -> None:
    def drawn(title: str) -> bytes:
        return draw_sheet([Shown(title, "", None)])

    assert drawn("x" * 200) != drawn("y" * 200)
    assert drawn("写") == drawn("\\u5199")
    assert drawn("写") != drawn("真")


def test_a_sheet_takes_any_name_and_any_number() -> None:
    shown = [Shown("写真 \u202e & été\n" * 20, "word " * 400, None)] + [Shown(str(k), "", None) for k in range(400)]
    sheet = Image.open(io.BytesIO(draw_sheet(shown)))
    assert sheet.width == 1002
    assert sheet.height < 6000
