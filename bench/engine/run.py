"""Runs an experiment: work out what is missing, do it, measure, report."""

from __future__ import annotations

import csv
import functools
import io
import json
import logging
import sys
from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from cloakbench.bench.config.kept import as_yaml, kept_settings
from cloakbench.bench.core.escape import csv as csv_text
from cloakbench.bench.core.whole_file import whole_file
from cloakbench.bench.engine.collect import assemble, read_records
from cloakbench.bench.engine.environment import describe
from cloakbench.bench.engine.experiment import Experiment, prepare
from cloakbench.bench.engine.log_file import LogFileFormatter
from cloakbench.bench.engine.loggers import RunLogger
from cloakbench.bench.engine.pool import Failure, answers, available_cores
from cloakbench.bench.engine.progress import track
from cloakbench.bench.engine.run_status import (
    Inventory,
    count_jobs,
    due_jobs,
    job_name,
    measure_brief,
    missing_embeddings,
    take_stock,
)
from cloakbench.bench.engine.scoring import MeasureJob, Measurer, is_answered, measure_key
from cloakbench.bench.engine.worker import RoleJob, UnitReport, Workshop
from cloakbench.bench.protocols.poisoning import work as poisoning
from cloakbench.bench.protocols.poisoning.collect import Poisoned, assemble_poisoning
from cloakbench.bench.report.archive import is_current, is_finished, publish, save_results
from cloakbench.bench.report.results import Results
from cloakbench.bench.store.store import EntryGoneError, StoreError, explained

log = logging.getLogger(__name__)

_ROUNDS = 10
"""How often a run may find that something is gone from the store before it gives up. Damage shows layer by layer:
tables first, then the embeddings they are made from, then the photos that those are made from."""


@dataclass
class Outcome:
    """What a run leaves behind.

    Attributes:
        folder: run folder with report, tables and figures.
        results: what the report was made from.
        problems: one line per distinct failure; empty when every unit went through.
        reused: the report on disk was already current and was left alone.
    """

    folder: Path
    results: Results
    problems: list[str] = field(default_factory=list)
    reused: bool = False


def run(config: DictConfig) -> Outcome:
    """Run an experiment to its report. Whatever is in the store already is not computed again.

    Raises:
        ConfigError, ValueError: the experiment cannot start; one line saying what to change.
        StoreError: the store or the run folder cannot be read or written (disk full); finished work is kept.
        MachineError: device, memory or permissions failed; finished work is kept, and the failure is not.
        WorkerDiedError: a worker process vanished; finished work is kept.
    """
    torch.set_num_threads(1)  # thread count changes the order of float sums
    experiment = prepare(deepcopy(config))  # which settles choices in place
    folder, loggers = experiment.folder, experiment.loggers
    with ExitStack() as stack:
        try:
            with explained(folder, "paths.runs"):
                _describe_run(experiment)
                stack.enter_context(_logging_to(folder / "run.log"))
        except StoreError:
            if not is_finished(folder):  # what is finished can be shown from a folder that nobody may write to
                raise
        kept = kept_settings(experiment.config)
        for remark in experiment.remarks:
            log.warning("%s", remark)
        for logger in loggers:
            logger.start(folder, kept)
        if config.runtime.retry_failed:
            _forget_failures(experiment)
        outcome = _run(config, experiment, loggers)
    experiment.store.remove_leftovers()  # only now: workers of a run that was just killed die when they next can
    return outcome


def _run(config: DictConfig, experiment: Experiment, loggers: Sequence[RunLogger]) -> Outcome:
    """Work and report, again from the start when something turns out to be gone from the store or damaged."""
    for _ in range(_ROUNDS):
        try:
            return _attempt(experiment, loggers)
        except EntryGoneError as gone:
            log.info("%s: it is made again", str(gone))  # as text, see `Store`
            experiment = prepare(deepcopy(config))  # stores faces again where they are gone
    raise StoreError(
        f"entries of {experiment.store.root} keep vanishing or reading back wrong: check the disk, and that nothing "
        "deletes files there, then run the same command again"
    )


def _attempt(experiment: Experiment, loggers: Sequence[RunLogger]) -> Outcome:
    """Work and report.

    Raises:
        EntryGoneError: something that was stored is gone or was damaged; the report is not written.
    """
    config, folder = experiment.config, experiment.folder
    workers = available_cores() if config.runtime.workers == "auto" else int(config.runtime.workers)
    problems, unfinished = _work(experiment, workers, loggers)
    untrained: set[Hashable] = set()
    if experiment.poisoning is not None:
        more, untrained = poisoning.work(experiment.poisoning, experiment.store, workers)
        problems += more
    inventory = take_stock(experiment, unfinished)
    for details in inventory.details():
        log.debug("%s", details)
    problems += [*inventory.problems(), *experiment.rejected]
    measured = _measure(experiment, inventory, workers, unfinished)
    poisoned = _assemble_poisoning(experiment, untrained)
    results = assemble(experiment, inventory, measured, poisoned)
    problems += _target_problems(experiment, inventory, results)
    problems += poisoned.problems if poisoned else []

    reused = is_current(results, folder) and not config.runtime.force_report
    if not reused:
        save_results(results, read_records(experiment, measured, poisoned), folder)
        publish(results, folder)
    for logger in loggers:
        logger.finish(results.measurements)
    return Outcome(folder, results, list(dict.fromkeys(problems)), reused)


def _forget_failures(experiment: Experiment) -> None:
    for unit, _ in experiment.units:
        experiment.store.remove("failures", unit.key, ".json")
    if experiment.poisoning is not None:
        poisoning.forget_failures(experiment.poisoning, experiment.store)


def _work(experiment: Experiment, workers: int, loggers: Sequence[RunLogger]) -> tuple[list[str], set[Hashable]]:
    """Do every job whose result is not in the store.

    Returns:
        What went wrong, a line each, and the names of the jobs that ended in an error.

    Raises:
        EntryGoneError: something that was stored is gone or was damaged: look again at what is due.
    """
    jobs = due_jobs(experiment)
    if jobs:
        log.info("%s: %d of %d pieces of work to do", experiment.config.name, len(jobs), count_jobs(experiment))
    problems: list[str] = []
    unfinished: set[Hashable] = set()
    gone = None
    make_workshop = functools.partial(Workshop, experiment.brief)
    with track("protecting and embedding", len(jobs)) as tracker:
        for answer in answers(jobs, make_workshop, workers):
            report, job = answer.value, answer.job
            label = f"clean {job.role} by {job.model}" if isinstance(job, RoleJob) else job[0].cell.label
            if isinstance(report, Failure):
                if isinstance(report.fatal, EntryGoneError):
                    gone = report.fatal
                else:
                    log.debug("%s", report.details)
                    problems.append(f"{label}: {report.reason}")
                    unfinished.add(job_name(job))
                tracker.advance(0, label)
                continue
            tracker.advance(report.photos, label)
            if not isinstance(job, RoleJob):
                with explained(experiment.folder, "paths.runs"):
                    _log_unit(loggers, job[0], report)
    if gone is not None:
        raise gone
    if jobs and any(job_name(job) not in unfinished for job in due_jobs(experiment)):
        raise EntryGoneError(f"results that were just stored are gone from {experiment.store.root}")
    return problems, unfinished


def _assemble_poisoning(experiment: Experiment, unfinished: set[Hashable]) -> Poisoned | None:
    if experiment.poisoning is None:
        return None
    resamples = experiment.config.statistics.resamples
    return assemble_poisoning(experiment.poisoning, experiment.store, resamples, unfinished)


def _target_problems(experiment: Experiment, inventory: Inventory, results: Results) -> list[str]:
    """One line per target that did not answer for photos that their method had finished."""
    if not experiment.targets:
        return []
    rates = results.measurements
    rates = rates[rates["protocol"] == next(iter(experiment.config.protocols))]  # all count the same lost photos
    rates = rates[rates["metric"] == rates["metric"].min()]
    planned = {(cell.method, str(cell.epsilon_255), cell.surrogate): inventory.lost(cell) for cell in experiment.cells}
    lost: dict[str, int] = {}
    columns = (rates[name] for name in ("method", "epsilon_255", "surrogate", "target", "n_failed"))
    for method, epsilon_255, surrogate, target, failed in zip(*columns, strict=True):
        by_target = int(failed) - planned[method, str(float(epsilon_255)), surrogate]
        lost[target] = max(lost.get(target, 0), by_target)
    return [
        f"target {target} returned NaN for {count} photos of a cell: check its weights, mean and std"
        for target, count in lost.items()
        if count
    ]


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Everything that is logged, details of failures included, goes to a file too."""
    handler = _RunLog(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(LogFileFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    project = logging.getLogger("cloakbench")
    level = project.level
    project.addHandler(handler)
    project.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        project.removeHandler(handler)
        project.setLevel(level)
        handler.close()


class _RunLog(logging.FileHandler):
    """A log that a full disk cuts short without a word: what needs the disk more says so."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the name is logging's)
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


def _log_unit(loggers: Sequence[RunLogger], unit: Any, report: UnitReport) -> None:
    for logger in loggers:
        logger.unit(
            {
                "method": unit.cell.method,
                "epsilon_255": unit.cell.epsilon_255,
                "surrogate": unit.cell.surrogate,
                "chunk": unit.chunk.number,
                "seconds": round(report.seconds, 4),
                "photos": report.photos,
                "failed": report.failed,
            }
        )


def _measure(
    experiment: Experiment, inventory: Inventory, workers: int, unfinished: set[Hashable]
) -> dict[MeasureJob, str]:
    """Judge everything that is stored; returns the keys of the answers.

    Raises:
        EntryGoneError: something that was stored is gone or was damaged.
    """
    if not experiment.targets:
        return {}
    brief = measure_brief(experiment, inventory)
    keys: dict[MeasureJob, str] = {}
    missing: set[str] = set()
    for label in experiment.brief.transforms:
        for target in experiment.targets:
            absent = missing_embeddings(experiment, inventory, brief.clean_pixels, target, label)
            key = measure_key(brief, target, label, absent)
            keys[MeasureJob(target, label, key)] = key
            missing.update(absent)
    if missing and any(job_name(job) not in unfinished for job in due_jobs(experiment)):
        raise EntryGoneError(f"embeddings that were just stored are gone from {experiment.store.root}")
    brief = replace(brief, missing=frozenset(missing))
    due = [job for job in keys if not is_answered(experiment.store, job.key)]
    gone = None
    with track("measuring", len(due)) as tracker:
        for answer in answers(due, functools.partial(Measurer, brief), workers):
            if isinstance(answer.value, Failure):
                if isinstance(answer.value.fatal, EntryGoneError):
                    gone = answer.value.fatal
                else:
                    log.debug("%s", answer.value.details)
                    raise RuntimeError(f"measuring {answer.job.target}: {answer.value.reason}")
            tracker.advance(0, answer.job.target)
    if gone is not None:
        raise gone
    return keys


def _describe_run(experiment: Experiment) -> None:
    """Config, environment and manifest, readable beside the results."""
    folder = experiment.folder
    manifest = io.StringIO()
    writer = csv.writer(manifest, lineterminator="\n")
    writer.writerow(["image_id", "identity", "role", "sha256", "status", "note"])
    writer.writerows(map(csv_text, astuple(entry)) for entry in experiment.manifest.entries)
    texts = {
        "config.yaml": as_yaml(kept_settings(experiment.config)),
        "environment.json": json.dumps(describe(experiment.brief.device), indent=1) + "\n",
        "manifest.csv": manifest.getvalue(),
    }
    for name, content in texts.items():
        with whole_file(folder / name) as file:
            file.write(content.encode("utf-8", "backslashreplace"))
