"""Weight files: digests, layouts, and every way a file can be wrong."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path

import pytest
import torch
from pytest_httpserver import HTTPServer
from safetensors.torch import save_file
from torch import nn

from cloakbench.models.state_dict import read_state_dict
from cloakbench.models.weight_file import WeightError, WeightFile

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.0, 2.0])}


class _RunsCode:
    """Unpickling it makes a folder; the folder shows whether code ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def _one_line(error: pytest.ExceptionInfo[WeightError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def test_digest_is_the_files_whether_or_not_one_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert WeightFile(str(path)).resolve() == (path, digest)
    assert WeightFile(str(path), sha256=digest).resolve() == (path, digest)


def test_relative_path_starts_at_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.onnx").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    assert WeightFile("net.onnx").resolve()[0].samefile(tmp_path / "net.onnx")


def test_wrong_digest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"weights")
    with pytest.raises(WeightError, match="expected 0000") as error:
        WeightFile(str(path), sha256="0" * 64).resolve()
    assert "fetch it again" in _one_line(error)


@pytest.mark.parametrize("content", [None, b""], ids=["missing", "empty"])
def test_missing_or_empty_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "net.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightError, match=r"no weight file at|is empty") as error:
        WeightFile(str(path)).resolve()
    assert str(path) in _one_line(error)


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(WeightError, match="path or an address"):
        WeightFile()
    with pytest.raises(WeightError, match="64 lower-case"):
        WeightFile("net.onnx", sha256="e8392")


def test_url_is_fetched_once_into_the_hub_folder(
    httpserver: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    httpserver.expect_request("/a/model.pth").respond_with_data(b"first")
    httpserver.expect_request("/b/model.pth").respond_with_data(b"second")
    first, second = (WeightFile(urls=[httpserver.url_for(f"/{folder}/model.pth")]) for folder in "ab")
    assert first.resolve()[0].read_bytes() == b"first"
    assert second.resolve()[0].read_bytes() == b"second", "equal file names from two addresses stay apart"
    assert first.resolve()[0].suffix == ".pth"
    assert len(httpserver.log) == 2
    assert tmp_path in first.resolve()[0].parents


def test_a_member_names_the_file_in_the_hub_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    place = WeightFile(urls=["http://127.0.0.1/all.zip?download=1"], member="a/net.onnx").place
    assert place.name.endswith("-net.onnx")
    assert tmp_path in place.parents


def test_a_file_without_a_digest_may_not_change(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"first")
    WeightFile(str(path)).resolve()
    path.write_bytes(b"second")
    with pytest.raises(WeightError, match=r"weights\.lock\.json to accept this one") as error:
        WeightFile(str(path)).resolve()
    _one_line(error)
    digest = hashlib.sha256(b"second").hexdigest()
    assert WeightFile(str(path), sha256=digest).resolve() == (path, digest), "a published digest is the better witness"


def test_a_missing_file_without_an_address_names_the_page(tmp_path: Path) -> None:
    with pytest.raises(WeightError, match=r"put it there \(from https://example\.org/models\)"):
        WeightFile(str(tmp_path / "net.onnx")).resolve("https://example.org/models")


def test_offline_says_which_file_to_put_where(
    httpserver: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOAKBENCH_OFFLINE", "1")
    path = tmp_path / "net.onnx"
    file = WeightFile(str(path), [httpserver.url_for("/net.onnx")])
    with pytest.raises(WeightError, match="offline") as error:
        file.resolve()
    assert f"at {path} (sha256 not published)" in _one_line(error)
    path.write_bytes(b"copied from elsewhere")
    assert file.resolve()[0] == path
    assert not httpserver.log


def test_failed_download_says_where_the_file_would_go(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request("/net.onnx").respond_with_data(b"other bytes")
    target = tmp_path / "net.onnx"
    with pytest.raises(WeightError, match="put the file at") as error:
        WeightFile(str(target), [httpserver.url_for("/net.onnx")], sha256="0" * 64).resolve()
    assert str(target) in _one_line(error)
    assert not target.exists()


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_state_dict_survives_either_format_as_float32(tmp_path: Path, name: str) -> None:
    halves = {key: tensor.half() for key, tensor in STATE.items()} | {"count": torch.tensor(3)}
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(halves, path)
    else:
        torch.save(halves, path)
    state = read_state_dict(path)
    assert state["weight"].dtype == torch.float32
    assert state["count"].dtype == torch.int64
    assert all(torch.equal(state[key], tensor) for key, tensor in STATE.items())


def test_state_key_and_prefix_reach_the_tensors(tmp_path: Path) -> None:
    path = tmp_path / "net.ckpt"
    torch.save({"epoch": 7, "net": {f"module.{key}": tensor for key, tensor in STATE.items()}}, path)
    assert read_state_dict(path, "net", "module.").keys() == STATE.keys()


@pytest.mark.parametrize(
    ("state_key", "strip_prefix", "hint"),
    [
        (None, "", "set weights.state_key to one of net"),
        ("model", "", "set weights.state_key to one of net"),
        ("net", "module.", "the first is 'weight'"),
    ],
)
def test_wrong_layout_is_named(tmp_path: Path, state_key: str | None, strip_prefix: str, hint: str) -> None:
    path = tmp_path / "net.ckpt"
    torch.save({"epoch": 7, "net": STATE}, path)
    with pytest.raises(WeightError, match=hint) as error:
        read_state_dict(path, state_key, strip_prefix)
    _one_line(error)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [None, 2, 4], ids=["torch.save", "pickle 2", "pickle 4"])
def test_pickle_that_would_run_code_runs_nothing(tmp_path: Path, protocol: int | None) -> None:
    path, trace = tmp_path / "net.pth", tmp_path / "trace"
    content = {"weight": STATE["weight"], "payload": _RunsCode(trace)}
    if protocol is None:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content["payload"], protocol))
    with pytest.raises(WeightError, match="safetensors") as error:
        read_state_dict(path)
    assert not trace.exists()
    if protocol is None:
        assert "mkdir" in _one_line(error)


def test_whole_module_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(nn.Linear(3, 2), path)
    with pytest.raises(WeightError, match=r"torch\.nn\.modules\.linear\.Linear") as error:
        read_state_dict(path)
    assert "safetensors" in _one_line(error)


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "text"])
def test_corrupt_file_is_refused(tmp_path: Path, name: str, damage: str) -> None:
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(STATE, path)
    else:
        torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:-100] if damage == "truncated" else b"<html>not found</html>")
    with pytest.raises(WeightError, match=r"fetch it again|safetensors") as error:
        read_state_dict(path)
    assert str(path) in _one_line(error)
