"""Files in a folder that a person named: never through a link, never over what somebody else put there.

A folder that is published, or that others can write to, may hold links. None below the folder is followed: what lies
behind it would be replaced, or would take what belongs in the folder. The folder itself may be a link, since its owner
named it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

from cloakbench.bench.core.errors import ConfigError


def digest_of(place: Path) -> str:
    """sha256 of a plain file; empty for anything else, links included, which are not opened."""
    content = content_of(place)
    return "" if content is None else hashlib.sha256(content).hexdigest()


def content_of(place: Path) -> bytes | None:
    """The bytes of a plain file; None for anything else, links included, which are not opened."""
    try:
        if not stat.S_ISREG(place.lstat().st_mode):
            return None
        with os.fdopen(os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
            return stream.read()
    except OSError:
        return None


def obstacle(root: Path, inner: Path) -> str:
    """What keeps a file from being written below ``root`` whatever is asked for, in words; empty when nothing does."""
    for part in reversed(inner.parents):
        if part == Path():
            continue
        place = root / part
        if place.is_symlink():
            return f"{part} in the output folder is a link, which is not followed: remove it"
        if os.path.lexists(place) and not place.is_dir():
            return f"{part} in the output folder is a file: move it away"
    if (root / inner).is_dir() and not (root / inner).is_symlink():
        return f"{inner} in the output folder is a folder: move it away"
    return ""


def write_whole(place: Path, content: bytes, temporary: Path, mode: int = 0o666) -> None:
    """A whole file or none, safe on disk; a link at ``place`` is replaced and not followed.

    Args:
        place: where it goes.
        content: its bytes.
        temporary: where it is written first; a name that nobody else has, on the same file system.
        mode: who may read it, less what the process keeps from others anyway.

    Raises:
        OSError: there is no room, or no permission.
    """
    try:
        stage(content, temporary, mode)
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(place)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def stage(content: bytes, temporary: Path, mode: int = 0o666) -> None:
    """A new file, safe on disk. Raises `OSError`, and leaves nothing then."""
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def cannot_write(folder: Path, problem: OSError) -> ConfigError:
    """The line for a folder that takes nothing."""
    reason = problem.strerror or str(problem)
    return ConfigError(f"cannot write to {folder} ({reason}): make room there, or choose another output=FOLDER")
