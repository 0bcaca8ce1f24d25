"""Opening files of others without waiting for them: plain files only.

A named pipe keeps a reader waiting until somebody writes, a device may never end or do something when it is opened.
Where a file of others is read (a photo, a list, a label table, an archive, weights), it has to be a plain file, or a
link to one. What a path is may change between asking and opening. So the kind is asked first, because opening a device
is an act already; the opening itself never waits (``O_NONBLOCK``); and what was really opened is asked once more.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import IO

FOLDER = "a folder"
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: FOLDER,
}


class NotRegularError(OSError):
    """A path leads to something other than a plain file; ``strerror`` says to what."""


def open_regular(path: str | Path) -> io.BufferedReader:
    """A plain file, or a link to one, opened to be read as bytes.

    Raises:
        NotRegularError: it is a named pipe, a socket, a device or a folder.
        OSError: it does not exist or cannot be read.
    """
    require_regular(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    try:
        _require(os.fstat(descriptor), path)
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def require_regular(path: str | Path) -> None:
    """Refuse what is no plain file and no link to one, for libraries that open a path themselves.

    Raises:
        NotRegularError: it is a named pipe, a socket, a device or a folder.
        OSError: it does not exist.
    """
    _require(Path(path).stat(), path)


def read_regular(path: str | Path) -> bytes:
    """The content of a plain file; raises as `open_regular` does."""
    with open_regular(path) as file:
        return file.read()


def other_than_file(facts: os.stat_result) -> str | None:
    """What a path leads to in words, such as ``a named pipe``; None for a plain file."""
    return None if stat.S_ISREG(facts.st_mode) else _KINDS.get(stat.S_IFMT(facts.st_mode), "something else")


def remove_opened(path: Path, file: IO[bytes]) -> None:
    """Remove a file that was opened, unless it is gone or another process has put a new one in its place.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        if os.path.samestat(path.stat(), os.fstat(file.fileno())):
            path.unlink()
    except FileNotFoundError:
        return


def _require(facts: os.stat_result, path: str | Path) -> None:
    if (kind := other_than_file(facts)) is not None:
        raise NotRegularError(errno.EINVAL, f"it is {kind} and not a plain file", str(path))


def leads_to_file(place: os.DirEntry[str] | Path) -> bool:
    """Whether it is a plain file or a link to one; what leads nowhere or in a circle, or cannot exist, is not."""
    try:
        return place.is_file()
    except OSError:
        return False


def leads_to_folder(place: os.DirEntry[str] | Path) -> bool:
    """Whether it is a folder or a link to one; what leads nowhere or in a circle, or cannot exist, is not."""
    try:
        return place.is_dir()
    except OSError:
        return False
