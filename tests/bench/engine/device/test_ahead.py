"""Reading ahead: what was read is taken once, a wrong guess costs nothing, and a failure is told to who asks."""

from __future__ import annotations

import threading

import pytest

from cloakbench.bench.engine.device.ahead import ReadAhead


def test_what_was_begun_is_read_by_another_thread_and_taken_once() -> None:
    ahead: ReadAhead[int] = ReadAhead()
    ahead.begin("next", threading.get_ident)
    ahead.begin("next", lambda: pytest.fail("it is being read already"))
    assert ahead.take("next", lambda: 0) not in (0, threading.get_ident())
    assert ahead.take("next", lambda: 7) == 7


def test_a_wrong_guess_is_forgotten() -> None:
    ahead: ReadAhead[str] = ReadAhead()
    ahead.begin("one", lambda: "first")
    assert ahead.take("other", lambda: "now") == "now"
    ahead.begin("two", lambda: "second")
    ahead.begin("three", lambda: "third")
    assert ahead.take("one", lambda: "again") == "again"
    assert ahead.take("two", lambda: "again") == "second"
    assert ahead.take("three", lambda: "again") == "third"


def test_what_a_read_raises_is_raised_where_it_is_taken() -> None:
    def fails() -> int:
        raise OSError("the disk is gone")

    ahead: ReadAhead[int] = ReadAhead()
    ahead.begin("next", fails)
    with pytest.raises(OSError, match="the disk is gone"):
        ahead.take("next", lambda: 1)
    assert ahead.take("next", lambda: 1) == 1
