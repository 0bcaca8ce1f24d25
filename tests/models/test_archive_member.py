"""Taking one file out of archives, sound and hostile."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from cloakbench.models.archive_member import MemberError, extract_member

FILES = {"README": b"words", "models/net.pth": bytes(range(256)) * 64}


def _pack(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in files.items():
                packed.writestr(name, content)
    else:
        with tarfile.open(path, "w:" + path.suffix.removeprefix(".").replace("tar", "")) as packed:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                packed.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.gz", "a.xz", "a.bz2"])
def test_a_member_comes_out_of_every_kind(tmp_path: Path, name: str) -> None:
    archive = _pack(tmp_path / name, FILES).rename(tmp_path / "nameless.part")
    extract_member(archive, "models/net.pth", tmp_path / "net.pth")
    assert (tmp_path / "net.pth").read_bytes() == FILES["models/net.pth"]


def test_a_leading_dot_in_the_archive_does_not_matter(tmp_path: Path) -> None:
    archive = _pack(tmp_path / "a.tar", {"./net.pth": b"weights"})
    extract_member(archive, "net.pth", tmp_path / "net.pth")
    assert (tmp_path / "net.pth").read_bytes() == b"weights"


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_what_there_is_is_named_when_the_member_is_missing(tmp_path: Path, name: str) -> None:
    archive = _pack(tmp_path / name, FILES)
    with pytest.raises(MemberError, match=r"no file 'net\.pth' in the archive \(there are: README, models/net\.pth\)"):
        extract_member(archive, "net.pth", tmp_path / "net.pth")
    assert not (tmp_path / "net.pth").exists()


@pytest.mark.parametrize("member", ["../outside.pth", "/outside.pth"])
@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_a_name_that_climbs_out_goes_nowhere_but_the_target(tmp_path: Path, name: str, member: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    extract_member(_pack(inner / name, {member: b"weights"}), member, inner / "net.pth")
    assert (inner / "net.pth").read_bytes() == b"weights"
    assert sorted(path.name for path in tmp_path.rglob("*.pth")) == ["net.pth"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_only_regular_files_are_members(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "secret").write_text("secret")
    entry = tarfile.TarInfo("net.pth")
    entry.type, entry.linkname = kind, str(tmp_path / "secret")
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        packed.addfile(entry)
    with pytest.raises(MemberError, match="no file"):
        extract_member(tmp_path / "a.tar", "net.pth", tmp_path / "net.pth")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.gz", "a.xz", "a.bz2"])
@pytest.mark.parametrize("damage", ["cut", "garbled"])
def test_damage_is_one_kind_of_error(tmp_path: Path, name: str, damage: str) -> None:
    archive = _pack(tmp_path / name, {"net.pth": bytes(range(251)) * 4000})
    content = archive.read_bytes()
    middle = len(content) // 2
    garbled = content[:middle] + bytes(255 - byte for byte in content[middle : middle + 64]) + content[middle + 64 :]
    archive.write_bytes(content[:middle] if damage == "cut" else garbled)
    if name == "a.tar" and damage == "garbled":
        pytest.skip("a plain tar file has no checksum of its contents; the member's digest finds it")
    with pytest.raises(MemberError):
        extract_member(archive, "net.pth", tmp_path / "net.pth")


def test_an_encrypted_archive_is_named(tmp_path: Path) -> None:
    archive = _pack(tmp_path / "a.zip", {"net.pth": b"weights"})
    content = bytearray(archive.read_bytes())
    content[6] |= 1  # the flag in the local header
    content[content.index(b"PK\x01\x02") + 8] |= 1  # and in the central directory
    archive.write_bytes(content)
    with pytest.raises(MemberError, match="encrypted"):
        extract_member(archive, "net.pth", tmp_path / "net.pth")


def test_something_else_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("<html>")
    with pytest.raises(MemberError, match="neither a zip nor a tar"):
        extract_member(tmp_path / "a", "net.pth", tmp_path / "net.pth")
