"""What a protected copy is: where it differs, what it keeps, and why some photos have none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from albums import (
    CONFIG_DIR,
    NAMES,
    POINTS,
    TEMPLATE,
    files,
    pixels,
    protect,
    rows,
    save_photo,
    words,
    write_points,
)
from PIL import Image

from cloakbench.bench.cli.protect import main
from cloakbench.bench.protect.discover import REPORTS
from cloakbench.datasets.alignment import similarity_transform
from cloakbench.datasets.paste import crop_box


def test_only_the_face_changes_and_within_the_budget(album: Path) -> None:
    outcome = protect(album, "out", "format=png")
    out = album.parent / "out"
    assert not outcome.problems
    assert outcome.protected == 4
    assert set(files(out)) == {"a.png", "b.png", "c.png", "trip/d.png", *REPORTS}
    left, top, right, bottom = crop_box(similarity_transform(POINTS, TEMPLATE), 190, 230)
    table = rows(out)
    for name in NAMES:
        original, copy = pixels(album / name), pixels((out / name).with_suffix(".png"))
        change = (copy.short() - original.short()).abs()
        assert 5 <= change.max() <= 8
        assert table.loc[name, "max_change_255"] == change.max()
        assert table.loc[name, "changed_pixels"] == change.any(0).sum()
        face = change[:, top:bottom, left:right]
        assert table.loc[name, "mean_change_255"] == pytest.approx(face.double().mean().item(), abs=1e-4)
        change[:, top:bottom, left:right] = 0
        assert not change.any()
    assert (table["status"] == "ok").all()
    assert (table["cosine_crop_tiny1"] < table["cosine_photo_tiny1"]).all()
    assert (table["cosine_photo_tiny1"] < 0.95).all()
    assert table["ssim"].between(0.5, 0.9999).all()
    assert table["crop_px"].unique() == pytest.approx([145.6])


def test_no_budget_no_change(album: Path) -> None:
    protect(album, "out", "method=identity", "force=true", "format=png")
    for name in ("a.png", "trip/d.png"):
        assert torch.equal(pixels(album.parent / "out" / name), pixels(album / name))
    assert set(rows(album.parent / "out")["max_change_255"]) == {0}


def test_jpeg_is_of_high_quality_and_the_report_says_what_it_does(album: Path) -> None:
    outcome = protect(album, "out", "format=jpeg", "method.epsilon_255=4")
    out = album.parent / "out"
    copy = Image.open(out / "a.jpg")
    assert copy.layer[0][1:3] == copy.layer[1][1:3]  # type: ignore[attr-defined]
    assert (pixels(out / "a.jpg").float() - pixels(album / "a.png").float()).abs().mean() < 4
    assert any("JPEG changes every pixel" in warning for warning in outcome.warnings)
    assert (rows(out)["exact"] == "no").all()
    assert rows(out).loc["a.png", "max_change_255"] > 4


def test_a_photo_taken_sideways_comes_out_upright_and_its_metadata_follow_the_policy(album: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "ACME"
    upright = Image.open(album / "a.png")
    upright.transpose(Image.Transpose.ROTATE_90).save(album / "a.png", exif=exif)
    for policy, fields in (("strip", {}), ("keep", {0x0112: 1, 0x010F: "ACME"})):
        protect(album, policy, f"metadata={policy}")
        copy = Image.open(album.parent / policy / "a.png")
        assert copy.size == (230, 190)
        assert dict(copy.getexif()) == fields
    assert rows(album.parent / "strip").loc["a.png", "metadata_dropped"] == "EXIF"


def test_every_photo_without_a_copy_has_its_reason_and_nothing_else_is_lost(album: Path) -> None:
    (album / "e.jpg").write_text("no image")
    (album / "f.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (album / "notes.txt").write_text("no photo")
    save_photo(album / "g.png", 7)
    save_photo(album / "h.bmp", 8)
    save_photo(album / "h.webp", 9)
    save_photo(album / "i.png", 10, width=3000, height=1000)
    out = album.parent / "out"
    save_photo(out / "c.png", 11)
    before = (out / "c.png").read_bytes()
    outcome = protect(album, "out", "max_megapixels=2", "format=png")
    found = rows(out)["status"].to_dict()
    assert found == {
        "a.png": "ok",
        "b.jpg": "ok",
        "c.png": "exists",
        "e.jpg": "unreadable",
        "f.heic": "unreadable",
        "g.png": "no_face",
        "h.bmp": "name_clash",
        "h.webp": "name_clash",
        "i.png": "too_large",
        "trip/d.png": "ok",
    }
    assert set(files(out)) == {"a.png", "b.png", "c.png", "trip/d.png", *REPORTS}
    assert (out / "c.png").read_bytes() == before
    assert len(outcome.problems) == 7
    assert "dataset." not in "".join(outcome.problems)
    assert any("i.png: too_large" in line and "max_megapixels" in line for line in outcome.problems)
    assert "3 of 10 photos have a protected copy" in (out / "report.md").read_text()


def test_the_command_says_each_loss_in_a_line_and_ends_with_status_one(album: Path, capsys: Any) -> None:
    assert main([*words(album), "--config-dir", CONFIG_DIR]) == 0
    (album / "e.jpg").write_text("no image")
    write_points(album.parent / "points.csv", [*(f"album/{name}" for name in NAMES), "album/e.jpg"])
    assert main([*words(album), "--config-dir", CONFIG_DIR]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: e.jpg: unreadable: not an image")


def test_faces_that_are_too_small_are_refused(album: Path) -> None:
    outcome = protect(album, "out", "min_crop_px=150")
    assert outcome.protected == 0
    assert set(rows(album.parent / "out")["status"]) == {"too_small"}


@pytest.mark.parametrize(
    ("method", "status", "words"),
    [
        ("raises", "method_failed", "ZeroDivisionError: this method always fails"),
        ("random_sign method.epsilon_255=0.4", "unchanged", "changed nothing"),
    ],
)
def test_what_a_method_did_not_protect_is_not_copied(album: Path, method: str, status: str, words: str) -> None:
    outcome = protect(album, "out", *f"method={method}".split(), "force=true")
    assert len(outcome.problems) == 4
    assert all(f"{status}: " in problem and words in problem for problem in outcome.problems)
    assert set(files(album.parent / "out")) == {"report.csv", "report.md"}


def test_one_photo_alone_gives_the_same_bytes_as_in_its_folder(album: Path) -> None:
    protect(album)
    protect(album, "alone", f"input={album / 'b.jpg'}")
    assert files(album.parent / "alone")["b.jpg"] == files(album.parent / "out")["b.jpg"]


def test_seed_and_name_matter(album: Path) -> None:
    protect(album)
    protect(album, "other", "seed=1")
    assert files(album.parent / "out")["a.png"] != files(album.parent / "other")["a.png"]
