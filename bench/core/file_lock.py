"""One process at a time: an advisory lock that the operating system drops when its holder dies."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def exclusive(path: Path, doing: str) -> Iterator[None]:
    """Holds the lock file ``path``, which exists only while it is held or waited for.

    Args:
        path: in a folder that exists and can be written to.
        doing: what the holder does; logged when another process is at it already.

    Raises:
        OSError: the folder cannot be written to.
    """
    while True:
        # A named pipe in its place is an error at once and never waited for.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        with os.fdopen(os.open(path, flags, 0o666), "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("another process is %s: waiting for it", doing)
                fcntl.flock(file, fcntl.LOCK_EX)
            # The holder before us removed its file: whoever comes next makes another, and a lock on ours means nothing.
            if not _is_open_file(path, file.fileno()):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_open_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
