"""What is no plain file is never opened: by the opener itself, and by every reader of files of others."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloakbench.bench.config.compose import compose_config, group_options
from cloakbench.bench.core.files.file_lock import exclusive
from cloakbench.bench.core.files.regular_file import NotRegularError, open_regular, read_regular, require_regular
from cloakbench.datasets.archives import unpack
from cloakbench.datasets.crops import Cropper
from cloakbench.datasets.detection import read_landmarks
from cloakbench.datasets.layouts.csv_table import CsvTable
from cloakbench.datasets.layouts.identity_folders import IdentityFolders
from cloakbench.datasets.layouts.impersonation import Impersonation
from cloakbench.datasets.layouts.reading import read_lines, read_table
from cloakbench.datasets.layouts.recordio import read_records
from cloakbench.datasets.listing import Listing, Segment
from cloakbench.datasets.pairs import read_pairs
from cloakbench.models.download import file_sha256
from cloakbench.models.weight_file import WeightFile
from cloakbench.models.weight_lock import keep_first


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """A reader that waits for a pipe is a failure after some seconds, not the end of the test run."""

    def give_up(*_: object) -> None:
        pytest.fail("it hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def make(kind: str, path: Path) -> Path:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(path.with_name("real pipe"))
        path.symlink_to("real pipe")
    elif kind == "socket":
        here = Path.cwd()
        os.chdir(path.parent)  # the address of a socket is short
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
        os.chdir(here)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    return path


KINDS = {
    "pipe": "a named pipe",
    "link to a pipe": "a named pipe",
    "socket": "a socket",
    "device": "a device",
    "folder": "a folder",
}


@pytest.mark.parametrize("kind", KINDS)
def test_only_plain_files_are_opened(tmp_path: Path, kind: str) -> None:
    path = make(kind, tmp_path / "x")
    for act in (open_regular, require_regular, read_regular):
        with pytest.raises(NotRegularError, match=f"it is {KINDS[kind]} and not a plain file"):
            act(path)


def test_plain_files_and_links_to_them_are_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"content")
    (tmp_path / "link").symlink_to("x")
    assert read_regular(tmp_path / "x") == read_regular(tmp_path / "link") == b"content"
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


def test_what_takes_the_place_of_a_file_after_it_was_looked_at_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "x")
    monkeypatch.setattr("cloakbench.bench.core.files.regular_file.require_regular", lambda path: None)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(NotRegularError):
        open_regular(tmp_path / "x")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def _cropped(path: Path) -> None:
    crop = Cropper(None, aligned=True, max_megapixels=1, min_crop_px=1, cache=None).crop(str(path))
    assert crop.status == "unreadable"
    raise ValueError(crop.note)


def _segment(path: Path) -> None:
    crop = Cropper(None, aligned=True, max_megapixels=1, min_crop_px=1, cache=None).crop(Segment(str(path), 0, 4))
    raise ValueError(crop.note)


def _impersonation(path: Path) -> None:
    Impersonation(people=1, groups=1, file=str(path)).applied(Listing(["a/1"], ["a"], ["a/1"]), path.parent)


def _records(path: Path) -> None:
    index = path.with_suffix(".idx")
    index.write_text("1\t0\n", encoding="utf-8")
    read_records(IdentityFolders(path.parent), path, index)


READERS: dict[str, Callable[[Path], object]] = {
    "photo": _cropped,
    "photo in an archive": _segment,
    "pair list": lambda path: read_pairs(path, path.parent),
    "landmarks file": lambda path: read_landmarks(path, path.parent),
    "CSV table": lambda path: CsvTable(path.parent, path.name).listing(),
    "label lines": lambda path: read_lines(IdentityFolders(path.parent), path),
    "label table": lambda path: read_table(IdentityFolders(path.parent), path, columns=1),
    "impersonation list": _impersonation,
    "RecordIO": _records,
    "RecordIO index": lambda path: read_records(IdentityFolders(path.parent), path.with_name("none"), path),
    "archive": lambda path: unpack(path, path.parent / "out", 100),
    "weights": lambda path: WeightFile(path=str(path)).resolve(),
    "digest": file_sha256,
}


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_opens_anything_else(tmp_path: Path, reader: str, kind: str) -> None:
    path = make(kind, tmp_path / "x.rec")
    with pytest.raises((ValueError, OSError)) as caught:
        READERS[reader](path)
    said = str(caught.value)
    assert "\n" not in said
    assert "x.rec" in said or reader.startswith("photo")
    assert reader == "weights" or KINDS[kind] in said


def test_a_pipe_among_the_weights_is_no_lock_and_no_record(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.lock")
    with pytest.raises(OSError, match="No such device"), exclusive(tmp_path / "x.lock", "testing"):
        pass
    os.mkfifo(tmp_path / "weights.lock.json")
    with pytest.raises(OSError, match="a named pipe"):
        keep_first(tmp_path / "net.pth", "0" * 64)


def test_a_pipe_among_the_configs_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "method").mkdir()
    os.mkfifo(tmp_path / "method" / "x.yaml")
    (tmp_path / "method" / "self").symlink_to("..")
    (tmp_path / "method" / "gone.yaml").symlink_to("nowhere")
    assert "x" not in group_options("method", [str(tmp_path)])
    with pytest.raises(ValueError, match="there is no method called 'x'"):
        compose_config(["method=x"], config_dirs=[str(tmp_path)])


def test_pipes_and_circles_of_links_do_not_stop_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "1.png").write_bytes(b"x")
    os.mkfifo(tmp_path / "ann" / "2.png")
    os.mkfifo(tmp_path / "ann" / "pipe")
    (tmp_path / "ann" / "3.png").symlink_to("3.png")
    (tmp_path / "ann" / "up").symlink_to("..")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "all").symlink_to(".")
    os.mkfifo(tmp_path / "bob")
    listing = IdentityFolders(tmp_path).listing()
    assert list(listing.image_id) == ["ann/1.png", "ann/2.png", "ann/3.png"]
    cropper = Cropper(None, aligned=True, max_megapixels=1, min_crop_px=1, cache=None)
    notes = [cropper.crop(place).note for place in listing.place]
    assert "a named pipe" in notes[1]
    assert "symbolic links" in notes[2]
