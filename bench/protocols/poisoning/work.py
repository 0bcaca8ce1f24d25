"""What the poisoning track still has to do, found by looking into the store, and doing it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Hashable

from cloakbench.bench.engine.pool import Failure, answers
from cloakbench.bench.engine.progress import track
from cloakbench.bench.engine.worker import UnitReport, quality_key
from cloakbench.bench.protocols.poisoning.brief import AttackJob, CellUnits, Poisoning, attack_key
from cloakbench.bench.protocols.poisoning.worker import Job, PoisoningWorkshop, Published, is_answered, published
from cloakbench.bench.store.store import EntryGoneError, Store
from cloakbench.datasets.base import OK

log = logging.getLogger(__name__)


def work(plan: Poisoning, store: Store, workers: int) -> tuple[list[str], set[Hashable]]:
    """Do every protection and training whose result is not in the store.

    Returns:
        What went wrong, a line each, and the names of the jobs that ended in an error (`job_name`).

    Raises:
        EntryGoneError: something that was stored is gone or was damaged: look again at what is due.
    """
    jobs = due_jobs(plan, store)
    if jobs:
        log.info("poisoning: %d of %d pieces of work to do", len(jobs), count_jobs(plan))
    problems: list[str] = []
    unfinished: set[Hashable] = set()
    gone = None
    with track("protecting and training", len(jobs)) as tracker:
        for answer in answers(jobs, functools.partial(PoisoningWorkshop, plan.brief), workers):
            report, label = answer.value, _label(plan, answer.job)
            if isinstance(report, Failure):
                if isinstance(report.fatal, EntryGoneError):
                    gone = report.fatal
                else:
                    log.debug("%s", report.details)
                    problems.append(f"{label}: {report.reason}")
                    unfinished.add(job_name(answer.job))
            tracker.advance(report.photos if isinstance(report, UnitReport) else 0, label)
    if gone is not None:
        raise gone
    return problems, unfinished


def job_name(job: Job) -> Hashable:
    """What tells a job from all others."""
    return job if isinstance(job, AttackJob) else job[0].key


def due_jobs(plan: Poisoning, store: Store) -> list[Job]:
    """Protections and trainings that are missing from the store or damaged. Recorded failures are not due."""
    states = [published(store, cell) for cell in plan.brief.cells]
    due: list[Job] = []
    for cell, state in zip(plan.brief.cells, states, strict=True):
        if state.status == OK:
            keys = quality_keys(plan, cell, state)
            due += [
                unit
                for unit, key in zip(cell.units, keys, strict=True)
                if not store.is_whole("quality", key, ".parquet")
            ]
        elif not state.status:
            due += cell.units
    for job in plan.jobs():
        state = states[job.cell]
        if not state.status:
            due.append(job)
        elif state.status == OK:
            key, _ = attack_key(plan.brief, job, state.pixels)
            if not is_answered(store, key):
                due.append(job)
    return due


def count_jobs(plan: Poisoning) -> int:
    """All jobs of the track, done or not."""
    return sum(len(cell.units) for cell in plan.brief.cells) + sum(1 for _ in plan.jobs())


def forget_failures(plan: Poisoning, store: Store) -> None:
    """Make what failed due again."""
    for cell in plan.brief.cells:
        for unit, _ in cell.units:
            store.remove("failures", unit.key, ".json")
    for job in plan.jobs():
        state = published(store, plan.brief.cells[job.cell])
        if state.status == OK:
            store.remove("failures", attack_key(plan.brief, job, state.pixels)[0], ".json")


def _label(plan: Poisoning, job: Job) -> str:
    """What progress and logs call a job."""
    if not isinstance(job, AttackJob):
        return f"{job[0].cell.label} (poisoning)"
    scenario = job.scenario
    return f"{scenario.attacker}, {scenario.label}, seed {job.seed}: {plan.cells[job.cell].label}"


def quality_keys(plan: Poisoning, cell: CellUnits, state: Published) -> list[str]:
    """Keys of the stored image metrics of a cell that went through, chunk by chunk."""
    return [
        quality_key(plan.brief.work, original, pixels, [OK] * len(unit.chunk.probes))
        for original, pixels, (unit, _) in zip(cell.originals, state.pixels, cell.units, strict=True)
    ]
