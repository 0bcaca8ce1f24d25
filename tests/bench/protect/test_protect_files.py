"""Which files are photos, what is never touched, and that a copy has the name and the type of its photo."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from albums import files, pixels, protect, rows, save_photo, write_points
from markdown_it import MarkdownIt
from PIL import Image

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.protect.discover import REPORTS, collect

MESSY = {
    "a.jpg": "JPEG",
    "b.jpg_large": "JPEG",
    "c": "JPEG",
    "c.jpg": "JPEG",
    "d.jpeg~": "JPEG",
    "e.png.bak": "PNG",
    "f.jpg ": "JPEG",
    "g.webp.download": "WEBP",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty input folder; `points_for` gives its photos their landmarks."""
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def points_for(folder: Path) -> None:
    found = [path.resolve() for path in folder.parent.rglob("*") if path.is_file() and path.suffix != ".csv"]
    write_points(folder.parent / "points.csv", [path.relative_to(folder.parent).as_posix() for path in found])


def test_content_decides_what_is_a_photo_and_the_rest_is_named(folder: Path) -> None:
    for seed, (name, kind) in enumerate(MESSY.items()):
        save_photo(folder / name, seed, format=kind)
    (folder / "notes.txt").write_text("no photo")
    (folder / ".hidden.jpg").write_text("hidden")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._a.jpg").write_text("litter")
    points_for(folder)
    outcome = protect(folder)
    out = folder.parent / "out"
    assert not outcome.problems
    assert set(files(out)) == {*MESSY, *REPORTS}
    assert {name: Image.open(out / name).format for name in MESSY} == MESSY
    text = (out / "report.md").read_text()
    assert "- notes.txt: not a photo" in text
    assert "hidden files, and such as systems leave behind: 2" in text
    turned = protect(folder, "png", "format=png")
    assert {line.split(":")[0] for line in turned.problems} == {"c", "c.jpg"}
    assert {"b.jpg_large.png", "e.png.bak", "f.jpg .png"} <= set(files(folder.parent / "png"))


def test_links_are_followed_once_and_each_file_is_protected_once(folder: Path) -> None:
    save_photo(folder / "a.png", 0)
    for number in (1, 2):
        save_photo(folder.parent / "album" / f"{number}.png", number)
    (folder / "holiday").symlink_to("../album")
    (folder / "one.png").symlink_to("../album/1.png")
    (folder / "loop").symlink_to("..")
    (folder / "self").symlink_to("self")
    (folder / "here").symlink_to(".")
    points_for(folder)
    (folder / "self").unlink()
    for _ in range(2):  # the second time the loop leads to the copies, too
        outcome = protect(folder)
        assert not outcome.problems
        assert outcome.protected == 3
    assert set(files(folder.parent / "out")) == {"a.png", "one.png", "holiday/2.png", *REPORTS}
    text = (folder.parent / "out" / "report.md").read_text()
    assert "- holiday/1.png: the same file as one.png" in text
    assert "- here: the same folder as the input folder" in text


def test_the_report_is_a_table_whatever_files_and_models_are_called(folder: Path) -> None:
    hostile = "[x](y) <b>|`c`.png"
    save_photo(folder / hostile, 0)
    save_photo(folder / "b.png", 1)
    (folder / "same").symlink_to(hostile)
    points_for(folder)
    model = "surrogate.name='<i>_judge_</i>'"
    assert not protect(folder, "out", model).problems
    text = (folder.parent / "out" / "report.md").read_text()
    page = MarkdownIt("commonmark").enable("table").render(text)
    assert page.count("<tr>") == 3
    assert "&lt;b&gt;|`c`.png</td>" in page
    assert "<td>8</td>" in page
    assert not re.search(r"<(?:b|i|code|a)\b", page)
    assert not re.search(r"\| \d+\\", text), "numbers are read as they are"


def test_what_may_be_a_lost_photo_is_a_problem(folder: Path) -> None:
    save_photo(folder / "a.png", 0)
    points_for(folder)
    (folder / "away").symlink_to("/nowhere/at/all")
    (folder / "ring").symlink_to("ring")
    (folder / "disk").symlink_to("/")
    outcome = protect(folder)
    assert {line.partition(": ")[0] for line in outcome.problems} == {"away", "ring", "disk"}
    assert rows(folder.parent / "out").loc["disk", "status"] == "not_followed"


def test_what_is_no_plain_file_is_never_opened(folder: Path) -> None:
    save_photo(folder / "a.png", 0)
    points_for(folder)
    os.mkfifo(folder / "pipe.jpg")
    os.mkfifo(folder / "pipe")
    (folder / "device.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "s.png"))
        outcome = protect(folder)
    assert sorted(line.split(": ")[:2] for line in outcome.problems) == [
        [name, "unreadable"] for name in ("device.png", "pipe.jpg", "s.png")
    ]
    with pytest.raises(ConfigError, match="is no file or folder"):
        collect(folder / "pipe")


@pytest.mark.parametrize("name", REPORTS)
def test_reports_of_somebody_else_are_left_alone(album: Path, name: str) -> None:
    out = album.parent / "out"
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(ConfigError, match=rf"{name} in .* is not as this command writes it.*overwrite=true") as caught:
        protect(album)
    assert "\n" not in str(caught.value)
    assert list(out.rglob("*")) == [out / name]
    assert (out / name).read_bytes() == b"mine"
    protect(album, "out", "overwrite=true")
    assert (out / name).read_bytes() != b"mine"
    protect(album)
    (out / "report.md").write_text((out / "report.md").read_text() + "my own remark")
    with pytest.raises(ConfigError, match=r"report\.md"):
        protect(album)


def test_a_run_killed_while_it_reports_knows_its_reports(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protect(album)
    save_photo(album / "z.png", 9)
    write_points(album.parent / "points.csv", ["album/z.png", "album/a.png", "album/b.jpg"])
    from cloakbench.bench.protect.state import FinishedCopies

    write = FinishedCopies._write

    def killed(copies: FinishedCopies, place: Path, content: bytes) -> None:
        if place.name == "report.md":
            raise KeyboardInterrupt
        write(copies, place, content)

    with monkeypatch.context() as patch:
        patch.setattr(FinishedCopies, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            protect(album)
    protect(album)
    assert "z.png" in (album.parent / "out" / "report.md").read_text()


@pytest.mark.parametrize("place", ["trip", "a.png", ".cloakbench", ".cloakbench/lock"])
def test_no_link_in_the_output_folder_is_followed(album: Path, place: str) -> None:
    out, outside = album.parent / "out", album.parent / "outside"
    outside.mkdir()
    (outside / "file").write_text("precious")
    (out / place).parent.mkdir(parents=True)
    (out / place).symlink_to(outside / "file" if place in ("a.png", ".cloakbench/lock") else outside)
    if place.startswith(".cloakbench"):
        with pytest.raises(ConfigError, match="link, which is not followed"):
            protect(album, "out", "overwrite=true")
    else:
        problems = protect(album).problems
        assert len(problems) == 1
        assert problems[0].startswith("trip/d.png: exists: trip" if place == "trip" else "a.png: exists")
        assert len(protect(album, "out", "overwrite=true").problems) == (place == "trip")
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"file": "precious"}


def test_a_photo_called_like_the_report_is_a_clash(folder: Path) -> None:
    save_photo(folder / "report.png", 0)
    save_photo(folder / "a.png", 1)
    points_for(folder)
    [problem] = protect(folder).problems
    assert problem.startswith("report.png: name_clash: report.png is a file of the report")


TYPES: dict[str, tuple[str, dict[str, Any]]] = {
    "grey.jpg": ("L", {"quality": 80}),
    "colour.jpg": ("RGB", {"quality": 85, "subsampling": 2, "progressive": True}),
    "print.jpg": ("CMYK", {"quality": 85}),
    "grey.png": ("L", {}),
    "deep.png": ("I;16", {}),
    "palette.png": ("P", {}),
    "glass.png": ("RGBA", {}),
    "lossy.webp": ("RGB", {"quality": 80}),
    "whole.webp": ("RGB", {"lossless": True}),
    "b.bmp": ("RGB", {}),
    "t.tif": ("RGB", {"compression": "tiff_lzw"}),
    "c.tif": ("CMYK", {}),
    "g.gif": ("L", {}),
    "p.ppm": ("RGB", {}),
    "j.jp2": ("RGB", {}),
}
EXACT = {"grey.png", "deep.png", "palette.png", "glass.png", "whole.webp", "b.bmp", "t.tif", "c.tif", "g.gif", "p.ppm"}
GREY = {"grey.jpg", "grey.png", "deep.png", "g.gif", "rgb_grey.jpg", "rgb_grey.png"}


def test_every_type_keeps_name_type_and_greyness(folder: Path) -> None:
    save_photo(folder / "x.png", 3)
    colour = Image.open(folder / "x.png").convert("RGB")
    (folder / "x.png").unlink()
    for name, (mode, options) in TYPES.items():
        picture = Image.merge("RGBA", [*colour.split(), colour.getchannel(0)]) if mode == "RGBA" else colour
        picture = picture.convert("L").convert(mode) if mode == "I;16" else picture.convert(mode)
        picture.save(folder / name, **options)
    for name in ("rgb_grey.jpg", "rgb_grey.png"):
        colour.convert("L").convert("RGB").save(folder / name)
    points_for(folder)
    outcome = protect(folder)
    assert not outcome.problems
    table, out = rows(folder.parent / "out"), folder.parent / "out"
    for name in (*TYPES, "rgb_grey.jpg", "rgb_grey.png"):
        before, after = Image.open(folder / name), Image.open(out / name)
        assert after.format == before.format, name
        change = (pixels(out / name).short() - pixels(folder / name).short()).abs()
        assert change.max() >= 4, name
        if name in EXACT or name == "rgb_grey.png":
            assert change.max() <= 8, name
            assert table.loc[name, "exact"] == "yes" or name == "glass.png"  # a shade of white rounds
        if after.format in ("JPEG", "WEBP") and name != "whole.webp":
            assert 0.7 < (out / name).stat().st_size / (folder / name).stat().st_size < 1.5, name
        copy = pixels(out / name)
        assert torch.equal(copy, copy[:1].expand_as(copy)) == (name in GREY), name
    assert Image.open(out / "grey.jpg").mode == Image.open(out / "grey.png").mode == "L"
    assert Image.open(out / "colour.jpg").info["progressive"]
    glass, seen_through = (np.array(Image.open(place / "glass.png")) for place in (folder, out))
    assert (glass[..., 3] == seen_through[..., 3]).all()
    assert "16 bits became 8" in table.loc["deep.png", "notes"]
    assert "CMYK became RGB" in table.loc["print.jpg", "notes"]
    assert "palette" in table.loc["palette.png", "notes"]
    assert pd.isna(table.loc["glass.png", "notes"])


def test_a_grey_photo_spends_its_budget_in_grey(folder: Path) -> None:
    """The change is made in grey from the start: made in colour, most of it would cancel."""
    for seed, name in enumerate(("colour.png", "grey.png")):
        save_photo(folder / name, seed)
    grey = Image.open(folder / "grey.png").convert("L").convert("RGB")
    grey.save(folder / "grey.png")
    points_for(folder)
    protect(folder, "out", "method.steps=10")
    table = rows(folder.parent / "out")
    assert table.loc["grey.png", "mean_change_255"] > 0.75 * table.loc["colour.png", "mean_change_255"]
    assert table.loc["grey.png", "max_change_255"] == 8
    assert table.loc["grey.png", "cosine_crop_tiny1"] < 0.95


def test_a_grey_photo_gets_the_grey_part_of_a_mask_made_for_a_person(folder: Path) -> None:
    for seed, name in enumerate(("a.png", "b.png", "grey.png")):
        save_photo(folder / name, seed)
    Image.open(folder / "grey.png").convert("L").convert("RGB").save(folder / "grey.png")
    points_for(folder)
    assert not protect(folder, "out", "method=opom_convex_hull", "method.steps=3").problems
    copy = pixels(folder.parent / "out" / "grey.png")
    assert torch.equal(copy, copy[:1].expand_as(copy))
    assert rows(folder.parent / "out").loc["grey.png", "max_change_255"] <= 8
