"""`Faults`: what goes wrong on purpose: waiting, throttling, errors, broken connections, a quota that is used up."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable

from cloakbench.bench.services.local.messages import ApiError
from cloakbench.bench.services.local.settings import LocalSettings


class BrokenError(Exception):
    """The connection ends here, without an answer."""


class Faults:
    """Decides before each request whether it is answered. May be used by several threads.

    Args:
        settings: how slow, how strict and how unreliable.
        now: seconds of a clock that never goes back.
        sleep: waits some seconds.
    """

    def __init__(
        self,
        settings: LocalSettings,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings, self._now, self._sleep = settings, now, sleep
        self._draws = random.Random(settings.seed)
        self._lock = threading.Lock()
        self._answered: deque[float] = deque()
        self.calls = 0
        """Requests so far, whatever became of them."""

    def pass_or_fail(self) -> None:
        """Wait as long as an answer takes; raise where there is to be none.

        Raises:
            ApiError: throttled, failed, or the quota is used up.
            BrokenError: the connection is to end.
        """
        with self._lock:
            self.calls += 1
            calls, fault = self.calls, self._drawn()
            throttled = not fault and self._is_too_fast()
        if self._settings.latency_seconds:
            self._sleep(self._settings.latency_seconds)
        most = self._settings.most_calls
        if most is not None and calls > most:
            raise ApiError(403, "quota", f"the quota of {most} calls is used up")
        if throttled:
            raise ApiError(429, "throttled", f"more than {self._settings.calls_per_second:g} calls a second", 1)
        if fault == "throttled":
            raise ApiError(429, "throttled", "throttled on purpose")
        if fault == "failed":
            raise ApiError(503, "failed", "failed on purpose")
        if fault:
            raise BrokenError

    def _drawn(self) -> str:
        share = self._settings.error_share
        if not share or self._draws.random() >= share:
            return ""
        return self._draws.choice(("throttled", "failed", "broken"))

    def _is_too_fast(self) -> bool:
        rate = self._settings.calls_per_second
        if rate is None:
            return False
        window_seconds = max(1.0, 1 / rate)
        now = self._now()
        while self._answered and self._answered[0] <= now - window_seconds:
            self._answered.popleft()
        if len(self._answered) >= max(1, int(rate * window_seconds)):
            return True
        self._answered.append(now)
        return False
