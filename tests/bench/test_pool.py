"""The worker pool: every job is answered once, failures are answers, a dead worker is an error."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from cloakbench.bench.pool import Busy, Failure, WorkerDiedError, answers


class Squares:
    def __call__(self, job: int) -> int:
        if job == 3:
            raise ValueError("three is not allowed\nsecond line")
        if job == 99:
            os._exit(1)
        if job == 98:
            os.kill(os.getpid(), signal.SIGKILL)
        return job * job


class Threads:
    def __call__(self, job: int) -> int:
        return torch.get_num_threads()


class BusyTwice:
    """Says busy to each job until a file says it was asked twice before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, job: int) -> int | Busy:
        asked = len(list(self.folder.glob(f"{job}-*")))
        (self.folder / f"{job}-{asked}").touch()
        return Busy() if asked < 2 else job


class MakeBusy:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> BusyTwice:
        return BusyTwice(self.folder)


def broken_factory() -> Squares:
    raise RuntimeError("no handler today")


@pytest.mark.parametrize("workers", [0, 2])
def test_every_job_is_answered_and_a_failure_is_an_answer(workers: int) -> None:
    found = {answer.job: answer.value for answer in answers(range(6), Squares, workers)}
    assert found.keys() == set(range(6))
    failure = found.pop(3)
    assert isinstance(failure, Failure)
    assert failure.reason == "ValueError: three is not allowed"
    assert "Traceback" in failure.details
    assert found == {job: job * job for job in (0, 1, 2, 4, 5)}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_busy_job_is_asked_again(workers: int, tmp_path: Path) -> None:
    found = sorted(answer.value for answer in answers(range(4), MakeBusy(tmp_path), workers))
    assert found == [0, 1, 2, 3]
    assert len(list(tmp_path.iterdir())) == 12


def test_workers_use_one_thread() -> None:
    assert [answer.value for answer in answers([1], Threads, 1)] == [1]


@pytest.mark.parametrize(("job", "told"), [(99, r"ended with status 1;.*runtime\.workers=1"), (98, "lack of memory")])
def test_a_dead_worker_is_an_error_that_says_how_and_what_to_do(job: int, told: str) -> None:
    with pytest.raises(WorkerDiedError, match=told) as error:
        list(answers([job], Squares, 1))
    assert ("most likely" in str(error.value)) == (job == 98)


def test_workers_start_in_a_process_whose_default_start_method_nobody_else_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As joblib's processes have it."""

    class Loky(multiprocessing.context.SpawnContext):
        _name = "known-here-only"

    contexts: dict[str, Any] = multiprocessing.context._concrete_contexts  # type: ignore[attr-defined]
    monkeypatch.setitem(contexts, "known-here-only", Loky())
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("known-here-only", force=True)
    try:
        assert [answer.value for answer in answers([2], Squares, 1)] == [4]
        assert multiprocessing.get_start_method() == "known-here-only"
    finally:
        multiprocessing.set_start_method(before, force=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_factory_that_fails_fails_the_jobs(workers: int) -> None:
    [answer] = answers([1], broken_factory, workers)
    assert isinstance(answer.value, Failure)
    assert answer.value.reason == "RuntimeError: no handler today"


@pytest.mark.parametrize("workers", [0, 2])
def test_no_jobs_no_workers(workers: int) -> None:
    assert list(answers([], broken_factory, workers)) == []
