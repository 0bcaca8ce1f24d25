"""`ReadAhead`: a thread that reads what the next piece of work needs while this one runs."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Read = TypeVar("Read")

_HELD = 2
"""What the present piece of work has not taken yet, and what the next one needs."""


class ReadAhead(Generic[Read]):
    """Holds what was read ahead, the last two things of it.

    A guess: what is asked for and was not read ahead is read then, and what was read for nothing is forgotten. Whatever
    a read raises is raised to whoever asks for it.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)  # which starts with the first read
        self._ahead: dict[Hashable, Future[Read]] = {}

    def begin(self, name: Hashable, read: Callable[[], Read]) -> None:
        """Read it, in the background."""
        if name not in self._ahead:
            self._ahead[name] = self._thread.submit(read)
            for old in list(self._ahead)[:-_HELD]:
                del self._ahead[old]

    def take(self, name: Hashable, read: Callable[[], Read]) -> Read:
        """What was read ahead under a name, once; what ``read`` gives where it was not."""
        found = self._ahead.pop(name, None)
        return read() if found is None else found.result()
