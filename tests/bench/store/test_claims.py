"""Claims on work: one process at a time, with locks of the file system or without."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cloakbench.bench.store.claims import BY_FILE
from cloakbench.bench.store.errors import StoreError
from cloakbench.bench.store.store import Store

HOLD = """
import sys
from pathlib import Path
from cloakbench.bench.store.store import Store

with Store(Path(sys.argv[1])).claim("abc") as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


def claimed(store: Store, key: str) -> bool:
    with store.claim(key) as mine:
        return mine


@pytest.mark.parametrize("by_file", [False, True], ids=["by lock", "by file"])
def test_a_claim_is_exclusive_and_dies_with_its_holder(tmp_path: Path, by_file: bool) -> None:
    store = Store(tmp_path)
    (tmp_path / "locks").mkdir()
    if by_file:
        (tmp_path / "locks" / BY_FILE).touch()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "True\n"
    assert not claimed(store, "abc") and not claimed(store, "abc")
    assert claimed(store, "xyz")
    holder.kill()
    holder.communicate()
    assert claimed(store, "abc")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_store_that_cannot_lock_is_said_once_and_claimed_by_files(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def refused(file: Any, operation: int) -> None:
        asked.append(file)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    first, second = Store(tmp_path), Store(tmp_path)
    with first.claim("abc1") as mine:
        assert mine
        assert not claimed(second, "abc1")
        assert claimed(second, "abc2"), "another piece of work, whatever digits it shares"
    assert claimed(second, "abc1")
    [said] = caplog.messages
    assert said.startswith(f"{tmp_path} cannot lock files: ") and "\n" not in said
    assert len(asked) == 1
    first.write_json("failures", "ab", 1)
    assert second.read_json("failures", "ab") == 1


def test_who_can_lock_claims_by_files_too_where_somebody_else_cannot(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert claimed(store, "abc")
    (tmp_path / "locks" / BY_FILE).touch()
    with store.claim("abc") as mine:
        assert mine
        assert (tmp_path / "locks" / "abc.held").exists()


def test_a_store_that_nobody_may_write_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("")
    with pytest.raises(StoreError, match=r"cannot write to .*paths\.store=FOLDER") as caught:
        claimed(Store(tmp_path), "abc")
    assert "\n" not in str(caught.value)


def test_what_fails_at_work_is_no_failure_of_the_store(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), Store(tmp_path).claim("abc"):
        raise FileNotFoundError("of the work")
