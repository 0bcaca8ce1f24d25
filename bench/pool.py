"""A pool of single-thread worker processes, one per core.

Two processes with one thread each were 13 to 21 % faster than one process with two threads on small networks, and
threads collapse when the machine is shared; a single thread also fixes the order of float sums.

A worker builds its handler once, from a factory, and then answers one job at a time. It exits when its parent dies,
so a killed run leaves nothing behind.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

import torch

from cloakbench.bench.reasons import reason_of

_SECONDS_TO_EXIT = 5.0
"""How long a worker that has closed its end may take to leave its status behind."""
Job = TypeVar("Job")
Handler = Callable[[Any], Any]


class WorkerDiedError(RuntimeError):
    """A worker process ended without an answer; the message says how."""


@dataclass(frozen=True)
class Failure:
    """A job that raised; ``fatal`` problems (a full disk) end the run, others are recorded."""

    reason: str
    details: str
    error: Exception | None = None


class Busy:
    """Answer of a handler that found another process at work on its job: ask again later."""


@dataclass(frozen=True)
class Answer(Generic[Job]):
    """A job and what its handler returned, or the failure."""

    job: Job
    value: Any


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def answers(jobs: Iterable[Job], make_handler: Callable[[], Handler], workers: int) -> Iterator[Answer[Job]]:
    """Answers in the order they finish. ``workers=0`` works inside this process, for debugging and for a GPU.

    Args:
        jobs: picklable; handed out in order.
        make_handler: picklable factory, called once per worker.
        workers: number of processes.

    Raises:
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
                yield Answer(job, value)
        return
    yield from _parallel(queue, make_handler, min(workers, len(queue)))


def _parallel(queue: deque[Job], make_handler: Callable[[], Handler], workers: int) -> Iterator[Answer[Job]]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cloakbench.bench.workshop"])
    processes: dict[Connection, Any] = {}
    busy: dict[Connection, Job] = {}
    try:
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, make_handler), daemon=True)
            with _known_start_method(context.get_start_method()):
                process.start()
            theirs.close()
            processes[ours] = process
            _hand_out(ours, queue, busy)
        while busy:
            for connection in wait(list(busy)):
                job = busy.pop(connection)  # type: ignore[arg-type]
                try:
                    value = connection.recv()  # type: ignore[union-attr]
                except (EOFError, ConnectionResetError) as gone:
                    raise WorkerDiedError(_why_it_died(processes[connection])) from gone  # type: ignore[index]
                if isinstance(value, Busy):
                    queue.append(job)
                _hand_out(connection, queue, busy)  # type: ignore[arg-type]
                if not isinstance(value, Busy):
                    yield Answer(job, value)
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


def _why_it_died(process: Any) -> str:
    """What an exit status says: the kernel kills for lack of memory, everything else has printed why."""
    process.join(_SECONDS_TO_EXIT)
    remedy = "use fewer workers (runtime.workers=1) or smaller chunks (plan.chunk_identities=5) and run again"
    if process.exitcode == -signal.SIGKILL:
        return f"a worker process was killed, most likely for lack of memory: {remedy}"
    ended = f"signal {-process.exitcode}" if (process.exitcode or 0) < 0 else f"status {process.exitcode}"
    return (
        f"a worker process ended with {ended}; what it printed says why. If it lacked memory, {remedy}; "
        "runtime.workers=0 works without such processes"
    )


def _hand_out(connection: Connection, queue: deque[Job], busy: dict[Connection, Job]) -> None:
    if queue:
        job = queue.popleft()
        connection.send(job)
        busy[connection] = job


def _serve(connection: Connection, make_handler: Callable[[], Handler]) -> None:
    """Body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    handler: Handler | None = None
    while True:
        try:
            job = connection.recv()
        except (EOFError, OSError):
            return
        handler, value = _attempt(handler, make_handler, job)
        connection.send(value)


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
        details = traceback.format_exc()
        return handler, Failure(reason_of(error), details, error if isinstance(error, OSError) else None)
