"""Fetching one file: whole, checked, and from whichever mirror has it, or not at all.

Bytes go to a part file beside the target (:mod:`cloakbench.models.transfer`), which a broken connection, a killed
process and a full disk leave for the next call. The target appears by renaming, after every byte has arrived and the
digest, when one is known, agrees. With ``CLOAKBENCH_OFFLINE=1`` no connection is opened.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from cloakbench.bench.core.files.file_lock import exclusive
from cloakbench.bench.core.files.regular_file import open_regular
from cloakbench.bench.core.redaction import bare_address
from cloakbench.models.archive_member import MemberError, extract_member
from cloakbench.models.file_format import page_or_pointer
from cloakbench.models.transfer import DiskError, DownloadError, PartialFile, fetch

__all__ = ["DiskError", "DownloadError", "OfflineError", "download", "file_sha256", "offline_switch"]

_OFFLINE_SWITCHES = ("CLOAKBENCH_OFFLINE", "HF_HUB_OFFLINE")
_OFF = {"", "0", "false", "no", "off"}

log = logging.getLogger(__name__)


class OfflineError(DownloadError):
    """The file would have to be fetched, and connections are forbidden."""


def download(urls: str | Sequence[str], target: Path, sha256: str | None = None, member: str | None = None) -> None:
    """Writes what one of ``urls`` serves to ``target``; ``target`` appears complete or not at all.

    Of several processes one fetches; the others wait for it and find the file.

    Args:
        urls: one ``http`` or ``https`` address, or several that serve the same file and are tried in order.
        target: where the file goes; missing folders are made, an existing file is replaced.
        sha256: hexadecimal digest of the bytes of ``target``; None takes any bytes but a web page.
        member: the addresses serve a zip or tar archive and ``target`` is this file of it.

    Raises:
        OfflineError: offline; one line that says which file to put where.
        DownloadError: no address gives the file; one line that names each address and what was wrong.
        DiskError: the folder is full or cannot be written to.
    """
    addresses = (urls,) if isinstance(urls, str) else tuple(urls)
    if switch := offline_switch():
        raise OfflineError(f"offline ({switch} is set): {_by_hand(addresses, target, sha256, member)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        before = _identity(target)
        with exclusive(target.with_name(f"{target.name}.lock"), f"fetching {target.name}"):
            if _identity(target) in (None, before):
                _from_first_that_works(addresses, target, sha256, member)
    except DownloadError:
        raise
    except OSError as error:
        raise DiskError(f"{target.parent}: {error.strerror or error}") from error


def offline_switch() -> str | None:
    """The environment variable that forbids connections; None when they are allowed."""
    return next((name for name in _OFFLINE_SWITCHES if os.environ.get(name, "").lower() not in _OFF), None)


def file_sha256(path: Path) -> str:
    """Hexadecimal digest of a plain file; raises ``OSError`` for anything else."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_first_that_works(addresses: Sequence[str], target: Path, sha256: str | None, member: str | None) -> None:
    reasons: list[str] = []
    for url in addresses:
        log.info("fetching %s", bare_address(url))
        try:
            _from_one(url, target, sha256, member)
            return
        except DiskError:
            raise
        except DownloadError as error:
            reasons.append(str(error))
            if len(reasons) < len(addresses):
                log.warning("%s; trying the next mirror", error)
    raise DownloadError("; ".join(reasons))


def _from_one(url: str, target: Path, sha256: str | None, member: str | None) -> None:
    part = PartialFile(target.with_name(f"{target.name}.part"))
    joined = fetch(url, part, digest_known=sha256 is not None)
    try:
        _publish(url, part, target, sha256, member)
    except DownloadError:
        if not joined:
            raise
        # Pieces of several connections: the file may have changed between them.
        fetch(url, part, digest_known=sha256 is not None)
        _publish(url, part, target, sha256, member)


def _publish(url: str, part: PartialFile, target: Path, sha256: str | None, member: str | None) -> None:
    """Moves what was fetched, or its member, to ``target`` if it is what it should be; otherwise removes it."""
    unpacked = part.path if member is None else target.with_name(f"{target.name}.unpacked")
    try:
        if member is not None:
            extract_member(part.path, member, unpacked)
        _check(unpacked, sha256)
    except (MemberError, _WrongBytesError) as error:
        part.discard()
        raise DownloadError(f"{bare_address(url)}: {error}") from error
    else:
        with unpacked.open("rb") as file:
            os.fsync(file.fileno())
        unpacked.replace(target)
        part.discard()
    finally:
        if member is not None:
            unpacked.unlink(missing_ok=True)


class _WrongBytesError(ValueError):
    """What came is not the file."""


def _check(path: Path, sha256: str | None) -> None:
    instead = page_or_pointer(path)
    if sha256 is None:
        if instead:
            raise _WrongBytesError(f"it is {instead}, not a weight file")
    elif (digest := file_sha256(path)) != sha256:
        raise _WrongBytesError(f"sha256 is {digest}, expected {sha256}" + (f" (it is {instead})" if instead else ""))


def _by_hand(addresses: Sequence[str], target: Path, sha256: str | None, member: str | None) -> str:
    source = bare_address(addresses[0])
    what = f"{member} of {source}" if member is not None else source
    return f"put {what} at {target} (sha256 {sha256 or 'not published'})"


def _identity(path: Path) -> tuple[int, int] | None:
    """What changes when another file takes the place."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return facts.st_ino, facts.st_mtime_ns
