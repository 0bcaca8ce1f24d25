"""Addresses, certificates and the bytes of requests."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from emulators.facepp import FaceppEmulator
from emulators.server import Asked, Said, multipart_form

from cloakbench.models.mlaas.wire import NoAnswerError, Reply, Request, Wire, checked_address, multipart
from cloakbench.models.services import ServiceError


@pytest.mark.parametrize("address", ["http://127.0.0.1:80", "http://localhost:8000/", "https://api.example/face"])
def test_addresses_that_may_be_used(address: str) -> None:
    assert checked_address(address) == address.rstrip("/")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://api.example", "https only"),
        ("http://127.0.0.1.api.example", "https only"),
        ("https://user:xyzzy@api.example", "without user"),
        ("https://api.example?key=abc", "without user"),
        ("ftp://api.example", "https://HOST"),
        ("api.example", "https://HOST"),
    ],
)
def test_addresses_that_may_not_be_used_are_one_line(address: str, why: str) -> None:
    with pytest.raises(ServiceError, match=why) as raised:
        Wire(address, 1.0)
    assert "xyzzy" not in str(raised.value) and "abc" not in str(raised.value)


def test_forms_arrive_as_they_were_sent() -> None:
    files = {"image_file1": ("a.png", bytes(range(256)) * 3), "image_file2": ("b.png", b"\r\n--cloakbench\r\n")}
    kind, body = multipart({"api_key": "k", "outer_id": "gallery é"}, files)
    fields, found = multipart_form(Asked("POST", "/", {}, {"content-type": kind}, body))
    assert fields == {"api_key": "k", "outer_id": "gallery é"}
    assert found == {name: content for name, (_, content) in files.items()}
    assert multipart({"api_key": "k", "outer_id": "gallery é"}, files) == (kind, body)


@pytest.mark.parametrize(
    ("kind", "content"),
    [("text/html", b"{}"), ("application/json", b'{"a": '), ("application/json", b'{"a": NaN}'), ("", b"{}")],
)
def test_what_is_no_json_is_no_answer(kind: str, content: bytes) -> None:
    with pytest.raises(NoAnswerError):
        Reply(200, {"content-type": kind}, content).json()


def test_redirects_are_not_followed() -> None:
    emulator = FaceppEmulator()
    with emulator.running() as url:
        emulator.respond = lambda asked: Said(b"", 302, "text/html", {"location": "https://elsewhere.example/"})
        reply = Wire(url, 5.0).send(Request("compare", "/facepp/v3/compare"))
    assert reply.status == 302 and emulator.total == 1


def test_a_certificate_that_does_not_verify_is_one_line_and_nothing_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    made = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    subprocess.run(
        [*made.split(), "-addext", "subjectAltName=IP:127.0.0.1"], cwd=tmp_path, check=True, capture_output=True
    )
    served: list[str] = []

    class Server(HTTPServer):
        def process_request(self, request: object, client_address: object) -> None:
            served.append("asked")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = Server(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        with pytest.raises(ServiceError, match=r"the certificate of 127.0.0.1:\d+ does not verify: .* SSL_CERT_FILE"):
            Wire(f"https://127.0.0.1:{server.server_address[1]}", 5.0).send(Request("compare"))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert served == []
