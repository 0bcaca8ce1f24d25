"""What the listing of identity folders finds, passes over and reports."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from cloakbench.datasets.layouts.identity_folders import IdentityFolders
from cloakbench.datasets.photos import DatasetError


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 40)).save(stream, "PNG")
    return stream.getvalue()


PNG = png()


def test_photos_are_sorted_and_side_files_passed_over(tmp_path: Path):
    for name in ("b/2.png", "b/10.PNG", "a/Zoë 雪.jpeg", "a/no suffix"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(PNG)
    for name in ("Thumbs.db", ".DS_Store", "notes.txt", "._2.png"):
        (tmp_path / "b" / name).write_bytes(b"\xd0\xcf\x11\xe0 side file")
    (tmp_path / "b" / "deeper").mkdir()
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "a" / "letter.jpg").write_text("a letter")
    (tmp_path / "a" / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "a" / "lost.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "c").mkdir()
    found = IdentityFolders(tmp_path).listing()
    assert list(found.image_id) == [
        "a/Zoë 雪.jpeg",
        "a/letter.jpg",
        "a/lost.jpg",
        "a/no suffix",
        "a/phone.heic",
        "b/10.PNG",
        "b/2.png",
    ]
    assert not found.rejected
    assert found.ignored == 7


def test_names_become_portable_text(tmp_path: Path):
    folder = tmp_path / "Zoe\u0308"
    folder.mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png")).write_bytes(PNG)
    found = IdentityFolders(tmp_path).listing()
    [image_id], [place] = found.image_id, found.place
    assert image_id == "Zo\u00eb/caf\\xe9.png"
    assert image_id.encode()
    assert Path(str(place)).read_bytes() == PNG


def test_roots_that_cannot_serve(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"cannot list .*nowhere.* set dataset.distractor_root"):
        IdentityFolders(tmp_path / "nowhere", "distractor_root").listing()
    (tmp_path / "photo.png").write_bytes(PNG)
    with pytest.raises(DatasetError, match="no identity folders"):
        IdentityFolders(tmp_path).listing()
    with pytest.raises(DatasetError, match="cannot list"):
        IdentityFolders(tmp_path / "photo.png").listing()


def test_names_that_become_equal_are_reported(tmp_path: Path):
    (tmp_path / "ann").mkdir()
    for name in ("e\u0301.png", "\u00e9.png"):
        (tmp_path / "ann" / name).write_bytes(PNG)
    found = IdentityFolders(tmp_path).listing()
    assert list(found.image_id) == ["ann/\u00e9.png"]
    assert [(entry.image_id, entry.status) for entry in found.rejected] == [("ann/\u00e9.png", "duplicate")]


def test_litter_beside_the_people_is_ignored_and_counted(tmp_path: Path):
    for name in ("ann", "empty", "__MACOSX/ann", "only hidden", "@eaDir/ann", "nested/inner", "text"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("ann/1.png", "__MACOSX/ann/._1.png", "@eaDir/ann/SYNOFILE_THUMB.jpg", "only hidden/.1.png"):
        (tmp_path / name).write_bytes(PNG)
    (tmp_path / "text" / "notes.txt").write_text("no photo")
    found = IdentityFolders(tmp_path).listing()
    assert found.image_id == ("ann/1.png",)
    assert [(entry.image_id, entry.status) for entry in found.rejected] == [
        ("nested/", "no_photos"),
        ("text/", "no_photos"),
    ]
    assert found.ignored == 7  # four folders; a hidden file, an inner folder and a text


def test_links_and_pipes_do_not_stop_the_listing(tmp_path: Path):
    for name in ("root/ann", "root/bob", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    root = tmp_path / "root"
    for name in ("root/ann/1.png", "root/bob/1.png", "elsewhere/1.png"):
        (tmp_path / name).write_bytes(PNG)
    (root / "cleo").symlink_to(tmp_path / "elsewhere")
    for link, target in (("here", "."), ("up", ".."), ("self", "self"), ("lost", "nowhere")):
        (root / link).symlink_to(target)
        (root / "ann" / link).symlink_to(target)
    os.mkfifo(root / "ann" / "pipe.png")
    os.mkfifo(root / "pipe")
    found = IdentityFolders(root).listing()
    # A pipe that is called like a photo is listed, so that it is reported as unreadable and not passed over.
    assert list(found.image_id) == ["ann/1.png", "ann/pipe.png", "bob/1.png", "cleo/1.png"]
    assert not found.rejected
