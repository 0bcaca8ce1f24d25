"""`Wire`: one HTTP exchange with a service, and the values it is made of.

Certificates are always verified, redirects are never followed (a signature belongs to one address), and plain HTTP is
spoken to this machine alone. What the HTTP library would log, addresses with tokens among it, is not logged.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import logging
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from cloakbench.models.services import ServiceError

if TYPE_CHECKING:
    import httpx2

_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Environment variables that name authorities of one's own."""
CONNECTIONS = 64
"""Open at once, at most."""


class NoReplyError(Exception):
    """No whole answer came: no connection, a time-out, or a connection that broke."""


class NoAnswerError(ValueError):
    """What came cannot be read as an answer."""


@dataclass(frozen=True)
class Request:
    """One HTTP request.

    Attributes:
        action: what it asks for, in the vendor's words; for counts and logs.
        path: with the slash in front; already quoted.
        query: parameters of the address.
        headers: names in lower case.
        body: what is sent.
        method: of HTTP.
        base_url: scheme, host and port where they are not the service's.
    """

    action: str
    path: str = "/"
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    method: str = "POST"
    base_url: str | None = None


@dataclass(frozen=True)
class Reply:
    """What came back. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        """The content as text, whatever it is."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The content as JSON.

        Raises:
            NoAnswerError: it is of another type, or cut off.
        """
        kind = self.headers.get("content-type", "no type")
        if "json" not in kind:
            raise NoAnswerError(f"the answer is {kind.partition(';')[0]}, not JSON")
        try:
            return json.loads(self.content, parse_constant=_no_number)
        except ValueError as problem:
            raise NoAnswerError("the answer is no whole JSON") from problem


def json_body(value: Any) -> bytes:
    """A value as the body of a request: compact JSON in UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def form_body(fields: Mapping[str, str]) -> bytes:
    """Fields of a form as they are sent without files."""
    return urlencode(fields).encode()


def multipart(fields: Mapping[str, str], files: Mapping[str, tuple[str, bytes]]) -> tuple[str, bytes]:
    """Content type and body of a form with files, each a file name and content.

    The boundary is made from the content, so that equal requests have equal bytes.
    """
    digest = hashlib.sha256(repr((dict(fields), sorted(files))).encode())
    for _, content in files.values():
        digest.update(content)
    boundary = f"cloakbench-{digest.hexdigest()[:32]}"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, (file, content) in files.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n'
        parts += [head.encode(), b"Content-Type: application/octet-stream\r\n\r\n", content, b"\r\n"]
    return f"multipart/form-data; boundary={boundary}", b"".join([*parts, f"--{boundary}--\r\n".encode()])


class Wire:
    """Connections to one host, kept open and shared by threads.

    Args:
        base_url: scheme, host and port.
        timeout_seconds: silence after which a connection counts as broken.

    Raises:
        ServiceError: the address is none, has a user or password in it, or is plain HTTP to another machine.
    """

    def __init__(self, base_url: str, timeout_seconds: float) -> None:
        import httpx2

        for name in ("httpx2", "httpcore2"):  # they log addresses and headers, which hold tokens and signatures
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.base_url = checked_address(base_url)
        limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        self._client = httpx2.Client(
            verify=_verifying(*map(os.environ.get, _AUTHORITIES)),
            timeout=timeout_seconds,
            limits=limits,
            follow_redirects=False,
            trust_env=not is_local(base_url),
        )

    def send(self, request: Request) -> Reply:
        """Send a request, and wait for the whole reply.

        Raises:
            NoReplyError: none came.
            ServiceError: the host's certificate does not verify.
        """
        import httpx2

        url = f"{checked_address(request.base_url or self.base_url)}{request.path}"
        if request.query:
            url = f"{url}?{urlencode(request.query)}"
        try:
            reply = self._client.request(request.method, url, headers=dict(request.headers), content=request.body)
        except httpx2.HTTPError as problem:
            reason = _reason(problem)
        else:
            return Reply(reply.status_code, {k.lower(): v for k, v in reply.headers.items()}, reply.content)
        host = urlsplit(url).netloc
        if reason is None:
            raise ServiceError(
                f"the certificate of {host} does not verify: put the right authority's into SSL_CERT_FILE; "
                "it is never skipped"
            )
        raise NoReplyError(f"{host}: {reason}")

    def close(self) -> None:
        """Drop the connections."""
        self._client.close()


@cache
def _verifying(*authorities: str | None) -> ssl.SSLContext:
    """What checks certificates, made once for each set of authorities: reading them takes longer than a call."""
    import httpx2

    return httpx2.create_ssl_context()


def checked_address(base_url: str) -> str:
    """The address of a service without a slash at its end.

    Raises:
        ServiceError: it is none, has more in it than host and path, or is plain HTTP to another machine.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
        raise ServiceError("base_url must be https://HOST, without user, password or query")
    if parts.scheme == "http" and not is_local(base_url):
        raise ServiceError(f"base_url is http://{parts.netloc}: pictures and keys go over https only")
    return base_url.rstrip("/")


def is_local(base_url: str) -> bool:
    """Whether an address leads to this machine over its loopback device."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reason(problem: httpx2.HTTPError) -> str | None:
    """Why no answer came, without the address; None for a certificate that does not verify."""
    import httpx2

    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return None
        cause = cause.__cause__ or cause.__context__
    if "CERTIFICATE_VERIFY_FAILED" in str(problem):
        return None
    return "no answer in time" if isinstance(problem, httpx2.TimeoutException) else type(problem).__name__


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
