"""``cloakbench fetch``, against a server on localhost: what arrives, what is said instead, and the exit status."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest
from hydra.utils import instantiate
from perceptual_files import dreamsim_files
from pytest_httpserver import HTTPServer
from safetensors.torch import load_file, save_file

from cloakbench.bench.cli.main import main
from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.protocols.quality import learnt
from cloakbench.datasets.layouts.lfw import Lfw
from cloakbench.datasets.listing import RemoteFile

from ...datasets.layouts import planted
from ...datasets.layouts.planted import PLANTED


def archive(source: Path, *folders: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as file:
        for folder in folders:
            file.add(source / folder, folder)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only servers are on localhost, whatever the other tests are forbidden."""
    for switch in ("CLOAKBENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(switch, raising=False)


@pytest.fixture
def published(tmp_path: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> HTTPServer:
    """LFW on a server of ours: the first address of the archive is gone, the second works."""
    planted.lfw(tmp_path / "source")
    content = archive(tmp_path / "source", "lfw")
    pairs = (tmp_path / "source" / "pairs.txt").read_bytes()
    httpserver.expect_request("/gone.tgz").respond_with_data("gone", status=404)
    httpserver.expect_request("/lfw.tgz").respond_with_data(content)
    httpserver.expect_request("/pairs.txt").respond_with_data(pairs)
    addresses = (httpserver.url_for("/gone.tgz"), httpserver.url_for("/lfw.tgz"))
    digests = [hashlib.sha256(part).hexdigest() for part in (content, pairs)]
    files = (
        RemoteFile(addresses, "lfw.tgz", digests[0], unpack=True),
        RemoteFile((httpserver.url_for("/pairs.txt"),), "pairs.txt", digests[1]),
    )
    monkeypatch.setattr(Lfw, "files", files)
    return httpserver


def asked(server: HTTPServer) -> list[str]:
    return [request.path for request, _ in server.log]


def test_data_set_arrives_and_is_not_fetched_twice(
    tmp_path: Path, published: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data" / "lfw"
    words = ["fetch", "dataset=lfw", f"dataset.root={root}"]
    assert main(words) == 0
    assert f"lfw: 20 photos of 5 people in {root}" in capsys.readouterr().out
    assert asked(published) == ["/gone.tgz", "/lfw.tgz", "/pairs.txt"]
    assert sorted(path.name for path in root.iterdir()) == ["lfw", "pairs.txt"]
    assert main(words) == 0
    assert len(published.log) == 3
    (root / "pairs.txt").unlink()
    assert main(words) == 0
    assert asked(published)[3:] == ["/pairs.txt"]


def test_half_unpacked_archive_is_not_taken_for_a_whole_one(tmp_path: Path, published: HTTPServer) -> None:
    root = tmp_path / "lfw"
    planted.photos(root / "lfw", planted.people({"Ann_Lee": 1}))
    (root / ".lfw.tgz.unpacking" / "lfw").mkdir(parents=True)
    assert main(["fetch", "dataset=lfw", f"dataset.root={root}"]) == 0
    assert len(Lfw(root).listing()) == 20
    assert sorted(path.name for path in root.iterdir()) == ["lfw", "pairs.txt"]


def test_hostile_archive_is_one_line(
    tmp_path: Path, published: HTTPServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "source" / "link").symlink_to("/etc/passwd")
    published.expect_request("/bad.tgz").respond_with_data(archive(tmp_path / "source", "lfw", "link"))
    monkeypatch.setattr(Lfw, "files", (RemoteFile((published.url_for("/bad.tgz"),), "bad.tgz", None, unpack=True),))
    assert main(["fetch", "dataset=lfw", f"dataset.root={tmp_path / 'lfw'}"]) == 1
    assert "'link' is neither a plain file nor a folder; nothing was unpacked" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "lfw").iterdir()] == ["bad.tgz"]


def test_what_was_put_in_place_by_hand_is_checked(
    tmp_path: Path, published: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "lfw"
    root.mkdir()
    words = ["fetch", "dataset=lfw", f"dataset.root={root}"]
    (root / "lfw.tgz").write_bytes(archive(tmp_path / "source", "lfw")[:-30])
    assert main(words) == 1
    said = capsys.readouterr().err
    assert f"{root}/lfw.tgz has sha256 " in said
    assert "remove it, and run this again" in said
    assert [path.name for path in root.iterdir()] == ["lfw.tgz"], "nothing was unpacked"
    (root / "lfw.tgz").unlink()
    os.mkfifo(root / "lfw.tgz")
    assert main(words) == 1
    assert "lfw.tgz: it is a named pipe and not a plain file: remove it" in capsys.readouterr().err
    (root / "lfw.tgz").unlink()
    assert main(words) == 0
    (root / "pairs.txt").write_text("1\nx 1 2\n", encoding="utf-8")
    assert main(words) == 1
    assert "pairs.txt has sha256" in capsys.readouterr().err


def test_nobody_has_the_file(tmp_path: Path, published: HTTPServer, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(Lfw, "files", (RemoteFile((published.url_for("/gone.tgz"),), "lfw.tgz", None, unpack=True),))
    assert main(["fetch", "dataset=lfw", f"dataset.root={tmp_path}/lfw"]) == 1
    message = capsys.readouterr().err
    assert "HTTP 404" in message
    assert f"get lfw.tgz from {Lfw.page} and put it at {tmp_path}/lfw/lfw.tgz" in message


@pytest.mark.parametrize("name", ["celeba", "vggface2"])
def test_data_set_behind_a_form_says_page_licence_and_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    words = ["fetch", f"dataset={name}", f"dataset.root={tmp_path}/here"]
    assert main(words) == 1
    said = capsys.readouterr().out
    assert "page     http" in said
    assert "licence  " in said
    assert f"under    {tmp_path}/here" in said
    PLANTED[name](tmp_path / "here")
    assert main(words) == 0
    assert f" people in {tmp_path}/here" in capsys.readouterr().out


def test_photos_that_cannot_be_used_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted.utkface(tmp_path)
    assert main(["fetch", "dataset=utkface", f"dataset.root={tmp_path}"]) == 0
    assert "2 more cannot be used; the first is 117_0_0_" in capsys.readouterr().out


@pytest.mark.slow
def test_weights_of_a_model(tmp_path: Path, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]) -> None:
    httpserver.expect_request("/net.onnx").respond_with_data(b"weights")
    words = ["fetch", "model=mobilefacenet_casia", f"model.weights.path={tmp_path}/net.onnx"]
    words += [f"model.weights.urls=[{httpserver.url_for('/net.onnx')}]"]
    digest = hashlib.sha256(b"weights").hexdigest()
    assert main([*words, f"model.weights.sha256={digest}"]) == 0
    assert f"mobilefacenet_casia: {tmp_path}/net.onnx, sha256 {digest}" in capsys.readouterr().out
    (tmp_path / "net.onnx").write_bytes(b"others")
    assert main([*words, f"model.weights.sha256={digest}"]) == 1
    assert f"expected {digest}" in capsys.readouterr().err


def test_embedded_model_has_nothing_to_fetch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "model=arcface_ir"]) == 0
    assert "come with the package" in capsys.readouterr().out


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def test_files_of_an_image_metric_arrive_with_their_digests(
    weights: Path, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fetch", "metric=dists"]
    for setting, content in (("trunk", b"the trunk"), ("heads", b"the heads")):
        httpserver.expect_request(f"/{setting}").respond_with_data(content)
        digest = hashlib.sha256(content).hexdigest()
        words += [f"metric.{setting}.urls=[{httpserver.url_for(f'/{setting}')}]", f"metric.{setting}.sha256={digest}"]
    assert main(words) == 0
    said = capsys.readouterr().out
    for name, content in (("vgg16-397923af.pth", b"the trunk"), ("dists_heads.pt", b"the heads")):
        assert f"dists: {weights / name}, sha256 {hashlib.sha256(content).hexdigest()}" in said
    assert main(words) == 0 and len(httpserver.log) == 2
    (weights / "dists_heads.pt").write_bytes(b"the he")
    assert main(words) == 1
    assert f"expected {hashlib.sha256(b'the heads').hexdigest()}: fetch it again" in capsys.readouterr().err


def test_lpips_arrives_where_a_run_looks_for_it(
    weights: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    httpserver.expect_request("/alexnet.pth").respond_with_data(b"alexnet")
    monkeypatch.setattr(learnt, "ALEXNET_URL", httpserver.url_for("/alexnet.pth"))
    assert main(["fetch", "metric=lpips"]) == 1
    assert f"expected {learnt.ALEXNET_SHA256}" in capsys.readouterr().err
    assert list(weights.glob("*.pth")) == []
    monkeypatch.setattr(learnt, "ALEXNET_SHA256", hashlib.sha256(b"alexnet").hexdigest())
    assert main(["fetch", "metric=lpips"]) == 0
    metric = compose_config(["experiment=smoke"]).protocols.quality.image_metrics.lpips
    assert str(weights / "alexnet-owt-7be5be79.pth") == metric.path and not instantiate(metric).missing


def test_what_of_dreamsim_nobody_serves_alone_names_page_licence_and_places(
    weights: Path, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    httpserver.expect_request("/dino.pth").respond_with_data(b"dino")
    words = ["fetch", "metric=dreamsim", f"metric.dino.urls=[{httpserver.url_for('/dino.pth')}]"]
    words += [f"metric.dino.sha256={hashlib.sha256(b'dino').hexdigest()}"]
    assert main(words) == 1
    said = capsys.readouterr().out
    assert f"dreamsim: {weights}/dreamsim/dino_vitbase16_pretrain.pth, sha256 " in said
    assert said.count("no weight file at ") == 4
    for part in ("page     https://github.com/", "licence  MIT", "how      unpack "):
        assert part in said


@pytest.mark.slow
def test_files_that_nobody_publishes_a_digest_of_are_kept_to_once_they_have_been_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fetch", "metric=dreamsim", "metric.dino.sha256=null", "metric.dino.urls=[]"]
    words += [f"metric.{setting}.path={file.place}" for setting, file in dreamsim_files(tmp_path).items()]
    adapter = tmp_path / "adapter_model.safetensors"
    whole = adapter.read_bytes()
    adapter.write_bytes(whole[: len(whole) // 2])
    assert main(words) == 1
    assert "adapter_model" not in (tmp_path / "weights.lock.json").read_text(encoding="utf-8")
    assert "adapter_model.safetensors" in capsys.readouterr().err
    adapter.write_bytes(whole)
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.count(", which nobody publishes") == 5
    assert "are kept to as they are (weights.lock.json beside them)" in said
    save_file({name: value + 1 for name, value in load_file(adapter).items()}, adapter)
    assert main(words) == 1
    assert 'delete the line "adapter_model.safetensors"' in capsys.readouterr().err


def test_a_formula_has_nothing_to_fetch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "metric=ssim"]) == 0
    assert "reads no file of others" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to fetch"),
        (["dataset=lfw", "model=onnx"], "say what to fetch"),
        (["dataset=synthetic"], "there is nothing to fetch"),
        (["dataset=csv"], "set dataset.root"),
        (["model=onnx"], "set model."),
        (["dataset=lwf"], "did you mean 'lfw'"),
        (["metric=dist"], "did you mean 'dists'"),
        (["metric=lpips", "metric.path=null"], "set metric.path=FILE"),
    ],
)
def test_words_that_do_not_name_one_thing(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", *words]) == 1
    assert message in capsys.readouterr().err


def test_weights_that_nobody_may_fetch_name_their_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(tmp_path))
    assert main(["fetch", "model=irse50"]) == 1
    assert "from https://" in capsys.readouterr().err
