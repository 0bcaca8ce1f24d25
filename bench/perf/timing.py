"""`compare` and `grow`: two pieces of work in turn in one process, and the median of their ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from cloakbench.bench.processes.peak_memory import added_peak_mib, mark_memory

_SLACK_MIB = 20.0
"""What the same work may differ by, see `cloakbench.bench.processes.peak_memory`."""


@dataclass(frozen=True)
class Ratio:
    """One row: what two pieces of work took in turn.

    Attributes:
        name: of the comparison.
        bar: what the ratio has to stay under.
        ours_seconds, other_seconds: of every turn; nothing where there was none, for the reason in ``note``.
        scale: what the times are divided by before they are compared: how much larger the first piece of work is.
        ours_mib, other_mib: most memory that each added to the process; None where it was not measured.
        mib_bar: what ``ours_mib`` has to stay under; None for no bar.
        note: what the reader must know.
    """

    name: str
    bar: float
    ours_seconds: Sequence[float] = ()
    other_seconds: Sequence[float] = ()
    scale: float = 1.0
    ours_mib: float | None = None
    other_mib: float | None = None
    mib_bar: float | None = None
    note: str = ""
    ratios: tuple[float, ...] = field(init=False)
    """Of every turn, ascending."""

    def __post_init__(self) -> None:
        turns = zip(self.ours_seconds, self.other_seconds, strict=True)
        object.__setattr__(self, "ratios", tuple(sorted(ours / other / self.scale for ours, other in turns)))

    @property
    def ratio(self) -> float | None:
        """The median over turns; None where there was none."""
        return statistics.median(self.ratios) if self.ratios else None

    def record(self) -> dict[str, object]:
        """The row as a line of a table of values."""
        low, high = (self.ratios[0], self.ratios[-1]) if self.ratios else (None, None)
        ours, other = (statistics.median(turns) if turns else None for turns in (self.ours_seconds, self.other_seconds))
        return {
            "name": self.name,
            "ratio": self.ratio,
            "lowest_ratio": low,
            "highest_ratio": high,
            "bar": self.bar,
            "missed": self.missed,
            "ours_seconds": ours,
            "other_seconds": other,
            "scale": self.scale,
            "ours_mib": self.ours_mib,
            "other_mib": self.other_mib,
            "mib_bar": self.mib_bar,
            "note": self.note,
        }

    @property
    def missed(self) -> bool:
        """Whether a bar is missed."""
        slow = self.ratio is not None and self.ratio > self.bar
        large = self.mib_bar is not None and self.ours_mib is not None and self.ours_mib > self.mib_bar
        return slow or large


def compare(
    name: str,
    ours: Callable[[], object],
    other: Callable[[], object],
    repeats: int,
    device: torch.device,
    *,
    bar: float,
    note: str = "",
) -> Ratio:
    """Alternate ``ours`` and ``other``, after one of each to warm up; the second of a pair goes first in the next."""
    for warm_up in (ours, other):
        warm_up()
    return Ratio(name, bar, *_turns(ours, other, repeats, device), note=note)


def grow(
    name: str,
    large: Callable[[], object],
    small: Callable[[], object],
    scale: float,
    repeats: int,
    device: torch.device,
    *,
    bar: float = 1.1,
    more_mib: float = 0.0,
    memory_grows: bool = False,
) -> Ratio:
    """Work of two sizes: how much more time the larger takes, over how much larger it is, and the memory of both.

    Args:
        name: of the row.
        large, small: the work.
        scale: the larger size over the smaller.
        repeats: turns, after one of each in which memory is measured.
        device: where it runs.
        bar: what the ratio has to stay under.
        more_mib: what the larger work may take more than the smaller, whatever its size.
        memory_grows: the memory of the work itself may grow with its size, too.
    """
    peaks = []
    for work in (small, large):
        mark = mark_memory()
        work()
        peaks.append(added_peak_mib(mark))
    few, many = peaks
    mib_bar = None if memory_grows or few is None else round(1.1 * few + more_mib + _SLACK_MIB, 1)
    turns = _turns(large, small, repeats, device)
    return Ratio(name, bar, *turns, scale=scale, ours_mib=many, other_mib=few, mib_bar=mib_bar)


def _turns(
    ours: Callable[[], object], other: Callable[[], object], repeats: int, device: torch.device
) -> tuple[list[float], list[float]]:
    times: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(repeats):
        for is_ours in (True, False) if turn % 2 == 0 else (False, True):
            times[is_ours].append(_seconds(ours if is_ours else other, device))
    return times[True], times[False]


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
