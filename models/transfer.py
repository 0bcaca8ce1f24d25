"""One address to a part file over HTTP, taken up again wherever it stopped, in this call or a later one.

Beside ``FILE.part`` lies ``FILE.part.json``: the address, the size and the validator (strong ``ETag``, else
``Last-Modified``) of what is arriving. The rest is asked for with ``Range`` and ``If-Range`` (RFC 9110, section
13.1.5), so a server whose file has changed sends the new one from the start, and two versions are never joined.
``torch.hub`` and ``urllib`` accept a body that ends too early and begin again after every break, hence this module.

User and password of an address are sent to its own host and nowhere else, and no message or note on disk repeats them,
nor the query (:mod:`cloakbench.bench.core.redaction`).
"""

from __future__ import annotations

import base64
import errno
import http.client
import json
import logging
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from cloakbench.bench.core.files.regular_file import read_regular
from cloakbench.bench.core.redaction import LEFT_OUT, bare_address, without_secrets

ATTEMPTS = 3
"""Tries in a row that bring no new byte before an address is given up."""
TIMEOUT_SECONDS = 30.0
"""Silence after which a connection counts as broken."""
PAUSE_SECONDS = 1.0
"""Before the second try; twice as long before each later one."""
LONGEST_WAIT_SECONDS = 60.0
"""A server that asks for more patience (``Retry-After``) is given up."""
PROGRESS_BYTES = 20_000_000
"""Larger files show their progress."""

_NO_ADDRESS = "no valid address: signs such as / ? # @ in user and password have to be percent-encoded"

_CHUNK_BYTES = 1 << 20
_SHORTEST_SECRET = 4  # shorter parts of an address may be parts of any message
_RETRIED = {408, 425, 429, 500, 502, 503, 504}
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}

log = logging.getLogger(__name__)


class DownloadError(OSError):
    """A file could not be fetched; the message names the address and the reason."""


class DiskError(DownloadError):
    """The file cannot be kept here, whatever the address."""


class _BrokenError(Exception):
    """This try failed, another may not; ``wait_seconds`` is what the server asked for."""

    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True)
class Origin:
    """What the bytes of a part are: their address without its secrets, and the validator and size the server gave the
    whole file."""

    url: str
    validator: str
    total_bytes: int | None


class PartialFile:
    """What has arrived of a file so far.

    Attributes:
        path: the bytes, in order from the first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._note = path.with_name(f"{path.name}.json")

    def size(self) -> int:
        """Bytes that have arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    def origin(self) -> Origin | None:
        """Where the bytes come from; None when that is not known."""
        try:
            return Origin(**json.loads(read_regular(self._note)))
        except (OSError, ValueError, TypeError):
            return None

    def begin(self, origin: Origin) -> None:
        """Forgets what has arrived and notes what comes next."""
        self.discard()
        self._note.write_text(json.dumps(asdict(origin)), encoding="utf-8")

    def discard(self) -> None:
        """Removes what has arrived."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


def fetch(url: str, part: PartialFile, *, digest_known: bool) -> bool:
    """Completes ``part`` from ``url``.

    Args:
        url: an ``http`` or ``https`` address.
        part: kept when the address fails, so that a later call goes on from there.
        digest_known: the caller will check the bytes. Otherwise a web page in place of the file is refused, and a part
            whose server gave no validator is not continued.

    Returns:
        Whether bytes of another connection are part of the result.

    Raises:
        DownloadError: another scheme, a final HTTP error, a web page, or ``ATTEMPTS`` tries in a row without progress.
        DiskError: the disk is full or cannot be written to.
    """
    shown = bare_address(url)
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"{shown}: only http and https addresses are fetched")
    most, tries = 0, 0
    while True:
        try:
            return _fetch_once(url, part, digest_known)
        except _BrokenError as problem:
            size = part.size()
            tries = 1 if size > most else tries + 1
            most = max(most, size)
            if tries >= ATTEMPTS:
                raise DownloadError(f"{shown}: {problem} ({ATTEMPTS} attempts)") from problem
            pause = PAUSE_SECONDS * 2 ** (tries - 1) if problem.wait_seconds is None else problem.wait_seconds
            log.info("%s: %s; trying again in %.0f s", shown, problem, pause)
            time.sleep(pause)


def _fetch_once(url: str, part: PartialFile, digest_known: bool) -> bool:
    """One connection; returns whether it went on from bytes that were there."""
    origin = part.origin()
    if origin is None or origin.url != bare_address(url) or not (origin.validator or digest_known):
        part.discard()
    done = part.size()
    headers = {"User-Agent": "cloakbench"}
    if done and origin is not None:
        if done == origin.total_bytes:
            return True
        headers["Range"] = f"bytes={done}-"
        if origin.validator:
            headers["If-Range"] = origin.validator
    try:
        with _OPENER.open(_request(url, headers), timeout=TIMEOUT_SECONDS) as reply:
            return _receive(reply, bare_address(url), part, digest_known)
    except HTTPError as error:
        raise _judged(error, url, part) from error
    except (ValueError, http.client.InvalidURL) as error:
        raise DownloadError(f"{bare_address(url)}: {_NO_ADDRESS}") from error
    except OSError as error:
        if error.errno in _DISK_ERRORS:
            raise DiskError(f"{part.path.parent}: {error.strerror} (what has arrived is kept)") from error
        if isinstance(error, DownloadError):
            raise
        raise _BrokenError(_cleaned(str(error), url) or type(error).__name__) from error
    except http.client.HTTPException as error:
        raise _BrokenError(_cleaned(str(error), url) or type(error).__name__) from error


def _request(url: str, headers: Mapping[str, str]) -> Request:
    """The request for an address, whose user and password become a header that no redirection passes on.

    Raises:
        ValueError: it is no address.
    """
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    if any(character.isspace() for character in login):
        raise ValueError("a blank in user or password")
    request = Request(urlunsplit(parts._replace(netloc=host)), headers=dict(headers))
    if login:
        user, _, password = login.partition(":")
        pair = f"{unquote(user)}:{unquote(password)}".encode()
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair).decode()}")
    return request


class _Redirections(HTTPRedirectHandler):
    """Follows redirections to web addresses; user and password go along only within one host, scheme and port."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> Request | None:
        found = super().redirect_request(req, fp, code, msg, headers, newurl)
        if found is None:
            return None
        if not newurl.startswith(("http://", "https://")):
            goal = bare_address(newurl)
            raise DownloadError(f"{bare_address(req.full_url)}: it redirects to {goal}, which is no web address")
        request = _request(newurl, found.headers)
        login = req.unredirected_hdrs.get("Authorization")
        if login and (req.type, req.host) == (request.type, request.host):
            request.add_unredirected_header("Authorization", login)
        return request


_OPENER = build_opener(_Redirections)


def _cleaned(text: str, url: str) -> str:
    """What a server or library said, in one line, without what the address holds of secrets."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    secrets = {login, *login.split(":"), parts.query, parts.fragment, *(value for _, value in parse_qsl(parts.query))}
    secrets |= {unquote(secret) for secret in secrets}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, LEFT_OUT)
    return " ".join(without_secrets(text).split())


def _receive(reply: http.client.HTTPResponse, shown: str, part: PartialFile, digest_known: bool) -> bool:
    """Appends a reply's body to ``part``, or begins it anew with a reply that is the whole file.

    ``shown`` is the address without its secrets.
    """
    if not digest_known and reply.headers.get_content_type() == "text/html":
        raise DownloadError(f"{shown}: it is a web page, not a weight file")
    continued = reply.status == http.HTTPStatus.PARTIAL_CONTENT
    if continued:
        total_bytes = _checked_total(reply, part)
    else:
        total_bytes = reply.length
        part.begin(Origin(shown, _validator(reply), total_bytes))
    done = part.size()
    _check_space(part.path.parent, (total_bytes or 0) - done)
    with _progress(part.path.name.removesuffix(".part"), done, total_bytes) as advance, part.path.open("ab") as file:
        while chunk := reply.read1(_CHUNK_BYTES):  # ``read`` would lose what came before a stall
            file.write(chunk)
            advance(len(chunk))
    if total_bytes is not None and part.size() != total_bytes:
        raise _BrokenError(f"the connection closed after {part.size()} of {total_bytes} bytes")
    return continued


def _checked_total(reply: http.client.HTTPResponse, part: PartialFile) -> int | None:
    """Size of the whole file, from a reply that must start where ``part`` ends."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", reply.headers.get("Content-Range", ""))
    origin = part.origin()
    known = origin.total_bytes if origin else None
    total_bytes = int(found[2]) if found and found[2] != "*" else known
    if found is None or int(found[1]) != part.size() or (known is not None and total_bytes != known):
        part.discard()
        raise _BrokenError("the server sent another range than the one asked for")
    return total_bytes


def _validator(reply: http.client.HTTPResponse) -> str:
    etag = reply.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else reply.headers.get("Last-Modified", "")


def _judged(error: HTTPError, url: str, part: PartialFile) -> Exception:
    """What an HTTP error means: final, or worth another try."""
    shown, reason = bare_address(url), f"HTTP {error.code} {_cleaned(str(error.reason), url)}".strip()
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.discard()
        return _BrokenError(reason)
    if error.code not in _RETRIED:
        return DownloadError(f"{shown}: {reason}")
    wait_seconds = retry_after_seconds(error.headers.get("Retry-After", ""))
    if wait_seconds is not None and wait_seconds > LONGEST_WAIT_SECONDS:
        return DownloadError(f"{shown}: {reason}, and asks to wait {wait_seconds:.0f} s")
    return _BrokenError(reason, wait_seconds)


def retry_after_seconds(value: str) -> float | None:
    """Seconds, from a number or a date; None when the header is absent or unreadable."""
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _check_space(folder: Path, missing_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if missing_bytes > free_bytes:
        raise DiskError(f"{folder}: {missing_bytes:,} bytes are to come and {free_bytes:,} are free: make room first")


@contextmanager
def _progress(name: str, done: int, total_bytes: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal for large files; yields what to call with the bytes of each piece."""
    if total_bytes is None or total_bytes <= PROGRESS_BYTES or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name if name.isprintable() else ascii(name), total=total_bytes, completed=done)
        yield lambda count: progress.advance(task, count)
