"""Addresses with user, password and query: used in full, and repeated nowhere."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from cloakbench.models import transfer
from cloakbench.models.download import DownloadError, download
from cloakbench.models.weight_file import WeightFile

USER, PASSWORD, TOKEN, SIGNATURE = "planteduser", "planted/pass word", "plantedtoken", "plantedsignature"
SECRETS = (USER, "planted%2Fpass", "planted/pass", "pass word", TOKEN, SIGNATURE)
CONTENT = b"weights" * 100


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSE_SECONDS", 0.0)
    for switch in ("CLOAKBENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(switch, raising=False)


def address(server: HTTPServer, path: str) -> str:
    return server.url_for(path).replace("http://", f"http://{USER}:planted%2Fpass%20word@") + f"?token={TOKEN}"


def logged_in(request: Request) -> bool:
    expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return request.headers.get("Authorization") == f"Basic {expected}"


def clean(*texts: str) -> bool:
    return not any(secret in text for text in texts for secret in SECRETS)


def said(caplog: pytest.LogCaptureFixture) -> str:
    """What this project logged; the server of the test logs what it was asked."""
    return "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("cloakbench"))


def test_the_full_address_is_used(httpserver: HTTPServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def serve(request: Request) -> Response:
        sound = logged_in(request) and request.args.get("token") == TOKEN
        return Response(CONTENT if sound else b"no", 200 if sound else 401)

    httpserver.expect_request("/net.pth").respond_with_handler(serve)
    with caplog.at_level(logging.DEBUG):
        download(address(httpserver, "/net.pth"), tmp_path / "net.pth")
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert f"fetching {httpserver.url_for('/net.pth')}" in caplog.text
    assert clean(said(caplog))


def test_a_login_follows_within_a_host_and_nowhere_else(httpserver: HTTPServer, tmp_path: Path) -> None:
    seen: dict[str, bool] = {}

    def serve(request: Request) -> Response:
        seen[request.path] = logged_in(request) or "Authorization" in request.headers
        return Response(CONTENT)

    with HTTPServer(host="127.0.0.1") as other:
        away = other.url_for("/away.pth").replace("127.0.0.1", "localhost")
        other.expect_request("/away.pth").respond_with_handler(serve)
        httpserver.expect_request("/net.pth").respond_with_handler(serve)
        for path, goal in (("/moved", httpserver.url_for("/net.pth")), ("/gone", f"{away}?s={SIGNATURE}")):
            httpserver.expect_request(path).respond_with_response(Response("", 302, {"Location": goal}))
            download(address(httpserver, path), tmp_path / "net.pth")
            assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert seen == {"/net.pth": True, "/away.pth": False}


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (404, {}),
        (500, {}),
        (503, {"Retry-After": "9999"}),
        (302, {"Location": f"ftp://{USER}:x@127.0.0.1/{'a' * 9}?s={SIGNATURE}"}),
        (302, {"Location": f"http://{USER}:x@127.0.0.1:9/x?s={SIGNATURE}"}),
        (302, {"Location": f"/loop?s={SIGNATURE}"}),
    ],
)
def test_no_failure_repeats_a_secret(
    httpserver: HTTPServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int, headers: dict[str, str]
) -> None:
    reason = f"{status} {TOKEN} of {USER} is wrong"
    httpserver.expect_request("/loop").respond_with_response(Response(TOKEN, reason, headers))
    urls = [address(httpserver, "/loop"), address(httpserver, "/loop").replace("/loop", "/other")]
    with caplog.at_level(logging.DEBUG), pytest.raises(DownloadError) as caught:
        download(urls, tmp_path / "net.pth", "0" * 64)
    assert clean(str(caught.value), said(caplog))
    assert httpserver.url_for("/loop") in str(caught.value)
    assert said(caplog)
    assert clean(*(path.read_text(encoding="utf-8") for path in tmp_path.iterdir()))


@pytest.mark.parametrize("login", [f"{USER}:planted/pass", f"{USER}:{TOKEN}?", f"{USER}:p lantedpass"])
def test_an_address_that_is_none_says_so_without_it(tmp_path: Path, login: str) -> None:
    with pytest.raises(DownloadError, match="percent-encoded") as caught:
        download(f"https://{login}@127.0.0.1:1/x?token={TOKEN}", tmp_path / "net.pth")
    assert clean(str(caught.value))


def test_what_an_interrupted_download_leaves_holds_none(httpserver: HTTPServer, tmp_path: Path) -> None:
    def cut_off(_: Request) -> Response:
        response = Response(CONTENT[:100], headers={"ETag": '"1"'})
        response.headers["Content-Length"] = str(len(CONTENT))
        return response

    httpserver.expect_request("/net.pth").respond_with_handler(cut_off)
    with pytest.raises(DownloadError):
        download(address(httpserver, "/net.pth"), tmp_path / "net.pth")
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert "net.pth.part.json" in left, "the test must leave something to look at"
    assert clean(*(content.decode("latin-1") for content in left.values()))


def test_a_printed_weight_file_has_no_address() -> None:
    weights = WeightFile(urls=[f"https://{USER}:p@h/x?token={TOKEN}"])
    assert clean(repr(weights), str(weights.place))
