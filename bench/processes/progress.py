"""One live view of a run on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from cloakbench.bench.core.escape import terminal
from cloakbench.bench.core.screen import Screen

log = logging.getLogger(__name__)

_LINES = 10
"""Log lines over a whole phase when there is no terminal."""


class Tracker(Protocol):
    """Follows a phase of known length."""

    def advance(self, photos: int, current: str) -> None:
        """One more step is done, ``photos`` were handled, ``current`` names what was just finished."""


@contextmanager
def track(title: str, steps: int) -> Iterator[Tracker]:
    """Follow ``steps`` steps: steps done, current item, photos per second, time left."""
    if not steps:
        yield _Lines(title, steps)
        return
    if not sys.stderr.isatty():
        yield _Lines(title, steps)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:>6.0f} photos/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[current]}", markup=False),
    )
    with Progress(*columns, console=Screen(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=steps, rate=0.0, current="")
        begun, seen = time.monotonic(), 0

        class _Live:
            def advance(self, photos: int, current: str) -> None:
                nonlocal seen
                seen += photos
                rate = seen / max(time.monotonic() - begun, 1e-9)
                progress.update(task, advance=1, rate=rate, current=terminal(current))

        yield _Live()


class _Lines:
    """Plain lines, a tenth of the phase apart."""

    def __init__(self, title: str, steps: int) -> None:
        self._title, self._steps = title, steps
        self._done, self._photos, self._begun = 0, 0, time.monotonic()

    def advance(self, photos: int, current: str) -> None:
        self._done += 1
        self._photos += photos
        if self._done * _LINES // self._steps > (self._done - 1) * _LINES // self._steps:
            seconds = max(time.monotonic() - self._begun, 1e-9)
            rate = self._photos / seconds
            log.info("%s: %d of %d, %.0f photos/s, %s", self._title, self._done, self._steps, rate, terminal(current))
