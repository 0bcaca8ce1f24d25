"""Time left: every kind of work at its own pace, and what has none yet by its effort."""

from __future__ import annotations

import logging
import re

import pytest

from cloakbench.bench.processes import progress
from cloakbench.bench.processes.progress import track
from cloakbench.bench.processes.time_left import TimeLeft, duration


def test_cheap_work_says_nothing_of_costly_work_beyond_its_effort() -> None:
    """100 cheap photos of 1 pass and 10 costly ones of 50 passes; the cheap ones took 0.1 s each."""
    left = TimeLeft({"cheap": 100, "costly": 10}, workers=2, effort={"cheap": 1.0, "costly": 50.0}.get)
    assert left.seconds is None
    left.done("cheap", 100, 10.0)
    assert left.seconds == pytest.approx(10 * 50 * 0.1 / 2)
    assert left.share == pytest.approx(10 / 60)


def test_a_kind_has_its_own_pace_once_some_of_it_is_done() -> None:
    left = TimeLeft({"cheap": 100, "costly": 10}, effort={"cheap": 1.0, "costly": 50.0}.get)
    left.done("cheap", 50, 5.0)
    left.done("costly", 2, 20.0)
    assert left.seconds == pytest.approx(50 * 0.1 + 8 * 10.0)


def test_a_kind_of_unknown_effort_is_taken_for_an_average_one_and_failures_set_no_pace() -> None:
    left = TimeLeft({"one": 10, "other": 10})
    left.done("one", 5, None)
    assert left.seconds is None
    left.done("one", 5, 10.0)
    assert left.seconds == pytest.approx(20.0)


def test_efforts_are_asked_for_once_and_only_when_they_are_needed() -> None:
    asked = []

    def effort(kind: object) -> float:
        asked.append(kind)
        return 1.0

    left = TimeLeft({"a": 4, "b": 4}, effort=effort)
    left.done("a", 1, 1.0)
    assert asked == []
    assert [left.seconds, left.seconds] == [7.0, 7.0]
    assert sorted(map(str, asked)) == ["a", "b"]


def test_lines_of_a_log_tell_the_time_left_and_no_photos_per_second(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cloakbench")
    left = TimeLeft({"cheap": 2, "costly": 2}, effort={"cheap": 1.0, "costly": 600.0}.get)
    with track("protecting", 4, left) as tracker:
        for name in ("cheap", "cheap", "costly", "costly"):
            left.done(name, 1, 1.0 if name == "cheap" else 700.0)
            tracker.advance(f"{name} at 8/255")
    assert caplog.messages == [
        "protecting: 1/4, about 20 min left, cheap at 8/255",
        "protecting: 2/4, about 20 min left, cheap at 8/255",
        "protecting: 3/4, about 12 min left, costly at 8/255",
        "protecting: 4/4, costly at 8/255",
    ]


def test_a_long_silence_is_broken_and_short_steps_are_not_all_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "cloakbench")
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with track("cropping", 1000) as tracker:
        for number in range(1000):
            now[0] += 70.0 if number == 10 else 0.01
            tracker.advance(f"photo {number}")
    assert len(caplog.messages) == 11
    assert re.match(r"cropping: 11/1000, about 1\.8 h left, photo 10", caplog.messages[0])


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, ""), (0.2, "0 s"), (89.0, "89 s"), (90.0, "2 min"), (5399, "90 min"), (9000, "2.5 h")]
)
def test_durations_are_short(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words
