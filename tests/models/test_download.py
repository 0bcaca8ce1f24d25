"""Fetching over HTTP, against a real server on localhost that misbehaves."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from cloakbench.models import download as module
from cloakbench.models.download import DownloadError, download

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def _cut_off(content: bytes, **headers: str) -> Response:
    """Announces all of ``CONTENT`` from where ``content`` starts and sends only ``content``."""
    response = Response(content, headers=headers)
    response.headers["Content-Length"] = str(len(CONTENT))
    return response


def test_file_arrives_whole_in_a_new_folder(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request("/net.onnx").respond_with_data(CONTENT)
    target = tmp_path / "new" / "net.onnx"
    download(httpserver.url_for("/net.onnx"), target, SHA256)
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


def test_wrong_bytes_leave_nothing_behind(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request("/net.onnx").respond_with_data(CONTENT[:-1] + b"?")
    with pytest.raises(DownloadError, match=f"expected {SHA256}"):
        download(httpserver.url_for("/net.onnx"), tmp_path / "net.onnx", SHA256)
    assert not list(tmp_path.iterdir())


def test_missing_file_names_the_status(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request("/net.onnx").respond_with_data("gone", status=404)
    with pytest.raises(DownloadError, match="HTTP 404"):
        download(httpserver.url_for("/net.onnx"), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())
    assert len(httpserver.log) == 1, "a 404 is final"


@pytest.mark.parametrize("sha256", [SHA256, None], ids=["digest known", "no digest"])
def test_body_that_always_ends_early_is_refused(httpserver: HTTPServer, tmp_path: Path, sha256: str | None) -> None:
    httpserver.expect_request("/net.onnx").respond_with_handler(lambda _: _cut_off(CONTENT[:1000]))
    with pytest.raises(DownloadError, match=f"after 1000 of {len(CONTENT)} bytes"):
        download(httpserver.url_for("/net.onnx"), tmp_path / "net.onnx", sha256)
    assert not list(tmp_path.iterdir())


def test_broken_connection_is_taken_up_where_it_stopped(httpserver: HTTPServer, tmp_path: Path) -> None:
    asked: list[str | None] = []

    def serve(request: Request) -> Response:
        asked.append(request.headers.get("Range"))
        if len(asked) == 1:
            return _cut_off(CONTENT[:1000])
        return Response(CONTENT[1000:], status=206)

    httpserver.expect_request("/net.onnx").respond_with_handler(serve)
    download(httpserver.url_for("/net.onnx"), tmp_path / "net.onnx", SHA256)
    assert asked == [None, "bytes=1000-"]
    assert (tmp_path / "net.onnx").read_bytes() == CONTENT


def test_server_without_ranges_is_asked_for_everything_again(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_ordered_request("/net.onnx").respond_with_handler(lambda _: _cut_off(CONTENT[:1000]))
    httpserver.expect_ordered_request("/net.onnx").respond_with_data(CONTENT)
    download(httpserver.url_for("/net.onnx"), tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").read_bytes() == CONTENT


def test_silent_server_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(DownloadError, match="timed out"):
        download(f"http://127.0.0.1:{silent.getsockname()[1]}/net.onnx", tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_only_http_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="only http"):
        download("file:///etc/hostname", tmp_path / "net.onnx")
