"""`CallRate`: how often a key may ask, kept by all processes together.

A rate belongs to a key and not to a process, so the last calls are kept in a file of the store, which is named by a
slow digest of the key. Of any n + 1 calls in a row the last goes out at least n / rate seconds after the first, with
one to two and a half per cent to spare for the network; so no second sees more than the rate, whenever it begins. Calls
are spread over that time and not sent in bursts.

A token bucket would let its whole content out at once after a pause, twice the rate within a second.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cloakbench.bench.core.files.file_lock import NoLocksError, exclusive, try_lock
from cloakbench.bench.core.files.whole_file import whole_file
from cloakbench.bench.core.ranges import positive

_TO_SPARE = 1.025
_LATE = 0.015
"""Share of the window by which a call may be late without the next ones being so, out of what is spared: a busy
machine wakes sleepers late."""
_SPREAD = 0.9
"""Share of the usual distance of two calls that any two keep."""
_MOST_KEPT = 200


class CallRate:
    """Permits for calls of one key.

    Args:
        path: the file; its folder is made.
        calls_per_second: the rate.
        now: seconds that all processes agree on.
        sleep: waits some seconds.
    """

    def __init__(
        self,
        path: Path,
        calls_per_second: float,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        rate = positive("calls_per_second", calls_per_second)
        self._calls = min(_MOST_KEPT, max(1, math.floor(rate)))
        self._window_seconds = _TO_SPARE * self._calls / rate
        self._distance_seconds = _SPREAD * self._window_seconds / self._calls
        self._path, self._now, self._sleep = path, now, sleep
        self._mine = threading.Lock()

    def wait(self) -> float:
        """Return when the next call may go out, and say at what time that is.

        Raises:
            OSError: the folder cannot be written to.
        """
        with self._held():
            sent = self._last_calls(self._now())
            due = self._due(sent)
            while (left := due - self._now()) > 0:
                self._sleep(left)
            at = self._now()
            counted = max(due, at - _LATE * self._window_seconds)
            with whole_file(self._path, durable=False) as file:
                file.write(json.dumps([*sent, counted][-self._calls :]).encode())
        return at

    def _due(self, sent: list[float]) -> float:
        if not sent:
            return 0.0
        whole = sent[-self._calls] + self._window_seconds if len(sent) >= self._calls else 0.0
        return max(whole, sent[-1] + self._distance_seconds)

    def _last_calls(self, now: float) -> list[float]:
        """When the last calls went out. What lies in the future, since a clock was put back, counts as now; what cannot
        be read counts as a full window that just went out."""
        try:
            return [min(float(at), now) for at in json.loads(self._path.read_bytes())][-self._calls :]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError):
            return [now] * self._calls

    @contextmanager
    def _held(self) -> Iterator[None]:
        """One thread of one process at a time; a lock dies with its holder."""
        lock = self._path.with_name(f"{self._path.name}.lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        with self._mine, os.fdopen(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666), "wb") as file:
            try:
                if not try_lock(file):
                    fcntl.flock(file, fcntl.LOCK_EX)
            except NoLocksError:
                with exclusive(lock.with_name(f"{lock.name}.alone"), "asking the same service"):
                    yield
                return
            yield
