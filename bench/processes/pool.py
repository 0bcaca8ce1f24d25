"""A pool of single-thread worker processes, one per core.

Two processes with one thread each were 13 to 21 % faster than one process with two threads on small networks, and
threads collapse when the machine is shared; a single thread also fixes the order of float sums.

A worker builds its handler once, from a factory, and then answers one job at a time. What it logs as a warning, or as
something worse, travels with the answer and is logged by the parent, so that it reaches the run's log. It exits when
its parent dies, so a killed run leaves nothing behind.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from types import ModuleType
from typing import Any, Generic, TypeVar

import torch

from cloakbench.bench.core.errors import reason_of
from cloakbench.bench.core.machine import MachineError, machine_trouble
from cloakbench.bench.store.errors import EntryGoneError, StoreError

_BUSY_SECONDS = 0.1
"""Pause before a job that another process works on is tried again."""
_LAST_WORDS_SECONDS = 5
"""How long the end of a process whose pipe closed is waited for."""
_KILL = 9
"""The signal by which the kernel takes back memory."""
_IN_HERE = "its own words, if any, stand above; runtime.workers=0 works without worker processes"

Job = TypeVar("Job")
Handler = Callable[[Any], Any]


class WorkerDiedError(MachineError):
    """A worker process ended without an answer; the message says how it ended, which tells what to do."""


@dataclass(frozen=True)
class Failure:
    """A job that raised. Where the machine failed (a full disk), ``fatal`` ends the run or, where an entry is gone, the
    round; others are recorded."""

    reason: str
    details: str
    fatal: StoreError | MachineError | None = None


class _Ready:
    """First word of a worker process: it has started."""


class Busy:
    """Answer of a handler that found another process at work on its job: ask again later."""

    @classmethod
    def after_a_pause(cls) -> Busy:
        """The answer, once a moment has passed, so that nobody asks without end."""
        time.sleep(_BUSY_SECONDS)
        return cls()


@dataclass(frozen=True)
class Finished(Generic[Job]):
    """A job and what its handler returned, or the failure."""

    job: Job
    value: Any


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_of(setting: int | str) -> int:
    """How many worker processes a setting asks for: one per core for ``auto``."""
    return available_cores() if setting == "auto" else int(setting)


def answers(jobs: Iterable[Job], make_handler: Callable[[], Handler], workers: int) -> Iterator[Finished[Job]]:
    """Answers in the order they finish. ``workers=0`` works inside this process, for debugging and for a GPU.

    Args:
        jobs: picklable; handed out in order.
        make_handler: picklable factory, called once per worker.
        workers: number of processes.

    Raises:
        StoreError, MachineError: the machine failed under a job; everything that was stored is kept.
        WorkerDiedError: a worker process vanished; everything it had stored is kept.
    """
    queue = deque(jobs)
    if workers == 0 or not queue:
        handler = None
        while queue:
            job = queue.popleft()
            handler, value = _attempt(handler, make_handler, job)
            if isinstance(value, Busy):
                queue.append(job)
            else:
                yield _answer(job, value)
        return
    yield from _parallel(queue, make_handler, min(workers, len(queue)))


def _parallel(queue: deque[Job], make_handler: Callable[[], Handler], workers: int) -> Iterator[Finished[Job]]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cloakbench.bench.engine.worker"])
    processes: dict[Connection, Any] = {}
    starting: set[Connection] = set()
    busy: dict[Connection, Job] = {}
    try:
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, make_handler), daemon=True)
            _start(process)
            theirs.close()
            processes[ours] = process
            starting.add(ours)
            busy[ours] = queue.popleft()
        while busy:
            for ready in wait(list(busy)):
                connection: Connection = ready  # type: ignore[assignment]
                try:
                    value = connection.recv()
                    if isinstance(value, _Ready):
                        starting.discard(connection)
                        connection.send(busy[connection])
                        continue
                    value, logged = value
                except (EOFError, ConnectionError) as gone:
                    raise _died(processes[connection], connection in starting) from gone
                for record in logged:
                    logging.getLogger(record.name).handle(record)
                job = busy.pop(connection)
                if isinstance(value, Busy):
                    queue.append(job)
                _hand_out(connection, processes[connection], queue, busy)
                if not isinstance(value, Busy):
                    yield _answer(job, value)
    finally:
        for connection, process in processes.items():
            with suppress(OSError):
                connection.close()
            process.terminate()
        for process in processes.values():
            process.join()


@contextmanager
def _known_start_method(name: str) -> Iterator[None]:
    """While a process starts. It is told the default start method of its parent, and inside a process of joblib's that
    is one that only joblib knows."""
    before = multiprocessing.get_start_method(allow_none=True)
    if before is None or before in multiprocessing.get_all_start_methods():
        yield
        return
    multiprocessing.set_start_method(name, force=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method(before, force=True)


def _hand_out(connection: Connection, process: Any, queue: deque[Job], busy: dict[Connection, Job]) -> None:
    if not queue:
        return
    busy[connection] = queue.popleft()
    try:
        connection.send(busy[connection])
    except ConnectionError as gone:
        raise _died(process, starting=False) from gone


@contextmanager
def _without_main() -> Iterator[None]:
    """While a process starts. It would run the caller's script again to have its ``__main__``, from which no job takes
    anything; a script that calls us without a guard would then start processes in every process."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _start(process: Any) -> None:
    try:
        with _known_start_method("forkserver"), _without_main():
            process.start()
    except (OSError, EOFError) as problem:
        trouble = machine_trouble(problem) or reason_of(problem)
        raise WorkerDiedError(f"a worker process cannot be started: {trouble}; {_IN_HERE}") from problem


def _died(process: Any, starting: bool) -> WorkerDiedError:
    """What the end of a worker process tells: how it ended, and whether it had begun to work."""
    process.join(_LAST_WORDS_SECONDS)
    status = process.exitcode
    how = (
        "vanished"
        if status is None
        else f"was ended by signal {-status}"
        if status < 0
        else f"ended with status {status}"
    )
    if starting:
        return WorkerDiedError(f"a worker process {how} while it started, before any work: {_IN_HERE}")
    why = "most likely for lack of memory" if status in (None, -_KILL) else "a crash in a library, or lack of memory"
    return WorkerDiedError(
        f"a worker process {how} at work ({why}): use fewer workers (runtime.workers=1) or smaller chunks "
        "(plan.chunk_identities=5) and run again; finished work is kept"
    )


def _answer(job: Job, value: Any) -> Finished[Job]:
    """An answer, unless the machine failed. An entry that is gone does not end the rest of the round."""
    if isinstance(value, Failure) and value.fatal is not None and not isinstance(value.fatal, EntryGoneError):
        raise value.fatal
    return Finished(job, value)


def _serve(connection: Connection, make_handler: Callable[[], Handler]) -> None:
    """Body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    kept = _Kept()
    logging.getLogger().addHandler(kept.handler)
    handler: Handler | None = None
    connection.send(_Ready())
    while True:
        try:
            job = connection.recv()
        except (EOFError, OSError):
            return
        handler, value = _attempt(handler, make_handler, job)
        connection.send((value, kept.taken()))


class _Kept:
    """Keeps the warnings that are logged until they are taken, in a form that can be sent: tracebacks are text."""

    def __init__(self) -> None:
        self._records: SimpleQueue[logging.LogRecord] = SimpleQueue()
        self.handler = QueueHandler(self._records)
        self.handler.setLevel(logging.WARNING)

    def taken(self) -> list[logging.LogRecord]:
        """What was logged since the last call."""
        return [self._records.get() for _ in range(self._records.qsize())]


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _attempt(handler: Handler | None, make_handler: Callable[[], Handler], job: Any) -> tuple[Handler | None, Any]:
    """The handler, made on first use, and its answer or the failure."""
    try:
        handler = handler or make_handler()
        return handler, handler(job)
    except Exception as error:
        return handler, Failure(reason_of(error), traceback.format_exc(), _fatal(error))


def _fatal(error: Exception) -> StoreError | MachineError | None:
    """What ends the run: the store's own error, or another failure of the machine, in a form that can be pickled."""
    if isinstance(error, StoreError):
        return error
    trouble = machine_trouble(error)
    return MachineError(trouble) if trouble else None
