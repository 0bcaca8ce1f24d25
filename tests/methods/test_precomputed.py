"""Photos protected elsewhere: which file is whose, and what is said of the others."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cloakbench.bench.core.status import METHOD_FAILED
from cloakbench.methods.base import Protected
from cloakbench.methods.parts.photo_failures import FAILED
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.methods.precomputed import Precomputed

NAMES = ("p0/0.jpg", "p0/1.JPEG", "p0/plain", "p1/a.b", "p1/0.webp", "p1/x.png")


def album() -> PhotoBatch:
    return replace(tiny_photos(), image_id=NAMES)


def save(path: Path, batch: PhotoBatch, row: int, size: int | None = None) -> None:
    """A protected photo: the original, a little darker, so that its row can be told."""
    pixels = (batch.images[row] * 247).round().to(torch.uint8).permute(1, 2, 0).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    (picture.resize((size, size)) if size else picture).save(path)


def read(folder: Path, batch: PhotoBatch) -> Protected:
    return Precomputed(folder).protect(batch, tiny_context())


def reasons(protected: Protected) -> dict[str, str]:
    return dict(protected.facts.get(FAILED, {}))


def test_another_suffix_is_found_whatever_the_photo_is_called(tmp_path: Path) -> None:
    batch = album()
    for row, name in enumerate(("p0/0.png", "p0/1.BMP", "p0/plain.png", "p1/a.b.png", "p1/0.webp.png", "p1/x.tif")):
        save(tmp_path / name, batch, row)
    protected = read(tmp_path, batch)
    assert not reasons(protected)
    assert torch.equal(protected.images, (batch.images * 247).round().to(torch.uint8))
    assert Precomputed(tmp_path).review(NAMES, NAMES) == []


def test_the_exact_name_wins_and_two_others_are_an_error_that_names_both(tmp_path: Path) -> None:
    batch = album()
    save(tmp_path / "p1" / "x.png", batch, 5)
    save(tmp_path / "p1" / "x.jpg.png", batch, 0)
    for name in ("p0/0.png", "p0/0.jpg.webp"):
        save(tmp_path / name, batch, 0)
    protected = read(tmp_path, batch)
    assert protected.status[5] == "ok"
    assert protected.status[0] == METHOD_FAILED
    assert "p0/0.jpg.webp and p0/0.png in" in reasons(protected)["p0/0.jpg"]
    before = Precomputed(tmp_path).files_read(NAMES)["p0/0.jpg"]
    (tmp_path / "p0" / "0.png").unlink()
    assert Precomputed(tmp_path).files_read(NAMES)["p0/0.jpg"] != before


def test_one_file_is_not_two_photos(tmp_path: Path) -> None:
    batch = replace(tiny_photos(), image_id=("a.jpg", "a.png", "b.jpg", "b.webp", "c", "d"))
    save(tmp_path / "a.png", batch, 1)
    save(tmp_path / "b.png", batch, 2)
    protected = read(tmp_path, batch)
    assert protected.status == (METHOD_FAILED, "ok", *[METHOD_FAILED] * 4)
    assert reasons(protected)["a.jpg"] == "a.png fits more than one photo: call it a.jpg.png"
    assert reasons(protected)["b.webp"] == "b.png fits more than one photo: call it b.webp.png"


def test_each_reason_is_said_and_nothing_but_a_file_is_opened(tmp_path: Path) -> None:
    batch = album()
    save(tmp_path / "p0" / "0.png", batch, 3)  # another person's
    save(tmp_path / "p0" / "1.png", batch, 1, size=20)
    (tmp_path / "p0" / "plain.png").write_bytes(b"no image")
    (tmp_path / "p1").mkdir()
    os.mkfifo(tmp_path / "p1" / "a.b.png")
    (tmp_path / "p1" / "0.png").symlink_to("/etc/hostname")
    protected = read(tmp_path, batch)
    assert set(protected.status) == {METHOD_FAILED}
    found = reasons(protected)
    assert found["p0/0.jpg"] == "p0/0.png shows p1/a.b: check the names"
    assert "it is 20x20, the photo is 32x32" in found["p0/1.JPEG"]
    assert "not an image" in found["p0/plain"]
    assert found["p1/a.b"] == f"no file p1/a.b.* in {tmp_path}"
    assert found["p1/0.webp"] == f"no file p1/0.* in {tmp_path}"


def test_missing_and_extra_files_are_named_ten_and_then_counted(tmp_path: Path) -> None:
    wanted = [f"p/{number}.jpg" for number in range(13)]
    known = [*wanted, "q/reference.jpg"]
    batch = tiny_photos()
    for name in ("q/reference.png", *(f"more/{number:02d}.png" for number in range(12)), ".hidden", "p/12.png"):
        save(tmp_path / name, batch, 0) if name.endswith("png") else (tmp_path / name).write_text("")
    missing, extra = Precomputed(tmp_path).review(wanted, known)
    assert missing.startswith(f"12 of 13 photos have no file in {tmp_path}: p/0.*, p/1.*")
    assert missing.endswith("p/9.* and 2 more")
    assert extra.startswith(f"12 files in {tmp_path} belong to no photo of the experiment: more/00.png, ")
    assert extra.endswith("more/09.png and 2 more")


@pytest.mark.parametrize("name", ["../out", "/etc/hostname", "p0/../../out"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "own.png", tiny_photos(), 0)
    save(tmp_path / "out.png", tiny_photos(), 0)
    assert Precomputed(tmp_path / "in").files_read([name]) == {name: ""}


def test_files_are_decoded_as_photos_of_a_data_set_are(tmp_path: Path) -> None:
    """16 bits are not cut off at 255, which would pass for protection; transparency is laid on white."""
    batch = replace(tiny_photos(), image_id=tuple("abcdef"))
    grey = (batch.images[0].mean(0) * 65535).round().numpy().astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    see_through = np.zeros((32, 32, 4), np.uint8)
    Image.fromarray(see_through).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    protected = read(tmp_path, batch)
    expected = batch.images[0].mean(0) * 255
    assert protected.status[:2] == ("ok", "ok")
    assert (protected.images[0].float() - expected).abs().max() <= 1
    assert (protected.images[1] == 255).all()
    assert "damaged image" in reasons(protected)["c"]
