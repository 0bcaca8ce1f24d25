"""`Spending`: how many calls a run may make and what they may cost; it stops before a limit and not behind it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from cloakbench.models.services import FORGET, ServiceError

REQUEST, RETRY, POSSIBLY_BILLED = "request", "retry", "possibly_billed"
"""What is noted: a request, before it leaves, with its operation; one that was a repetition; a question that is asked
again since nothing came of the last try, so that both may be billed."""


class LimitReachedError(ServiceError):
    """The next call would go over a limit; what was answered is kept."""


class Spending:
    """Counts calls of one service before they leave.

    Args:
        service: its name.
        price_per_call: of each request that is made for an operation; what has no price costs nothing.
        max_calls: requests, retries among them; None for no limit.
        max_cost: in the currency of the prices; None for no limit.
        held_back: how many calls, and what they cost, are kept for the deleting of galleries; asked before each call.
        note: is told of everything that counts, so that a kill loses no count (`cloakbench.bench.services.ledger`).
    """

    def __init__(
        self,
        service: str,
        price_per_call: Mapping[str, float],
        max_calls: int | None,
        max_cost: float | None,
        held_back: Callable[[], int] = lambda: 0,
        note: Callable[[str], None] = lambda what: None,
    ) -> None:
        self._service, self._prices, self.held_back, self.note = service, price_per_call, held_back, note
        self._max_calls, self._max_cost = max_calls, max_cost
        self._lock, self._thread = threading.Lock(), threading.local()
        self.calls: Counter[str] = Counter()
        """Requests by the operation that they were made for."""

    @property
    def cost(self) -> float:
        """What the calls cost at the configured prices."""
        return sum(self._prices.get(operation, 0.0) * count for operation, count in self.calls.items())

    @contextmanager
    def on(self, operation: str) -> Iterator[None]:
        """Requests of this thread are made for an operation; enrolling for a search is within the search."""
        outer = getattr(self._thread, "operation", "")
        self._thread.operation = operation
        try:
            yield
        finally:
            self._thread.operation = outer

    def permit(self, action: str) -> None:
        """Count a request that is about to leave.

        Raises:
            LimitReachedError: it may not.
        """
        operation = getattr(self._thread, "operation", "")
        with self._lock:
            is_limited = self._max_calls is not None or self._max_cost is not None
            kept = self.held_back() if is_limited and operation != FORGET else 0
            if self._max_calls is not None and self.calls.total() >= self._max_calls - kept:
                raise LimitReachedError(
                    f"service {self._service}: remote.max_calls={self._max_calls} is reached; what was answered is "
                    "kept, a higher limit goes on from there"
                )
            cost = self.cost + self._prices.get(operation, 0.0) + kept * self._prices.get(FORGET, 0.0)
            if self._max_cost is not None and cost > self._max_cost + 1e-9:
                raise LimitReachedError(
                    f"service {self._service}: remote.max_cost={self._max_cost:g} would be passed by the next call; "
                    "what was answered is kept, a higher limit goes on from there"
                )
            self.calls[operation] += 1
            self.note(f"{REQUEST} {operation}")
