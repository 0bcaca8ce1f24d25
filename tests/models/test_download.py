"""Fetching one file from mirrors, against a real server on localhost that misbehaves."""

from __future__ import annotations

import hashlib
import io
import logging
import multiprocessing
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from cloakbench.models import download as module
from cloakbench.models import transfer
from cloakbench.models.download import DiskError, DownloadError, OfflineError, download

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"\n<!DOCTYPE html><title>Sign in</title>"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSE_SECONDS", 0.0)


def _zip(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return content.getvalue()


def _cut_off(content: bytes, status: int = 200, **headers: str) -> Response:
    """Announces all of ``CONTENT`` and sends only ``content``."""
    response = Response(content, status, headers)
    response.headers["Content-Length"] = str(len(CONTENT))
    return response


def test_file_arrives_whole_in_a_new_folder(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request("/net.onnx").respond_with_data(CONTENT)
    target = tmp_path / "new" / "net.onnx"
    download(httpserver.url_for("/net.onnx"), target, SHA256)
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("sha256", [SHA256, None], ids=["digest known", "no digest"])
def test_an_existing_file_is_replaced(httpserver: HTTPServer, tmp_path: Path, sha256: str | None) -> None:
    httpserver.expect_request("/net.onnx").respond_with_data(CONTENT)
    (tmp_path / "net.onnx").write_bytes(b"old")
    download(httpserver.url_for("/net.onnx"), tmp_path / "net.onnx", sha256)
    assert (tmp_path / "net.onnx").read_bytes() == CONTENT


def test_wrong_bytes_leave_nothing_behind(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request("/net.onnx").respond_with_data(CONTENT[:-1] + b"?")
    with pytest.raises(DownloadError, match=f"expected {SHA256}"):
        download(httpserver.url_for("/net.onnx"), tmp_path / "net.onnx", SHA256)
    assert not list(tmp_path.iterdir())
    assert len(httpserver.log) == 1, "a whole answer that is wrong is not asked for again"


def test_a_file_that_changed_between_two_pieces_is_fetched_again(httpserver: HTTPServer, tmp_path: Path) -> None:
    """A server without validators: only the digest shows that the pieces do not belong together."""
    ranges = {"Content-Range": f"bytes 1000-{len(CONTENT) - 1}/{len(CONTENT)}"}
    replies = [_cut_off(b"x" * 1000), Response(CONTENT[1000:], 206, ranges), Response(CONTENT)]
    httpserver.expect_request("/net.onnx").respond_with_handler(lambda _: replies.pop(0))
    download(httpserver.url_for("/net.onnx"), tmp_path / "net.onnx", SHA256)
    assert (tmp_path / "net.onnx").read_bytes() == CONTENT
    assert not replies


def test_what_arrived_before_a_failure_is_used_by_the_next_call(httpserver: HTTPServer, tmp_path: Path) -> None:
    ranges = {"Content-Range": f"bytes 9-{len(CONTENT) - 1}/{len(CONTENT)}"}
    replies = [_cut_off(CONTENT[:9], ETag='"1"'), Response(status=404), Response(CONTENT[9:], 206, ranges)]
    asked: list[str | None] = []

    def serve(request: Request) -> Response:
        asked.append(request.headers.get("Range"))
        return replies.pop(0)

    httpserver.expect_request("/net.onnx").respond_with_handler(serve)
    url, target = httpserver.url_for("/net.onnx"), tmp_path / "net.onnx"
    with pytest.raises(DownloadError, match="HTTP 404"):
        download(url, target)
    assert not target.exists()
    download(url, target)
    assert target.read_bytes() == CONTENT
    assert asked == [None, "bytes=9-", "bytes=9-"]
    assert list(tmp_path.iterdir()) == [target]


def test_mirrors_are_tried_in_order_with_a_line_for_each_failure(
    httpserver: HTTPServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    httpserver.expect_request("/gone").respond_with_data("", status=404)
    httpserver.expect_request("/wrong").respond_with_data(b"other bytes")
    httpserver.expect_request("/right").respond_with_data(CONTENT)
    httpserver.expect_request("/unneeded").respond_with_data(CONTENT)
    urls = [httpserver.url_for(f"/{name}") for name in ("gone", "wrong", "right", "unneeded")]
    with caplog.at_level(logging.WARNING):
        download(urls, tmp_path / "net.onnx", SHA256)
    assert (tmp_path / "net.onnx").read_bytes() == CONTENT
    assert [request.path for request, _ in httpserver.log] == ["/gone", "/wrong", "/right"]
    first, second = caplog.messages
    assert "HTTP 404" in first
    assert "/gone" in first
    assert "/wrong: sha256 is" in second


def test_when_no_mirror_works_one_line_names_all(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request("/a").respond_with_data("", status=404)
    httpserver.expect_request("/b").respond_with_data("", status=403)
    httpserver.expect_request("/c").respond_with_data(PAGE)
    with pytest.raises(DownloadError) as error:
        download([httpserver.url_for(f"/{name}") for name in "abc"], tmp_path / "net.onnx", SHA256)
    message = str(error.value)
    assert all(part in message for part in ("/a: HTTP 404", "/b: HTTP 403", f"expected {SHA256}", "web page"))
    assert "\n" not in message
    assert not list(tmp_path.iterdir())


def test_a_page_that_calls_itself_a_file_is_refused_without_a_digest(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request("/net.onnx").respond_with_data(PAGE, content_type="application/octet-stream")
    with pytest.raises(DownloadError, match="it is a web page"):
        download(httpserver.url_for("/net.onnx"), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_member_of_an_archive_is_what_the_digest_is_of(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request("/all.zip").respond_with_data(_zip({"a/net.onnx": CONTENT, "../net.onnx": b"bad"}))
    target = tmp_path / "net.onnx"
    download(httpserver.url_for("/all.zip"), target, SHA256, "a/net.onnx")
    assert target.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("served", "hint"),
    [
        (_zip({"a/net.onnx": b"other"}), "sha256 is"),
        (_zip({"b/net.onnx": CONTENT}), "no file 'a/net.onnx'"),
        (b"not packed", "neither a zip nor a tar"),
    ],
)
def test_a_wrong_archive_sends_us_to_the_next_mirror(
    httpserver: HTTPServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, served: bytes, hint: str
) -> None:
    httpserver.expect_request("/1").respond_with_data(served)
    httpserver.expect_request("/2").respond_with_data(_zip({"a/net.onnx": CONTENT}))
    download([httpserver.url_for("/1"), httpserver.url_for("/2")], tmp_path / "net.onnx", SHA256, "a/net.onnx")
    assert hint in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize("switch", ["CLOAKBENCH_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_opens_no_connection_and_says_what_to_put_where(
    httpserver: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    monkeypatch.setenv(switch, "1")
    url, target = httpserver.url_for("/all.zip"), tmp_path / "net.onnx"
    with pytest.raises(OfflineError) as error:
        download(url, target, SHA256, "a/net.onnx")
    assert all(part in str(error.value) for part in (switch, f"a/net.onnx of {url}", str(target), SHA256))
    assert not httpserver.log


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_the_offline_switch_can_be_off(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CLOAKBENCH_OFFLINE", value)
    assert module.offline_switch() is None


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match=str(tmp_path / "file")):
        download("http://127.0.0.1:9/net.onnx", tmp_path / "file" / "net.onnx")


@pytest.fixture
def threaded_server() -> Iterator[HTTPServer]:
    server = HTTPServer(threaded=True)
    server.start()
    yield server
    server.stop()


def _download(url: str, target: Path) -> None:
    download(url, target, SHA256)


def test_of_two_processes_one_fetches_and_the_other_finds_the_file(threaded_server: HTTPServer, tmp_path: Path) -> None:
    held, go_on = threading.Event(), threading.Event()

    def serve(_: Request) -> Response:
        held.set()
        go_on.wait(20)
        return Response(CONTENT)

    threaded_server.expect_request("/net.onnx").respond_with_handler(serve)
    context = multiprocessing.get_context("fork")
    job = (threaded_server.url_for("/net.onnx"), tmp_path / "net.onnx")
    first = context.Process(target=_download, args=job)
    first.start()
    assert held.wait(20)
    second = context.Process(target=_download, args=job)
    second.start()
    second.join(0.3)
    assert second.is_alive(), "it waits for the first"
    go_on.set()
    for process in (first, second):
        process.join(20)
        assert process.exitcode == 0
    assert len(threaded_server.log) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    assert (tmp_path / "net.onnx").read_bytes() == CONTENT


def test_what_a_killed_process_had_fetched_is_used(threaded_server: HTTPServer, tmp_path: Path) -> None:
    half = len(CONTENT) // 2
    sent, go_on = threading.Event(), threading.Event()
    asked: list[str | None] = []

    def first_half() -> Iterator[bytes]:
        yield CONTENT[:half]
        sent.set()
        go_on.wait(20)

    def serve(request: Request) -> Response:
        asked.append(request.headers.get("Range"))
        start = int((asked[-1] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        response = Response(CONTENT[start:] if start else first_half(), 206 if start else 200, {"ETag": '"1"'})
        response.headers["Content-Length"] = str(len(CONTENT) - start)
        response.headers["Content-Range"] = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        return response

    threaded_server.expect_request("/net.onnx").respond_with_handler(serve)
    job = (threaded_server.url_for("/net.onnx"), tmp_path / "net.onnx")
    process = multiprocessing.get_context("fork").Process(target=_download, args=job)
    process.start()
    assert sent.wait(20)
    part = tmp_path / "net.onnx.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size > half // 2) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.join(20)
    assert not (tmp_path / "net.onnx").exists()
    _download(*job)
    go_on.set()
    first, second = asked
    assert first is None
    assert second is not None
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
