"""`HeldFile`: a lock for file systems without locks of their own, a file that one process makes and keeps fresh.

Making a file that must not exist is atomic on every local file system, on NFS since version 3, and on SMB. Whoever
makes it touches it every 20 seconds. A file is free again once its holder removes it, once the holder's process is gone
from this host, or once nobody has touched it for 120 seconds, by the clock of whoever waits, as hosts' clocks differ.

A holder that was stopped for longer than that may find somebody else at the same work. What is locked this way must
therefore stay right when two do it at once; the lock only keeps them from doing it twice.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TOUCH_SECONDS = 20.0
STALE_SECONDS = 120.0


class HeldFile:
    """The lock at ``path``, in a folder that exists and can be written to.

    One object for each path lasts as long as its owner waits, for it remembers since when the file has not been
    touched.

    Args:
        path: the file, there only while it is held.
        clock: seconds that never go back.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._seen: tuple[bytes, int, float] | None = None

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the lock, and yield False at once when another process does.

        Raises:
            OSError: the folder cannot be written to.
        """
        mine = json.dumps([socket.gethostname(), os.getpid(), secrets.token_hex(8)]).encode()
        if not (self._make(mine) or (self._is_stale() and self._put_aside() and self._make(mine))):
            yield False
            return
        self._seen = None
        ended = threading.Event()
        toucher = threading.Thread(target=self._touch, args=(ended,), daemon=True)
        toucher.start()
        try:
            yield True
        finally:
            ended.set()
            toucher.join()
            if self._content() == mine:  # somebody else's where this process had been stopped for too long
                with suppress(OSError):
                    self._path.unlink()

    def _make(self, content: bytes) -> bool:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        return True

    def _touch(self, ended: threading.Event) -> None:
        while not ended.wait(TOUCH_SECONDS):
            with suppress(OSError):
                os.utime(self._path)

    def _content(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except OSError:
            return None

    def _is_stale(self) -> bool:
        """Whether its holder on this host is gone, or nobody has touched it for too long while this object watched."""
        content = self._content()
        try:
            touched = self._path.stat().st_mtime_ns
        except OSError:
            return False
        if content is None:
            return False
        if self._seen is None or self._seen[:2] != (content, touched):
            self._seen = (content, touched, self._clock())
        with suppress(ValueError):  # cut off while it was written: only time tells
            host, process, _ = json.loads(content)
            if host == socket.gethostname() and not is_alive(process):
                return True
        return self._clock() - self._seen[2] > STALE_SECONDS

    def _put_aside(self) -> bool:
        """Take a stale file away; False when it was somebody's fresh one by then, which is put back."""
        assert self._seen is not None
        aside = self._path.with_name(f"{self._path.name}.{secrets.token_hex(8)}")
        try:
            self._path.rename(aside)
        except OSError:
            return False
        with suppress(OSError):
            if aside.read_bytes() != self._seen[0]:
                aside.rename(self._path)
                return False
        aside.unlink(missing_ok=True)
        return True


def is_alive(process: int) -> bool:
    """Whether this host has a process of that number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
