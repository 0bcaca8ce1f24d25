"""`Ledger`: what is counted while a service is asked, one line for each thing, so that a kill loses no count.

A line is appended before what it counts leaves; a process that dies leaves the file, and whoever opens the service
next adds it up.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path


class Ledger:
    """Counts in a file. May be used by several threads of one process.

    Args:
        path: the file; it is made with the first line.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._opening = path, threading.Lock()
        self._descriptor: int | None = None

    def note(self, what: str) -> None:
        """Count something.

        Raises:
            OSError: the folder cannot be written to.
        """
        with self._opening:
            if self._descriptor is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags, 0o644)
            os.write(self._descriptor, f"{what}\n".encode())

    def counts(self) -> Counter[str]:
        """How often each thing was noted since the last `clear`."""
        try:
            return Counter(self._path.read_text(encoding="utf-8").splitlines())
        except FileNotFoundError:
            return Counter()

    def clear(self) -> None:
        """Begin anew."""
        with self._opening:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
            self._path.unlink(missing_ok=True)
