"""The rate of a key, over threads and processes."""

from __future__ import annotations

import multiprocessing
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from cloakbench.bench.core.ranges import SettingError
from cloakbench.bench.services.call_rate import CallRate


class Clock:
    """Time that passes when somebody sleeps, each time a little more than was asked for."""

    def __init__(self, late_seconds: float = 0.0) -> None:
        self.now, self.late_seconds = 1_000_000.0, late_seconds

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds + self.late_seconds


def permits(path: Path, rate: float, clock: Clock, count: int, busy_seconds: float = 0.0) -> list[float]:
    kept = CallRate(path, rate, lambda: clock.now, clock.sleep)
    times = []
    for _ in range(count):
        times.append(kept.wait())
        clock.now += busy_seconds
    return times


def most_in(times: list[float], seconds: float) -> int:
    return max(sum(begin <= at < begin + seconds for at in times) for begin in times)


@pytest.mark.parametrize("rate", [0.33, 1, 2, 2.5, 10, 50])
@pytest.mark.parametrize("late_seconds", [0.0, 0.0005, 0.01])
def test_no_window_sees_more_than_the_rate_and_95_percent_are_reached(
    tmp_path: Path, rate: float, late_seconds: float
) -> None:
    times = permits(tmp_path / "rate", rate, Clock(late_seconds), 300)
    whole = max(1, int(rate))
    assert most_in(times, whole / rate) <= whole
    assert len(times) / (times[-1] - times[0]) >= 0.95 * rate


def test_calls_are_spread_and_do_not_come_in_bursts(tmp_path: Path) -> None:
    times = permits(tmp_path / "rate", 10, Clock(), 40)
    assert min(b - a for a, b in pairwise(times)) > 0.07


def test_after_a_pause_nothing_is_made_up_for(tmp_path: Path) -> None:
    clock = Clock()
    first = permits(tmp_path / "rate", 10, clock, 5)
    clock.now += 3600
    later = permits(tmp_path / "rate", 10, clock, 30)
    assert most_in(first + later, 1.0) <= 10


def test_another_object_goes_on_where_the_file_stands(tmp_path: Path) -> None:
    clock = Clock()
    times = [at for _ in range(30) for at in permits(tmp_path / "rate", 10, clock, 1)]
    assert most_in(times, 1.0) <= 10


def test_a_clock_that_was_put_back_and_a_damaged_file_cost_one_window(tmp_path: Path) -> None:
    clock = Clock()
    permits(tmp_path / "rate", 10, clock, 10)
    clock.now -= 86_400
    begun = clock.now
    permits(tmp_path / "rate", 10, clock, 1)
    assert clock.now - begun <= 1.026
    (tmp_path / "rate").write_bytes(b"[1.0, 2")
    begun = clock.now
    permits(tmp_path / "rate", 10, clock, 1)
    assert clock.now - begun == pytest.approx(1.025)


def test_a_rate_is_a_number_above_zero(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="calls_per_second is 0"):
        CallRate(tmp_path / "rate", 0)


def test_threads_share_a_rate(tmp_path: Path) -> None:
    kept = CallRate(tmp_path / "rate", 50)
    times: list[float] = []

    def ask() -> None:
        for _ in range(8):
            times.append(kept.wait())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most_in(sorted(times), 1.0) <= 50
    assert len(times) == 64


def _asks(path: Path, count: int, times: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    kept = CallRate(path, 40)
    for _ in range(count):
        times.put(kept.wait())


def test_processes_share_a_rate(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    times = context.Queue()
    processes = [context.Process(target=_asks, args=(tmp_path / "rate", 30, times)) for _ in range(2)]
    for process in processes:
        process.start()
    found = sorted(times.get(timeout=30) for _ in range(60))
    for process in processes:
        process.join()
    assert most_in(found, 1.0) <= 40


def test_a_holder_that_dies_holds_nobody_up(tmp_path: Path) -> None:
    """It slept with the lock in its hand."""
    context = multiprocessing.get_context("fork")
    slow = CallRate(tmp_path / "rate", 0.01)
    slow.wait()
    holder = context.Process(target=slow.wait)
    holder.start()
    time.sleep(0.3)
    holder.kill()
    holder.join()
    (tmp_path / "rate").unlink()
    begun = time.monotonic()
    CallRate(tmp_path / "rate", 100).wait()
    assert time.monotonic() - begun < 5
