"""`Emulator`: an HTTP server on the loopback address that counts its calls and fails when it is told to."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from emulators.pixels import similarity


@dataclass(frozen=True)
class Asked:
    """A request as it arrived; names of headers are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass(frozen=True)
class Said:
    """A reply: a JSON value, or bytes of another type."""

    value: Any
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        return self.value if isinstance(self.value, bytes) else json.dumps(self.value).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error of the server's."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Emulator(ABC):
    """A service.

    Attributes:
        faults: what goes wrong with the next requests, one each, in this order; a fault may name an action it waits
            for, as ``action:fault``. ``error500``, ``hang`` (no answer in time), ``cut`` (JSON that ends in the
            middle), ``broken`` (a connection that ends in the middle), ``plain`` (text with status 200), ``throttle``,
            ``quota``, and those of the vendor.
        calls: requests by action, and arrivals in order.
        hang_seconds: longer than the client waits.
        latency_seconds: before each answer.
        echoes: every answer that is an object repeats key, secret and signature, as no service should.
        score: similarity in [0, 1] of two files; set to something else to see what a client makes of it.
    """

    key, secret = "EMULATED-KEY-77f1", "EMULATED/SECRET+c0ffee="

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.calls: Counter[str] = Counter()
        self.arrivals: list[tuple[float, str]] = []
        self.retry_after: str | None = None
        self.hang_seconds = 0.3
        self.latency_seconds = 0.0
        self.echoes = False
        self.score: Callable[[bytes, bytes], float] = similarity
        self.url = ""
        self._lock = threading.Lock()

    @abstractmethod
    def action(self, asked: Asked) -> str:
        """What a request asks for."""

    @abstractmethod
    def respond(self, asked: Asked) -> Said:
        """The answer of a service that works."""

    @abstractmethod
    def vendor_fault(self, fault: str) -> Said:
        """``throttle``, ``quota`` and the vendor's own, in the vendor's shape."""

    @property
    def total(self) -> int:
        """Requests that arrived."""
        return sum(self.calls.values())

    def most_in_a_second(self) -> int:
        """Requests within the busiest second, whenever it began."""
        times = sorted(at for at, _ in self.arrivals)
        return max((sum(begin <= at < begin + 1 for at in times) for begin in times), default=0)

    @contextmanager
    def running(self, port: int = 0) -> Iterator[str]:
        """Serve on a free port; yields the address."""
        server = _Server(("127.0.0.1", port), self._handler())
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self.url
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _fault_of(self, action: str) -> str:
        with self._lock:
            self.calls[action] += 1
            self.arrivals.append((time.monotonic(), action))
            for place, one in enumerate(self.faults):
                where, mark, fault = one.rpartition(":")
                if not mark or where == action:
                    del self.faults[place]
                    return fault
                break
        return ""

    def answer(self, asked: Asked) -> Said | None:
        """The reply to a request; None for a connection that is to end."""
        said = self._answer(asked)
        if said is None or not self.echoes or not isinstance(said.value, dict) or said.headers.get("content-length"):
            return said
        echo = f"{self.key} {self.secret} {asked.query.get('access_token')} {asked.headers.get('authorization')}"
        return Said({**said.value, "echo": echo}, said.status, said.kind, said.headers)

    def _answer(self, asked: Asked) -> Said | None:
        fault = self._fault_of(self.action(asked))
        if self.latency_seconds:
            time.sleep(self.latency_seconds)
        if fault == "hang":
            time.sleep(self.hang_seconds)
            return None
        if fault in ("", "cut", "broken"):
            with self._lock:
                said = self.respond(asked)
            if fault == "cut":
                return Said(said.content()[: len(said.content()) // 2], said.status, said.kind)
            return said if not fault else Said(said.content(), said.status, said.kind, {"content-length": "100000"})
        headers = {} if self.retry_after is None else {"retry-after": self.retry_after}
        if fault == "error500":
            return Said(b"<html>Internal Server Error</html>", 500, "text/html", headers)
        if fault == "plain":
            return Said(b"ok", 200, "text/plain")
        said = self.vendor_fault(fault)
        return Said(said.value, said.status, said.kind, {**said.headers, **headers})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        emulator = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                query = dict(parse_qsl(parts.query, keep_blank_values=True))
                said = emulator.answer(Asked(self.command, parts.path, query, headers, body))
                if said is None:
                    self.close_connection = True
                    return
                content = said.content()
                self.send_response(said.status)
                for name, value in {
                    "content-type": said.kind,
                    "content-length": str(len(content)),
                    **said.headers,
                }.items():
                    self.send_header(name, value)
                self.close_connection = "content-length" in said.headers
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: tests look at `calls`."""

        return Handler


def multipart_form(asked: Asked) -> tuple[dict[str, str], dict[str, bytes]]:
    """Fields and files of a multipart form."""
    kind, options = parse_options_header(asked.headers["content-type"])
    _, fields, files = FormDataParser().parse(io.BytesIO(asked.body), kind, len(asked.body), options)
    return dict(fields.items()), {name: file.read() for name, file in files.items()}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def hmac_chain(secret: bytes, *texts: str) -> bytes:
    """HMAC-SHA256 of each text, keyed by the one before."""
    for text in texts:
        secret = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return secret
