"""The work loop: hands jobs to worker processes, notes what failed, shows progress; the same for every kind of job."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from cloakbench.bench.engine.jobs import Job, ProtectJob, Report, do
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.passes import passes_of
from cloakbench.bench.plan.plan import Cell
from cloakbench.bench.processes.pool import Failure, answers
from cloakbench.bench.processes.progress import track
from cloakbench.bench.processes.time_left import TimeLeft
from cloakbench.bench.store.errors import EntryGoneError

log = logging.getLogger(__name__)


@dataclass
class Worked:
    """What came of some jobs.

    Attributes:
        problems: a line for each job that ended in an error.
        unfinished: names of those jobs.
    """

    problems: list[str] = field(default_factory=list)
    unfinished: set[Hashable] = field(default_factory=set)


def work(
    title: str,
    jobs: Sequence[Job],
    spec: WorkerSpec,
    workers: int,
    on_report: Callable[[Job, Report], None] = lambda job, report: None,
) -> Worked:
    """Do jobs on ``workers`` processes, or in this one for none.

    Args:
        title: what progress calls the work.
        jobs: handed out in order; one that another process is busy with is asked for again.
        spec: what the workers must know.
        workers: how many processes.
        on_report: told of every job that went through.

    Raises:
        EntryGoneError: something that was stored is gone or was damaged: look again at what is due.
        StoreError, MachineError: the machine failed; everything that was stored is kept.
    """
    found = Worked()
    gone = None
    left = _time_left(jobs, workers)
    with track(title, len(jobs), left) as tracker:
        makers = [partial(_Handler, spec, number) for number in range(max(1, workers))]
        on_cpu = all(torch.device(name).type == "cpu" for name in spec.devices)
        for answer in answers(jobs, makers, workers, ahead=not on_cpu):
            report, job = answer.value, answer.job
            if isinstance(report, Failure):
                if isinstance(report.fatal, EntryGoneError):
                    gone = report.fatal
                else:
                    log.debug("%s", report.details)
                    found.problems.append(f"{job.label}: {report.reason}")
                    found.unfinished.add(job.name)
                left.done(job.kind, job.photos_due, None)
                tracker.advance(job.label)
                continue
            left.done(job.kind, job.photos_due, report.elapsed_seconds)
            tracker.advance(job.label)
            on_report(job, report)
    if gone is not None:
        raise gone
    return found


def _time_left(jobs: Sequence[Job], workers: int) -> TimeLeft:
    """Of jobs by their kinds; what is protected by its network passes until it has a pace of its own."""
    amounts: dict[Hashable, float] = {}
    cells: dict[Hashable, Cell] = {}
    for job in jobs:
        amounts[job.kind] = amounts.get(job.kind, 0.0) + job.photos_due
        if isinstance(job, ProtectJob):
            cells.setdefault(job.kind, job.planned.unit.cell)
    return TimeLeft(amounts, workers, lambda kind: passes_of(cells[kind]) if kind in cells else None)


class _Handler:
    """What a worker process answers jobs with."""

    def __init__(self, spec: WorkerSpec, number: int) -> None:
        self.worker = Worker(spec, number)

    def __call__(self, job: Job) -> object:
        return do(self.worker, job)

    def prepare(self, job: Job) -> None:
        """Begin to read what the next job needs."""
        job.prepare(self.worker)
