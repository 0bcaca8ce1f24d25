"""Comparisons of ``cloakbench perf``: two pieces of work in turn in one process, and the median of their ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Ratio:
    """One row: seconds of ours and of what it is compared with, their ratio and the bar it has to stay under.

    ``ratio`` is the median of the ratios of neighbouring runs; None, with the reason in ``note``, when there is none.
    """

    name: str
    ours_seconds: float | None
    other_seconds: float | None
    ratio: float | None
    bar: float | None
    note: str = ""


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
    """Alternate ``ours`` and ``other``; the second of each pair goes first in the next."""
    for warm_up in (ours, other):
        warm_up()
    times: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(repeats):
        for is_ours in (True, False) if turn % 2 == 0 else (False, True):
            times[is_ours].append(_seconds(ours if is_ours else other, device))
    ratio = statistics.median(mine / theirs for mine, theirs in zip(times[True], times[False], strict=True))
    return Ratio(name, statistics.median(times[True]), statistics.median(times[False]), ratio, bar, note)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
