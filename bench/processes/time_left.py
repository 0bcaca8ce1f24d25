"""`TimeLeft`: how long jobs of several kinds will still take, learnt from those that are done.

One rate for all jobs would promise the end in a minute while cheap ones are done, and an hour when the costly ones
come. So each kind has a rate of its own. A kind of which nothing is done yet takes its effort, such as its network
passes, at the pace that efforts have had so far.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping


class TimeLeft:
    """Follows the work of one phase.

    Args:
        amounts: kind to how much of it there is, in units of which each takes about as long, such as photos.
        workers: how many pieces go on at once.
        effort: kind to the effort of one unit, None where it is not known; asked once a kind, when it is needed.
    """

    def __init__(
        self,
        amounts: Mapping[Hashable, float],
        workers: int = 1,
        effort: Callable[[Hashable], float | None] = lambda kind: None,
    ) -> None:
        self._left = dict(amounts)
        self._workers, self._effort = max(1, workers), effort
        self._efforts: dict[Hashable, float | None] = {}
        self._seconds: dict[Hashable, float] = {}
        self._amounts: dict[Hashable, float] = {}

    def done(self, kind: Hashable, amount: float, seconds: float | None) -> None:
        """Some of a kind is done; ``seconds`` is what it took its worker, None where that says nothing."""
        self._left[kind] = max(0.0, self._left.get(kind, 0.0) - amount)
        if seconds is not None:
            self._seconds[kind] = self._seconds.get(kind, 0.0) + seconds
            self._amounts[kind] = self._amounts.get(kind, 0.0) + amount

    @property
    def seconds(self) -> float | None:
        """Time left on all workers together; None before anything can be told."""
        if not self._amounts:
            return None
        return sum(amount * self._pace(kind) for kind, amount in self._left.items() if amount) / self._workers

    @property
    def share(self) -> float:
        """Share of the whole work that is done, in its time; 0 before anything can be told."""
        spent = sum(self._seconds.values())
        left = (self.seconds or 0.0) * self._workers
        return spent / (spent + left) if spent + left > 0 else 0.0

    def _pace(self, kind: Hashable) -> float:
        """Seconds for one unit of a kind."""
        if self._amounts.get(kind):
            return self._seconds[kind] / self._amounts[kind]
        effort = self._known_effort(kind)
        told = {one: known for one in self._amounts if (known := self._known_effort(one))} if effort is not None else {}
        if told and effort is not None:
            spent = sum(self._seconds[one] for one in told)
            return effort * spent / sum(self._amounts[one] * known for one, known in told.items())
        return sum(self._seconds.values()) / max(sum(self._amounts.values()), 1e-9)

    def _known_effort(self, kind: Hashable) -> float | None:
        if kind not in self._efforts:
            self._efforts[kind] = self._effort(kind)
        return self._efforts[kind]


def duration(seconds: float | None) -> str:
    """``40 s``, ``12 min``, ``1.5 h``; nothing where it is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
