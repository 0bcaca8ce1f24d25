"""Handlers: what a worker process answers jobs with, and how it is made there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

Handler = Callable[[Any], Any]
MakeHandler = Callable[[], Handler]


@runtime_checkable
class LooksAhead(Protocol):
    """A handler that gets ready for a job while it is at another."""

    def __call__(self, job: Any) -> Any: ...

    def prepare(self, job: Any) -> None:
        """Get ready, in the background; the job may never come."""
