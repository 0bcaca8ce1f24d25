"""One process at a time: an advisory lock that the operating system drops when its holder dies."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from cloakbench.bench.core.files.held_file import HeldFile

log = logging.getLogger(__name__)

_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS})
"""What ``flock`` says on network file systems that have no locks, or no server for them."""
_AGAIN_SECONDS = 0.1


class NoLocksError(OSError):
    """The file system has no advisory locks."""


def try_lock(file: IO[Any]) -> bool:
    """Lock an open file until it is closed; False when another process has it.

    Raises:
        NoLocksError: nobody can lock there.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as problem:
        if problem.errno in _NO_LOCKS:
            raise NoLocksError(problem.errno, problem.strerror) from problem
        raise
    return True


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
                if not try_lock(file):
                    log.info("another process is %s: waiting for it", doing)
                    fcntl.flock(file, fcntl.LOCK_EX)
            except NoLocksError:
                with _held(path, doing):
                    yield
                return
            # The holder before us removed its file: whoever comes next makes another, and a lock on ours means nothing.
            if not _is_open_file(path, file.fileno()):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


@contextmanager
def _held(path: Path, doing: str) -> Iterator[None]:
    """As `exclusive`, with a file beside ``path`` where nothing can be locked."""
    lock, told = HeldFile(path.with_name(f"{path.name}.held")), False
    while True:
        with lock.held() as mine:
            if mine:
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        if not told:
            log.info("another process is %s: waiting for it", doing)
            told = True
        time.sleep(_AGAIN_SECONDS)


def _is_open_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
