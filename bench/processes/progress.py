"""One live view of a run on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from cloakbench.bench.core.escape import terminal
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.processes.time_left import TimeLeft, duration

log = logging.getLogger(__name__)

_LINES = 10
"""Log lines over a whole phase when there is no terminal."""
_SILENCE_SECONDS = 60.0
"""After which the next step is a line, however small its part of the phase is."""


class Tracker(Protocol):
    """Follows a phase of known length."""

    def advance(self, current: str) -> None:
        """One more step is done; ``current`` names it."""


@contextmanager
def track(title: str, steps: int, left: TimeLeft | None = None) -> Iterator[Tracker]:
    """Follow ``steps`` steps: steps done, time left, current item.

    Args:
        title: of the phase.
        steps: how many there are.
        left: is told of every step by somebody else, before the tracker is; all steps are alike where it is None.
    """
    if not steps or not sys.stderr.isatty():
        yield _Lines(title, steps, left)
        return
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        TextColumn("{task.fields[current]}", markup=False),
    )
    with Progress(*columns, console=Screen(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=1.0, told=f"0/{steps}", current="")

        def show(done: _Done, current: str) -> None:
            progress.update(task, completed=done.share, told=done.told, current=terminal(current))

        yield _Shown(_Done(steps, left), show)


class _Done:
    """How much of a phase is done."""

    def __init__(self, steps: int, left: TimeLeft | None) -> None:
        self.steps, self.number = steps, 0
        self._own = left is None
        self._left = TimeLeft({None: steps}) if left is None else left
        self._seen = time.monotonic()

    def advance(self) -> None:
        self.number += 1
        if self._own:
            now = time.monotonic()
            self._left.done(None, 1, now - self._seen)
            self._seen = now

    @property
    def share(self) -> float:
        return self._left.share

    @property
    def told(self) -> str:
        """``3/10, about 12 min left``."""
        known = duration(self._left.seconds) if self.number < self.steps else ""
        return f"{self.number}/{self.steps}" + (f", about {known} left" if known else "")


class _Shown:
    """A tracker of the live view."""

    def __init__(self, done: _Done, show: Callable[[_Done, str], None]) -> None:
        self._done, self._show = done, show

    def advance(self, current: str) -> None:
        self._done.advance()
        self._show(self._done, current)


class _Lines:
    """Plain lines, a tenth of the steps apart, or a minute."""

    def __init__(self, title: str, steps: int, left: TimeLeft | None) -> None:
        self._title, self._done = title, _Done(steps, left)
        self._last = time.monotonic()

    def advance(self, current: str) -> None:
        self._done.advance()
        number, steps, now = self._done.number, self._done.steps, time.monotonic()
        if number * _LINES // steps > (number - 1) * _LINES // steps or now - self._last > _SILENCE_SECONDS:
            log.info("%s: %s, %s", self._title, self._done.told, terminal(current))
            self._last = now
