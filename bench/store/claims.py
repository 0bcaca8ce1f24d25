"""`WorkClaims`: who does which piece of work, among all processes that share a store, on one machine or on many."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cloakbench.bench.core.files.file_lock import NoLocksError, try_lock
from cloakbench.bench.core.files.held_file import STALE_SECONDS, HeldFile
from cloakbench.bench.store.errors import explained

log = logging.getLogger(__name__)

BY_FILE = "by-file"
"""A file of this name among the locks of a store makes everybody claim by files, see ``docs/cluster.md``."""


class WorkClaims:
    """The locks in ``folder``.

    Usually a claim is an advisory lock that the operating system drops when its holder dies. Where the file system has
    none, the first process to find out writes that down in the folder, and from then on all claims are `HeldFile`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waited_for: dict[str, HeldFile] = {}

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Hold the right to make ``key``; yields False at once when another process has it.

        Raises:
            StoreError: the store cannot be written to.
        """
        with ExitStack() as stack:
            with explained(self._folder.parent, "paths.store"):
                mine = self._take(key, stack)
            yield mine

    def _take(self, key: str, stack: ExitStack) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True)
        if not (self._folder / BY_FILE).exists():
            # Lock files are shared by keys with the same first three digits and never deleted, which keeps their number
            # bounded and avoids the race of removing a lock that somebody is opening.
            handle = stack.enter_context((self._folder / key[:3]).open("ab"))
            try:
                return try_lock(handle)
            except NoLocksError:
                (self._folder / BY_FILE).touch()
                log.warning(
                    "%s cannot lock files: work is claimed by files in %s, and what a process on another host held "
                    "when it died is free after %.0f s",
                    self._folder.parent,
                    self._folder,
                    STALE_SECONDS,
                )
        lock = self._waited_for.setdefault(key, HeldFile(self._folder / f"{key}.held"))
        mine = stack.enter_context(lock.held())
        if mine:
            del self._waited_for[key]
        return mine
