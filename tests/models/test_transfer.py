"""One address to a part file, against servers on localhost that break off, stall, change their mind and ask to wait."""

from __future__ import annotations

import errno
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from cloakbench.models import transfer
from cloakbench.models.transfer import DiskError, DownloadError, PartialFile, fetch

CONTENT = bytes(range(256)) * 4096
OTHER = CONTENT[::-1]
ETAG = '"first"'


class _Asked(NamedTuple):
    first_byte: str | None
    if_range: str | None


class _Server:
    """Serves ``content``, at most ``cut`` bytes of it per connection; understands ``Range`` and ``If-Range``."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.headers = {"ETag": ETAG}
        self.cut = [len(CONTENT)]
        self.asked: list[_Asked] = []

    def __call__(self, request: Request) -> Response:
        start, condition = request.headers.get("Range"), request.headers.get("If-Range")
        self.asked.append(_Asked(start, condition))
        cut = self.cut[min(len(self.asked), len(self.cut)) - 1]
        headers = dict(self.headers)
        if start is None or (condition is not None and condition not in headers.values()):
            body, status = self.content, 200
        else:
            first = int(start.removeprefix("bytes=").removesuffix("-"))
            body, status = self.content[first:], 206
            headers["Content-Range"] = f"bytes {first}-{len(self.content) - 1}/{len(self.content)}"
        response = Response(body[:cut], status, headers, content_type="application/octet-stream")
        response.headers["Content-Length"] = str(len(body))
        return response


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def server(httpserver: HTTPServer) -> _Server:
    server = _Server()
    httpserver.expect_request("/net.onnx").respond_with_handler(server)
    return server


@pytest.fixture
def url(httpserver: HTTPServer) -> str:
    return httpserver.url_for("/net.onnx")


@pytest.fixture
def part(tmp_path: Path) -> PartialFile:
    return PartialFile(tmp_path / "net.onnx.part")


def _interrupted(server: _Server, url: str, part: PartialFile, *, digest_known: bool = False) -> None:
    """Leaves a part of 1000 bytes, as a call does that gave up."""
    server.cut = [1000, 0]
    with pytest.raises(DownloadError, match=f"after 1000 of {len(CONTENT)} bytes"):
        fetch(url, part, digest_known=digest_known)
    server.cut, server.asked = [len(CONTENT)], []


def test_a_whole_file_is_one_connection(server: _Server, url: str, part: PartialFile) -> None:
    assert fetch(url, part, digest_known=False) is False
    assert part.path.read_bytes() == CONTENT
    assert server.asked == [(None, None)]


def test_broken_connection_is_taken_up_where_it_stopped(server: _Server, url: str, part: PartialFile) -> None:
    server.cut = [1000, 2000, len(CONTENT)]
    assert fetch(url, part, digest_known=False) is True
    assert server.asked == [(None, None), ("bytes=1000-", ETAG), ("bytes=3000-", ETAG)]
    assert part.path.read_bytes() == CONTENT


def test_progress_gives_a_broken_connection_new_tries(server: _Server, url: str, part: PartialFile) -> None:
    server.cut = [len(CONTENT) // 10]
    fetch(url, part, digest_known=False)
    assert len(server.asked) > 2 * transfer.ATTEMPTS
    assert part.path.read_bytes() == CONTENT


@pytest.mark.parametrize("headers", [{"ETag": ETAG}, {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}])
def test_a_later_call_goes_on_where_an_earlier_one_gave_up(
    server: _Server, url: str, part: PartialFile, headers: dict[str, str]
) -> None:
    server.headers = headers
    _interrupted(server, url, part)
    fetch(url, PartialFile(part.path), digest_known=False)
    assert server.asked == [("bytes=1000-", *headers.values())]
    assert part.path.read_bytes() == CONTENT


def test_a_changed_file_is_never_joined_to_the_old_one(server: _Server, url: str, part: PartialFile) -> None:
    _interrupted(server, url, part)
    server.content, server.headers = OTHER, {"ETag": '"second"'}
    assert fetch(url, part, digest_known=False) is False
    assert server.asked == [("bytes=1000-", ETAG)], "the server saw by If-Range that ours is the old one"
    assert part.path.read_bytes() == OTHER


@pytest.mark.parametrize(("digest_known", "asked"), [(True, ("bytes=1000-", None)), (False, (None, None))])
def test_without_a_validator_only_a_file_with_a_digest_is_continued(
    server: _Server, url: str, part: PartialFile, digest_known: bool, asked: tuple[str | None, None]
) -> None:
    server.headers = {"ETag": f"W/{ETAG}"}  # weak: equal meaning, not equal bytes
    _interrupted(server, url, part, digest_known=True)
    assert fetch(url, part, digest_known=digest_known) is digest_known
    assert server.asked == [asked]
    assert part.path.read_bytes() == CONTENT


def test_a_part_of_another_address_is_not_continued(server: _Server, httpserver: HTTPServer, part: PartialFile) -> None:
    _interrupted(server, httpserver.url_for("/net.onnx"), part)
    httpserver.expect_request("/mirror.onnx").respond_with_handler(server)
    fetch(httpserver.url_for("/mirror.onnx"), part, digest_known=True)
    assert server.asked == [(None, None)]


def test_a_part_without_its_note_is_not_continued(server: _Server, url: str, part: PartialFile) -> None:
    part.path.write_bytes(b"of unknown origin")
    fetch(url, part, digest_known=True)
    assert part.path.read_bytes() == CONTENT


def test_a_part_that_is_complete_needs_no_connection(server: _Server, url: str, part: PartialFile) -> None:
    fetch(url, part, digest_known=False)
    server.asked.clear()
    fetch(url, part, digest_known=False)
    assert not server.asked


@pytest.mark.parametrize("answer", [Response(CONTENT[5:], 206), Response("", 416)], ids=["no range named", "416"])
def test_a_range_that_cannot_be_trusted_starts_over(
    httpserver: HTTPServer, part: PartialFile, answer: Response
) -> None:
    replies: list[Response] = [answer, Response(CONTENT)]
    httpserver.expect_request("/net.onnx").respond_with_handler(lambda _: replies.pop(0))
    url = httpserver.url_for("/net.onnx")
    part.begin(transfer.Origin(url, ETAG, len(CONTENT)))
    part.path.write_bytes(CONTENT[:5])
    fetch(url, part, digest_known=False)
    assert part.path.read_bytes() == CONTENT


def test_body_that_always_ends_early_is_given_up(server: _Server, url: str, part: PartialFile) -> None:
    server.headers, server.cut = {}, [1000]
    with pytest.raises(DownloadError, match=rf"after 1000 of {len(CONTENT)} bytes \({transfer.ATTEMPTS} attempts\)"):
        fetch(url, part, digest_known=False)
    assert len(server.asked) == transfer.ATTEMPTS


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final(httpserver: HTTPServer, part: PartialFile, status: int) -> None:
    httpserver.expect_request("/net.onnx").respond_with_data("no", status=status)
    with pytest.raises(DownloadError, match=f"/net.onnx: HTTP {status} "):
        fetch(httpserver.url_for("/net.onnx"), part, digest_known=True)
    assert len(httpserver.log) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(httpserver: HTTPServer, part: PartialFile, status: int) -> None:
    httpserver.expect_ordered_request("/net.onnx").respond_with_data("busy", status=status)
    httpserver.expect_ordered_request("/net.onnx").respond_with_data(CONTENT)
    fetch(httpserver.url_for("/net.onnx"), part, digest_known=True)
    assert part.path.read_bytes() == CONTENT


def test_a_server_that_stays_busy_is_given_up(httpserver: HTTPServer, part: PartialFile) -> None:
    httpserver.expect_request("/net.onnx").respond_with_data("busy", status=500)
    with pytest.raises(DownloadError, match=rf"HTTP 500 .* \({transfer.ATTEMPTS} attempts\)"):
        fetch(httpserver.url_for("/net.onnx"), part, digest_known=True)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_wait_a_server_asks_for_is_kept(
    httpserver: HTTPServer, part: PartialFile, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(transfer.time, "sleep", waits.append)
    value = "7" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=8), usegmt=True)
    httpserver.expect_ordered_request("/net.onnx").respond_with_data("", 429, headers={"Retry-After": value})
    httpserver.expect_ordered_request("/net.onnx").respond_with_data(CONTENT)
    fetch(httpserver.url_for("/net.onnx"), part, digest_known=True)
    assert waits == [pytest.approx(7, abs=1.5)]


def test_a_wait_that_is_too_long_is_said_and_not_kept(httpserver: HTTPServer, part: PartialFile) -> None:
    httpserver.expect_request("/net.onnx").respond_with_data("", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(DownloadError, match=r"HTTP 429 .*asks to wait 3600 s"):
        fetch(httpserver.url_for("/net.onnx"), part, digest_known=True)
    assert len(httpserver.log) == 1


@pytest.fixture
def raw_server() -> Iterator[Callable[..., str]]:
    """Starts a server whose connections are handled by the given functions of the socket, one after the other."""
    listener = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def serve(*handlers: Callable[[socket.socket], Any]) -> str:
        def run() -> None:
            for handler in handlers:
                connection, _ = listener.accept()
                kept.append(connection)  # stays open: the client has to notice by itself
                connection.recv(65536)
                handler(connection)

        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/net.onnx"

    yield serve
    for connection in (*kept, listener):
        connection.close()


def test_a_stalled_body_times_out_and_is_resumed(
    raw_server: Callable[..., str], part: PartialFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT_SECONDS", 0.2)
    size = 4000
    head = f"HTTP/1.1 200 OK\r\nETag: {ETAG}\r\nContent-Length: {size}\r\n\r\n".encode()
    rest = f"HTTP/1.1 206 OK\r\nContent-Range: bytes 1000-3999/{size}\r\nContent-Length: 3000\r\n\r\n".encode()
    url = raw_server(
        lambda connection: connection.sendall(head + CONTENT[:1000]),
        lambda connection: connection.sendall(rest + CONTENT[1000:size]),
    )
    begun = time.monotonic()
    fetch(url, part, digest_known=False)
    assert part.path.read_bytes() == CONTENT[:size]
    assert time.monotonic() - begun < 5


def test_a_silent_server_times_out(
    raw_server: Callable[..., str], part: PartialFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    with pytest.raises(DownloadError, match="timed out"):
        fetch(raw_server(lambda _: None), part, digest_known=True)


def test_a_server_that_is_not_there_is_named(part: PartialFile) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(DownloadError, match=rf"127\.0\.0\.1:{port}/net\.onnx: .*refused"):
        fetch(f"http://127.0.0.1:{port}/net.onnx", part, digest_known=True)


def test_a_web_page_is_refused_when_no_digest_is_known(httpserver: HTTPServer, part: PartialFile) -> None:
    httpserver.expect_request("/net.onnx").respond_with_data("Log in first", content_type="text/html; charset=utf-8")
    with pytest.raises(DownloadError, match="web page"):
        fetch(httpserver.url_for("/net.onnx"), part, digest_known=False)
    assert not part.path.exists()


def test_a_file_larger_than_the_disk_is_refused_before_it_comes(
    server: _Server, url: str, part: PartialFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(part.path.parent)._replace(free=1000)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: free)
    with pytest.raises(DiskError, match=rf"{len(CONTENT):,} bytes are to come and 1,000 are free"):
        fetch(url, part, digest_known=True)
    assert part.size() == 0


def test_a_disk_that_fills_up_is_final_and_keeps_what_came(
    server: _Server, url: str, part: PartialFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    _interrupted(server, url, part)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "_check_space", full)
    with pytest.raises(DiskError, match="No space left"):
        fetch(url, part, digest_known=False)
    assert len(server.asked) == 1, "no other try would help"
    assert part.size() == 1000


def test_only_http_is_fetched(part: PartialFile) -> None:
    with pytest.raises(DownloadError, match="only http"):
        fetch("file:///etc/hostname", part, digest_known=True)


def test_large_files_show_a_bar_on_a_terminal(
    server: _Server, url: str, part: PartialFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(transfer, "PROGRESS_BYTES", len(CONTENT) - 1)
    monkeypatch.setattr(transfer.sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    fetch(url, part, digest_known=False)
    assert "net.onnx" in capsys.readouterr().err
