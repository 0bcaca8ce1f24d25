"""What protects where nobody says: recognisers at hand, views through the saved file, and what to expect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from albums import CONFIG_DIR, words
from real_pack import PACK, requires_pack

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.protect.defaults import at_hand, expected
from cloakbench.bench.protect.recognition import losses
from cloakbench.bench.protect.settings import read_settings, settings_in_words
from cloakbench.methods.parts.transfer.views import AffineViews
from cloakbench.methods.parts.transfer.way_back import WayBack

REFERENCE = Path(__file__).parents[3] / "results" / "reference" / "bench"
FOLDERS = ["input=photos", "output=out"]


def test_without_weights_the_words_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(tmp_path))
    assert at_hand.with_defaults(FOLDERS) == FOLDERS


@pytest.mark.parametrize(
    ("more", "added"),
    [
        ([], ["method=eot_ensemble", "model@surrogate=a", "+model@surrogates.b=b"]),
        (["method=eot_opom"], ["model@surrogate=a", "+model@surrogates.b=b"]),
        (["model@target=b"], ["method=eot_one", "model@surrogate=a"]),
        (["method=pgd"], []),
        (["model@surrogate=c"], []),
        (["+model@surrogates.c=c"], []),
        (["model@target=a", "+model@targets.b=b"], []),
    ],
)
def test_what_is_not_named_is_all_that_does_not_judge(
    more: list[str], added: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at_hand, "apart", lambda judges: [name for name in ("a", "b") if name not in judges])
    assert at_hand.with_defaults([*FOLDERS, *more]) == [*FOLDERS, *more, *added]


@pytest.mark.slow
@requires_pack
def test_a_network_in_two_files_helps_once_and_never_where_it_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(PACK / "weights"))
    assert at_hand.apart([]) == ["mobilefacenet_b", "mobilefacenet_casia", "mobilefacenet_y1"]
    assert at_hand.apart(["mobilefacenet_casia_onnx"]) == ["mobilefacenet_b", "mobilefacenet_y1"]


def read(album: Path, *more: str) -> Any:
    return read_settings(compose_config(words(album, "out", *more), "protect", [CONFIG_DIR]))


def test_views_lead_through_the_saved_file_and_nothing_is_softened_as_well(album: Path) -> None:
    settings = read(album, "method=eot_one", "method.steps=2", "way_back.quality_low=50")
    views = settings.protector.transfer.views
    assert isinstance(views, WayBack) and isinstance(views.views, AffineViews) and views.quality_low == 50
    assert settings.way_back and not settings.soften
    assert "through random views of the way through the photo" in settings_in_words(settings)[0]
    crops = read(album, "method=eot_one", "method.steps=2", "way_back=null")
    assert isinstance(crops.protector.transfer.views, AffineViews) and crops.soften
    assert crops.inputs["method"] != settings.inputs["method"]
    assert read(album).soften and not read(album).way_back  # a method without views


def test_the_expected_rate_is_that_of_the_latest_run_on_real_faces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for place, (name, rate) in enumerate((("transfer_real-1", 0.5), ("transfer_real-2", 0.75), ("other", 0.1))):
        mark = tmp_path / name / "data" / "about.json"
        mark.parent.mkdir(parents=True)
        mark.write_text("{}")
        values = ("transfer_real", "folder", f"2026-11-2{place}", "eot_ensemble", 8.0, "Top-1 (P1)", rate)
        row = dict(zip(expected.COLUMNS, (*values, 0.4, 0.8, 120, 60), strict=True))
        made.append((mark.parents[1], [row]))
    monkeypatch.setattr(expected, "rows_of", dict(made).__getitem__)
    line = expected.expected("eot_ensemble", 8, tmp_path)
    assert "miss 75.0 % [40.0, 80.0] of photos, Top-1 (P1)" in line and "60 people of folder on 2026-11-21" in line
    none = expected.expected("eot_ensemble", 4, tmp_path / "nowhere")
    assert "was not measured here on real faces: run cloakbench experiment=transfer_real" in none and "\n" not in none


def test_rows_of_a_run_are_its_black_box_means_and_rendered_faces_are_no_front(monkeypatch: pytest.MonkeyPatch) -> None:
    assert expected.rows_of(REFERENCE) == []
    monkeypatch.setattr(expected, "_RENDERED", "no such data")
    (row,) = (row for row in expected.rows_of(REFERENCE) if row["method"] == "pgd" and row["epsilon_255"] == 8)
    printed = f"{100 * row['psr']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
    assert f"| PGD | {row['photos']} | {printed} |" in (REFERENCE.parents[2] / "README.md").read_text(encoding="utf-8")
    assert row["metric"] == "Top-1 (P2)" and row["low"] < row["psr"] < row["high"] and row["people"] == 50


def test_the_loss_on_the_way_is_a_line_for_each_recogniser() -> None:
    def row(crop: float, photo: float | None) -> dict[str, Any]:
        return {"cosines": {"a": {"crop": crop, "photo": photo, "jpeg75": 0.5, "half": 0.6}}}

    (line,) = losses([row(0.2, 0.3), row(0.4, 0.5), row(0.9, None), {"status": "no_face"}], ["a"])
    assert line == (
        "a (surrogate): mean cosine to the original 0.30 in the crop as made, 0.40 in the saved photo "
        "(0.50 after JPEG 75, 0.60 at half size), over 2 faces"
    )
    assert losses([], []) == []
