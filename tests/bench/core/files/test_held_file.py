"""Locks made of files, for file systems that have no others."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.files import held_file
from cloakbench.bench.core.files.file_lock import NoLocksError, exclusive, try_lock
from cloakbench.bench.core.files.held_file import STALE_SECONDS, HeldFile
from cloakbench.bench.protect.state import open_copies


@pytest.fixture(params=[errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=["no server", "no such thing", "no call"])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(file: Any, operation: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refused)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def held_by(path: Path, host: str, process: int) -> bytes:
    path.write_bytes(json.dumps([host, process, "0" * 16]).encode())
    return path.read_bytes()


def test_one_holds_it_and_the_next_gets_it(tmp_path: Path) -> None:
    path = tmp_path / "x.held"
    with HeldFile(path).held() as first:
        assert first
        for _ in range(2):
            with HeldFile(path).held() as second:
                assert not second
        assert path.exists(), "whoever asks in vain leaves it alone"
    assert not path.exists()
    with HeldFile(path).held() as third:
        assert third


def test_what_a_process_of_this_host_held_when_it_died_is_free_at_once(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    held_by(tmp_path / "x", socket.gethostname(), process.pid)
    with HeldFile(tmp_path / "x").held() as mine:
        assert mine
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b'["another"'], ids=["cut off at once", "cut off"])
def test_a_file_that_nobody_touches_is_free_after_its_time(tmp_path: Path, content: bytes) -> None:
    path, clock = tmp_path / "x", Clock()
    path.write_bytes(content) if content == b"" else held_by(path, "another-host", 1)
    os.utime(path, (1, 1))  # its host's clock tells nothing
    lock = HeldFile(path, clock)
    for seconds, expected in ((0, False), (STALE_SECONDS - 1, False), (STALE_SECONDS + 1, True)):
        clock.now = seconds
        with lock.held() as mine:
            assert mine == expected
    assert not path.exists()


def test_a_file_that_is_touched_is_never_free(tmp_path: Path) -> None:
    path, clock = tmp_path / "x", Clock()
    held_by(path, "another-host", 1)
    lock = HeldFile(path, clock)
    for beat in range(10):
        clock.now = 0.9 * STALE_SECONDS * beat
        os.utime(path, (beat, beat))
        with lock.held() as mine:
            assert not mine


def test_the_holder_touches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touched = threading.Event()
    monkeypatch.setattr(held_file, "TOUCH_SECONDS", 0.01)
    monkeypatch.setattr(os, "utime", lambda path: touched.set())
    with HeldFile(tmp_path / "x").held():
        assert touched.wait(10)


def test_of_two_who_find_it_stale_one_gets_it(tmp_path: Path) -> None:
    """The second judged the old file, and finds the first's fresh one in its place."""
    path, clock = tmp_path / "x", Clock()
    held_by(path, "another-host", 1)
    first, second = HeldFile(path, clock), HeldFile(path, clock)
    for lock in (first, second):
        with lock.held() as mine:
            assert not mine
    clock.now = STALE_SECONDS + 1
    assert second._is_stale()
    with first.held() as mine:
        assert mine
        kept = path.read_bytes()
        assert not second._put_aside()
        assert path.read_bytes() == kept
    assert list(tmp_path.iterdir()) == []


def test_a_holder_who_was_taken_for_dead_leaves_the_next_ones_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with HeldFile(path).held():
        other = held_by(path, "another-host", 1)
    assert path.read_bytes() == other


def test_where_nothing_can_be_locked_it_is_said_by_its_type(tmp_path: Path, no_locks: None) -> None:
    with (tmp_path / "x").open("wb") as file, pytest.raises(NoLocksError):
        try_lock(file)


def test_one_at_a_time_where_nothing_can_be_locked(
    tmp_path: Path, no_locks: None, caplog: pytest.LogCaptureFixture
) -> None:
    order: list[str] = []
    inside = threading.Event()

    def wait() -> None:
        inside.wait(10)
        with exclusive(tmp_path / "x.lock", "drawing"):
            order.append("second")

    waiter = threading.Thread(target=wait)
    waiter.start()
    with caplog.at_level(logging.INFO), exclusive(tmp_path / "x.lock", "drawing"):
        inside.set()
        waiter.join(0.5)
        order.append("first")
    waiter.join(10)
    assert order == ["first", "second"]
    assert caplog.messages == ["another process is drawing: waiting for it"]
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_has_one_writer_where_nothing_can_be_locked(tmp_path: Path, no_locks: None) -> None:
    refused = pytest.raises(ConfigError, match="another process writes to")
    with open_copies(tmp_path / "out"), refused, open_copies(tmp_path / "out"):
        pass
    with open_copies(tmp_path / "out"):
        pass
