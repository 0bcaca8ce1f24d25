"""Fetching one file over HTTP: whole or not at all.

The bytes go to a temporary file beside the target, which is renamed only when every byte the server announced has
arrived and the digest, when one is known, agrees. A connection that breaks is taken up where it stopped
(``Range``). ``torch.hub`` and ``urllib`` accept a body that ends too early, hence these few lines.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

ATTEMPTS = 3
TIMEOUT_SECONDS = 30.0

log = logging.getLogger(__name__)


class DownloadError(OSError):
    """A file could not be fetched; the message names the address and the reason."""


def download(url: str, target: Path, sha256: str | None = None) -> None:
    """Writes what ``url`` serves to ``target``; ``target`` appears complete or not at all.

    Args:
        url: an ``http`` or ``https`` address.
        target: where the file goes; missing folders are made, an existing file is replaced.
        sha256: hexadecimal digest the bytes must have; None takes what comes.

    Raises:
        DownloadError: another scheme, an HTTP error, a connection that broke ``ATTEMPTS`` times, or a wrong digest.
    """
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"{url}: only http and https addresses are fetched")
    log.info("fetching %s", url)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f"{target.name}.", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "w+b") as file:
            _fetch(url, file)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if sha256 is not None and digest != sha256:
                raise DownloadError(f"{url}: sha256 is {digest}, expected {sha256}")
            os.fsync(file.fileno())
        part.chmod(0o644)  # temporary files are private, a folder of weights is often shared
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _fetch(url: str, file: BinaryIO) -> None:
    """Fills ``file`` from ``url``, asking for the rest when a connection breaks."""
    reason = ""
    for _ in range(ATTEMPTS):
        done = file.tell()
        headers = {"User-Agent": "cloakbench"} | ({"Range": f"bytes={done}-"} if done else {})
        try:
            with urlopen(Request(url, headers=headers), timeout=TIMEOUT_SECONDS) as reply:
                if reply.status != http.HTTPStatus.PARTIAL_CONTENT:
                    file.seek(0)
                    file.truncate()
                expected = None if reply.length is None else file.tell() + reply.length
                shutil.copyfileobj(reply, file)
            if expected is None or file.tell() == expected:
                return
            reason = f"the connection closed after {file.tell()} of {expected} bytes"
        except HTTPError as error:
            raise DownloadError(f"{url}: HTTP {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
    raise DownloadError(f"{url}: {reason} ({ATTEMPTS} attempts)")
