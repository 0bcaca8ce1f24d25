"""What lies where weights should be is said in one line, and never kept to as the first file seen."""

from __future__ import annotations

import gzip
import json
import os
import socket
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cloakbench.models.loading import load_network
from cloakbench.models.weight_file import WeightError, WeightFile
from cloakbench.models.weight_lock import LOCK_NAME

STATE = {"weight": torch.ones(40, 30), "bias": torch.zeros(40)}
PAGE = "https://example.org/models"


def refusal(path: Path, network: bool = True) -> str:
    with pytest.raises(WeightError) as error:
        load_network(WeightFile(str(path)), (lambda: nn.Linear(30, 40)) if network else None, PAGE)
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    assert not (path.parent / LOCK_NAME).exists()
    return message


@pytest.mark.parametrize("suffix", [".pth", ".onnx", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "what", "remedy"),
    [
        (b"<!DOCTYPE html><html>Sign in</html>", "a web page", f"fetch the file itself from {PAGE}"),
        (b"\xef\xbb\xbf\r\n <html lang='en'>", "a web page", f"fetch the file itself from {PAGE}"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "a web page", "fetch the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer", "run git lfs pull"),
        (b'{"error": "Not\\u001b[31m found", "status": 404}', "a JSON text that says 'Not [31m found'", "fetch"),
        (b'{"detail": {"code": 1}}', "a JSON text that says", "fetch the file itself"),
        (b"[1, 2]", "a JSON text", "fetch the file itself"),
        (gzip.compress(b"weights", mtime=0), "packed with gzip", "unpack it first"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "an HDF5 file", "convert it to PyTorch or ONNX"),
        (b"%PDF-1.7 ...", "a PDF document", "fetch the file itself"),
    ],
)
def test_what_is_no_weight_file_is_named(tmp_path: Path, suffix: str, content: bytes, what: str, remedy: str) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    message = refusal(path, network=suffix != ".onnx")
    assert f"{path} is {what}" in message
    assert "not weights" in message
    assert remedy in message


@pytest.mark.parametrize("content", [b"404: Not Found", "Keine Datei. \u00fcberall".encode() * 60])
def test_a_text_is_named_by_how_it_begins(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    assert f"is a text that begins '{content[:10].decode()}" in refusal(path)


def test_an_index_of_several_files_says_how_to_join_them(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json.pth"
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    path.write_text(json.dumps({"metadata": {}, "weight_map": parts}))
    message = refusal(path)
    assert "the index of weights in 2 files" in message
    assert "model-00001-of-00002.safetensors" in message


def test_archives_are_named(tmp_path: Path) -> None:
    inner = tmp_path / "inner.pth"
    torch.save(STATE, inner)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        packed.write(inner, "folder/inner.pth")
    with tarfile.open(tmp_path / "all.tar", "w") as packed:
        packed.add(inner, "inner.pth")
    assert "a zip archive of folder/inner.pth, not weights: unpack it" in refusal(tmp_path / "all.zip")
    assert "a tar archive, not weights: unpack it" in refusal(tmp_path / "all.tar")


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors", "old.pth"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_a_cut_file_is_to_be_fetched_again(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=name == "net.pth")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "fetch it again" in refusal(path)


def test_a_folder_names_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "model.safetensors").touch()
    (tmp_path / "net" / "config.json").touch()
    assert "is a folder: name the weight file in it (there is model.safetensors)" in refusal(tmp_path / "net")


def test_what_is_no_regular_file_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket")
        assert "is a named pipe" in refusal(tmp_path / "pipe")
        assert "is a named pipe" in refusal(tmp_path / "link")
        assert "is a socket" in refusal(tmp_path / "socket")
    with pytest.raises(WeightError, match="is a device"):
        WeightFile("/dev/null").resolve()


def test_a_file_that_may_not_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.pth"
    torch.save(STATE, path)

    def forbidden(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("cloakbench.models.weight_file.file_sha256", forbidden)
    assert "cannot be read (Permission denied): check its permissions" in refusal(path)


def test_an_onnx_file_with_a_network_says_which_preset_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x08\x07\x12\x07pytorch" + bytes(100))
    assert "use model=onnx" in refusal(path)


def test_a_graph_in_json_passes_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "net-symbol.json"
    path.write_text('{"nodes": []}')
    assert WeightFile(str(path)).resolve()[0] == path


def test_one_address_or_front_need_not_be_a_list() -> None:
    file = WeightFile(urls="https://example.org/net.pth", ignore="fc.")
    assert file.urls == ("https://example.org/net.pth",)
    assert file.ignore == ("fc.",)
