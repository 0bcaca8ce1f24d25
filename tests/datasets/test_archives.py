"""Unpacking: whole or not at all, and nothing outside the folder, whatever the archive says."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from cloakbench.datasets.archives import ArchiveError, unfinished, unpack

CONTENT = b"photo" * 100
ROOM = 10_000


def tar(path: Path, members: dict[str, bytes], *extra: tarfile.TarInfo, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
        for info in extra:
            file.addfile(info)
    return path


def zipped(path: Path, members: dict[str, bytes], *extra: zipfile.ZipInfo) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
        for info in extra:
            file.writestr(info, b"target")
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("make", [tar, zipped])
def test_members_arrive_and_replace_what_was_there(tmp_path: Path, make) -> None:
    root = tmp_path / "root"
    (root / "lfw").mkdir(parents=True)
    (root / "lfw" / "old").touch()
    (root / "mine.txt").touch()
    archive = make(tmp_path / "a.bin", {"lfw/Ann/1.jpg": CONTENT, "readme": b"x"})
    unpack(archive, root, ROOM)
    assert names(root) == {"lfw/Ann/1.jpg", "readme", "mine.txt"}
    assert (root / "lfw/Ann/1.jpg").read_bytes() == CONTENT
    assert not unfinished(archive, root)


OUTSIDE = ["../evil", "/evil", "a/../../evil", "C:evil", "\\evil", "a\\..\\..\\evil"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("make", [tar, zipped])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, make, name: str) -> None:
    root = tmp_path / "deep" / "root"
    with pytest.raises(ArchiveError, match="would be written outside the folder; nothing was unpacked"):
        unpack(make(tmp_path / "a.bin", {"fine.jpg": CONTENT, name: b"x"}), root, ROOM)
    assert names(tmp_path) == {"a.bin"}


@pytest.mark.parametrize(
    "member",
    [
        special("link", tarfile.SYMTYPE, "/etc/passwd"),
        special("link", tarfile.SYMTYPE, "fine.jpg"),
        special("hard", tarfile.LNKTYPE, "fine.jpg"),
        special("pipe", tarfile.FIFOTYPE),
        special("device", tarfile.CHRTYPE),
    ],
)
def test_links_and_devices_are_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    with pytest.raises(ArchiveError, match="is neither a plain file nor a folder"):
        unpack(tar(tmp_path / "a.tgz", {"fine.jpg": CONTENT}, member), tmp_path / "root", ROOM)
    assert names(tmp_path) == {"a.tgz"}


def test_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with pytest.raises(ArchiveError, match="'link' is neither a plain file nor a folder"):
        unpack(zipped(tmp_path / "a.zip", {}, link), tmp_path / "root", ROOM)


@pytest.mark.parametrize("make", [tar, zipped])
def test_more_than_there_should_be_is_refused(tmp_path: Path, make) -> None:
    archive = make(tmp_path / "a.bin", {"1.jpg": bytes(6000), "2.jpg": bytes(6000)})
    with pytest.raises(ArchiveError, match="more than there should be; nothing was unpacked"):
        unpack(archive, tmp_path / "root", ROOM)
    assert names(tmp_path) == {"a.bin"}


def test_zip_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"1.jpg": bytes(50_000)})
    content = archive.read_bytes()
    archive.write_bytes(content.replace((50_000).to_bytes(4, "little"), (9).to_bytes(4, "little")))
    with pytest.raises(ArchiveError, match="is damaged"):
        unpack(archive, tmp_path / "root", ROOM)


def test_tar_that_ends_between_two_members_is_refused(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar", {"1.jpg": bytes(512), "2.jpg": bytes(512)}, mode="w")
    archive.write_bytes(archive.read_bytes()[:1024])
    with pytest.raises(ArchiveError, match="it is cut off"):
        unpack(archive, tmp_path / "root", ROOM)


def test_checksum_of_a_compressed_tar_is_compared(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tgz", {"1.jpg": CONTENT})
    content = bytearray(archive.read_bytes())
    content[-8] ^= 1
    archive.write_bytes(bytes(content))
    with pytest.raises(ArchiveError, match=r"is damaged \(CRC check failed"):
        unpack(archive, tmp_path / "root", ROOM)


@pytest.mark.parametrize("make", [tar, zipped])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_damaged_archive_changes_nothing(tmp_path: Path, make, share: float) -> None:
    members = {f"lfw/{n}.jpg": bytes(range(256)) * (n + 1) for n in range(8)}
    archive = make(tmp_path / "a.bin", members)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArchiveError, match=r"is damaged .*: delete it and fetch it again"):
        unpack(archive, tmp_path / "root", ROOM)
    assert names(tmp_path) == {"a.bin"}


def test_interrupted_unpacking_is_seen_and_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, root = tar(tmp_path / "a.tgz", {"one/1.jpg": CONTENT, "two/2.jpg": CONTENT}), tmp_path / "root"

    class Killed(BaseException):
        pass

    def die(source: Path, target: Path) -> None:
        if target.name == "two":
            raise Killed
        source.replace(target)

    with monkeypatch.context() as patch:
        patch.setattr("cloakbench.datasets.archives._move", die)
        with pytest.raises(Killed):
            unpack(archive, root, ROOM)
    assert (root / "one").exists()
    assert unfinished(archive, root)
    unpack(archive, root, ROOM)
    assert names(root) == {"one/1.jpg", "two/2.jpg"}
    assert not unfinished(archive, root)
