"""`LocalServer`: the local service over HTTP on the loopback address, and `start`, which runs it for a while.

Nobody outside this machine reaches it: it listens on 127.0.0.1 alone.
"""

from __future__ import annotations

import errno
import itertools
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.services.local.facepp_shape import PREFIX as FACEPP_PREFIX
from cloakbench.bench.services.local.facepp_shape import FaceppShape
from cloakbench.bench.services.local.faults import BrokenError, Faults
from cloakbench.bench.services.local.messages import ApiError, Inbound, Outbound
from cloakbench.bench.services.local.networks import FaceNetworks
from cloakbench.bench.services.local.neutral import NeutralApi
from cloakbench.bench.services.local.operations import SCALE, FaceOperations
from cloakbench.bench.services.local.pictures import FaceReader
from cloakbench.bench.services.local.settings import LocalSettings
from cloakbench.datasets.detection import Detector
from cloakbench.models.attributes import AttributeModel
from cloakbench.models.base import Recogniser
from cloakbench.models.mlaas.local import API, PICTURES

HOST = "127.0.0.1"
_IDLE_SECONDS = 120
_READ_AT_ONCE = 1 << 20
_THROWN_AWAY_BYTES = 64 << 20
_DIGITS = 12
_MOST_PORT = 65535


class FaceService:
    """What is served, whatever carries it: a request in, an answer out. May be used by several threads.

    Args:
        model: compares faces.
        attribute_model: tells attributes; None where they are not offered.
        thresholds: calibrated cosines by false accept rate; empty where nobody calibrated.
        settings: how it behaves.
        detector: finds faces in photos; None: pictures are aligned crops, at any size.
        key: that requests have to bring; empty for none.
    """

    def __init__(
        self,
        model: Recogniser,
        attribute_model: AttributeModel | None = None,
        thresholds: Mapping[float, float] | None = None,
        settings: LocalSettings | None = None,
        detector: Detector | None = None,
        key: str = "",
    ) -> None:
        settings = settings or LocalSettings()
        reader = FaceReader(settings.pictures, detector)
        operations = FaceOperations(
            FaceNetworks(model, attribute_model, reader), thresholds or {}, settings.score_digits
        )
        cards = [model.card] if attribute_model is None else [model.card, attribute_model.card]
        self.model_version = " ".join(f"{card.name} {card.weights_sha256[:_DIGITS]}".strip() for card in cards)
        """Which networks answer; told with every answer."""
        decides = {
            "networks": [[card.name, card.weights_sha256] for card in cards],
            "thresholds": sorted(operations.thresholds.items()),
            "settings": settings.deciding(),
            "detector": None if detector is None else detector.fingerprint(),
        }
        self.api_version = f"{API}-{content_key('local_service', decides)[:_DIGITS]}"
        """Of the interface, the networks and the settings that decide an answer: the setting ``api_version`` of a
        service that asks here."""
        about = {
            "service": "local service",
            "api_version": self.api_version,
            "model_version": self.model_version,
            "attributes": [] if attribute_model is None else [one.name for one in attribute_model.outputs],
            "scale": list(SCALE),
            "thresholds": {f"{far:g}": score for far, score in operations.thresholds.items()},
            **settings.deciding(),
        }
        self.thresholds = operations.thresholds
        """Scores above which two faces count as one person, by false accept rate."""
        self.faults = Faults(settings)
        self._neutral, self._facepp = NeutralApi(operations, about, key), FaceppShape(operations, key)
        self._numbers = itertools.count(1)
        self.galleries = operations.galleries

    def answer(self, request: Inbound) -> Outbound:
        """The answer to a request.

        Raises:
            BrokenError: the connection is to end without one.
        """
        request_id = f"local-{next(self._numbers):08d}"
        shape = self._facepp if request.path.startswith(FACEPP_PREFIX) else self._neutral
        try:
            self.faults.pass_or_fail()
        except ApiError as problem:
            return shape.failed(problem, request_id)
        return shape.answer(request, request_id)

    def refuse(self, problem: ApiError) -> Outbound:
        """The answer to what is not even read."""
        return self._neutral.failed(problem, f"local-{next(self._numbers):08d}")


class LocalServer(ThreadingHTTPServer):
    """A server with a thread for each connection.

    Args:
        service: that answers.
        port: 0 for any free one.

    Raises:
        ConfigError: the port is taken, or may not be used.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, service: FaceService, port: int = 0) -> None:
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= _MOST_PORT:
            raise ConfigError(f"port is {port}: it must be a whole number from 0 (any free one) to {_MOST_PORT}")
        self.service = service
        self._open: set[socket.socket] = set()
        self._opening = threading.Lock()
        try:
            super().__init__((HOST, port), _OneConnection)
        except OSError as problem:
            taken = problem.errno == errno.EADDRINUSE
            why = "is taken" if taken else f"cannot be used: {problem.strerror}"
            raise ConfigError(f"port {port} of {HOST} {why}; choose another port=N, or port=0 for a free one") from None

    @property
    def host(self) -> str:
        """Where it listens."""
        return HOST

    @property
    def port(self) -> int:
        """On which port."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """The address, as ``line.base_url`` of a service that asks here."""
        return f"http://{self.host}:{self.port}"

    def server_bind(self) -> None:
        """Without the look-up of a name, which may take seconds where there is no name server."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note the connection, so that `stop` can end it."""
        with self._opening:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that ended."""
        with self._opening:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error of the server's."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        """Listen no more, and end the connections that are kept open: whoever asks now finds nobody."""
        self.shutdown()
        self.server_close()
        with self._opening:
            still_open = list(self._open)
        for one in still_open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextmanager
def start(
    model: Recogniser,
    attribute_model: AttributeModel | None = None,
    port: int = 0,
    thresholds: Mapping[float, float] | None = None,
    settings: LocalSettings | None = None,
    detector: Detector | None = None,
    key: str = "",
) -> Iterator[LocalServer]:
    """Serve networks while the context lasts; the arguments are those of `FaceService` and `LocalServer`.

    Raises:
        ConfigError: the port is taken, or may not be used.
    """
    service = FaceService(model, attribute_model, thresholds, settings, detector, key)
    with running(service, port) as server:
        yield server


@contextmanager
def running(service: FaceService, port: int = 0) -> Iterator[LocalServer]:
    """Carry a service over HTTP while the context lasts.

    Raises:
        ConfigError: the port is taken, or may not be used.
    """
    server = LocalServer(service, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True, name="serving")
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


class _OneConnection(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "local-service", ""
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        try:
            said = self._said()
        except BrokenError:
            self.close_connection = True
            return
        content = said.content()
        self.send_response(said.status)
        for name, value in {
            "content-type": "application/json",
            "content-length": str(len(content)),
            **said.headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _said(self) -> Outbound:
        assert isinstance(self.server, LocalServer)
        service = self.server.service
        length = self.headers.get("content-length", "0")
        if not length.isdecimal() or self.headers.get("transfer-encoding"):
            self.close_connection = True
            return service.refuse(ApiError(411, "bad_request", "a request needs its content-length"))
        most = PICTURES.request_bytes or 0
        if int(length) > most:
            self.close_connection = True
            self._throw_away(int(length))
            return service.refuse(
                ApiError(413, "too_large", f"the request has {length} bytes, at most {most} are taken")
            )
        body = self.rfile.read(int(length))
        headers = {name.lower(): value for name, value in self.headers.items()}
        return service.answer(Inbound(self.command, urlsplit(self.path).path, headers, body))

    def _throw_away(self, length: int) -> None:
        """Take what a client is still sending, who would not read the answer otherwise."""
        left = min(length, _THROWN_AWAY_BYTES)
        while left > 0 and (read := self.rfile.read(min(left, _READ_AT_ONCE))):
            left -= len(read)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who asked what is not written down."""
