"""The worker pool: every job is answered once, failures are answers, a dead worker is an error."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.context
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from cloakbench.bench.core.machine import MachineError
from cloakbench.bench.processes.pool import Busy, Failure, WorkerDiedError, answers


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


class OutOfMemory:
    """Fails on one job as a machine does."""

    def __call__(self, job: int) -> int:
        if job == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.\nMore words")
        return job


class NotImportable:
    """A factory that a worker cannot take up: the process ends before it has said a word."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return (os._exit, (7,))


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


def test_what_ended_a_worker_at_work_is_told() -> None:
    with pytest.raises(WorkerDiedError, match=r"ended with status 1 at work"):
        list(answers([99], Squares, 1))
    with pytest.raises(WorkerDiedError, match=r"ended by signal 9 at work \(most likely for lack of memory\)"):
        list(answers([98], Squares, 1))


def test_a_worker_that_dies_while_it_starts_is_not_called_lack_of_memory() -> None:
    with pytest.raises(WorkerDiedError, match=r"ended with status 7 while it started.*runtime\.workers=0") as caught:
        list(answers([1], NotImportable(), 1))  # type: ignore[arg-type]
    assert "memory" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_failure_of_the_machine_ends_it_all_with_one_line(workers: int) -> None:
    with pytest.raises(MachineError, match=r"CUDA out of memory\.?: free memory") as caught:
        list(answers(range(4), OutOfMemory, workers))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_factory_that_fails_fails_the_jobs(workers: int) -> None:
    [answer] = answers([1], broken_factory, workers)
    assert isinstance(answer.value, Failure)
    assert answer.value.reason == "RuntimeError: no handler today"


@pytest.mark.parametrize("workers", [0, 2])
def test_no_jobs_no_workers(workers: int) -> None:
    assert list(answers([], broken_factory, workers)) == []


class Warns:
    def __call__(self, job: int) -> int:
        logging.getLogger("cloakbench.methods.some").warning("job %d: %s", job, "odd")
        logging.getLogger("cloakbench.methods.some").info("not of interest")
        if job == 1:
            try:
                raise ValueError("inside")
            except ValueError:
                logging.getLogger("of.somebody.else").exception("job %d raised", job)
        return job


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_worker_logs_as_a_warning_reaches_the_log_of_the_run(
    workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert sorted(answer.value for answer in answers(range(3), Warns, workers)) == [0, 1, 2]
    warnings = [(record.name, record.getMessage()) for record in caplog.records if record.levelname == "WARNING"]
    assert sorted(warnings) == [("cloakbench.methods.some", f"job {job}: odd") for job in range(3)]
    [error] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert error.getMessage().startswith("job 1 raised")
    assert "ValueError: inside" in caplog.text


class Numbered:
    """Answers with its number and the jobs that it was told to expect."""

    def __init__(self, number: int) -> None:
        self.number, self.expected = number, []

    def __call__(self, job: int) -> tuple[int, list[int]]:
        return self.number, list(self.expected)

    def prepare(self, job: int) -> None:
        self.expected.append(job)


def test_each_worker_is_made_by_its_own_factory() -> None:
    """As the devices of a run need it: every worker gets a job before any gets a second one."""
    makers = [partial(Numbered, number) for number in range(2)]
    assert {answer.value[0] for answer in answers(range(2), makers, 2)} == {0, 1}
    assert {answer.value[0] for answer in answers(range(4), makers, 0)} == {0}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_handler_that_looks_ahead_is_told_what_comes_next(workers: int) -> None:
    found = [answer.value[1] for answer in answers(range(3), partial(Numbered, 0), workers, ahead=True)]
    assert found[1:] == ([[1, 2], [1, 2]] if workers == 0 else [[2], [2]])
    assert [answer.value[1] for answer in answers(range(3), partial(Numbered, 0), workers)] == [[], [], []]
