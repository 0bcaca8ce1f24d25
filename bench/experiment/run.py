"""Runs an experiment: work out what is missing, do it, measure, report."""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import astuple, dataclass, field
from pathlib import Path

import torch
from omegaconf import DictConfig

from cloakbench.bench.config.kept import as_yaml, kept_settings
from cloakbench.bench.core.escape import csv as csv_text
from cloakbench.bench.core.files.file_lock import exclusive
from cloakbench.bench.core.files.whole_file import whole_file
from cloakbench.bench.engine.device.devices import processes_of
from cloakbench.bench.engine.jobs import Job, ProtectJob, Report
from cloakbench.bench.engine.loop import work
from cloakbench.bench.experiment.added_scores import AddedScoreJob, added_score_jobs
from cloakbench.bench.experiment.collect import collect
from cloakbench.bench.experiment.environment import describe
from cloakbench.bench.experiment.experiment import Experiment
from cloakbench.bench.experiment.logging.log_file import LogFileFormatter
from cloakbench.bench.experiment.logging.loggers import RunLogger
from cloakbench.bench.experiment.outside import ask_outside, check_outside
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run_status import RunStatus, count_jobs, due_jobs, forget_failures, look_again, look_up
from cloakbench.bench.experiment.scoring import ScoreJob, score_jobs
from cloakbench.bench.plan.plan import Unit
from cloakbench.bench.processes.malloc import hand_back_freed_memory
from cloakbench.bench.report.archive import is_current, is_finished, publish, save_results
from cloakbench.bench.report.results import Results
from cloakbench.bench.store.errors import EntryGoneError, StoreError, explained

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
    hand_back_freed_memory()  # of drawing faces; this process only waits for others from here to the report
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
            forget_failures(experiment)
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
    """Work, score and report.

    Raises:
        EntryGoneError: something that was stored is gone or was damaged; the report is not written.
    """
    config, folder = experiment.config, experiment.folder
    workers = processes_of(config)
    status, problems = _work(experiment, workers, loggers)
    for details in status.details():
        log.debug("%s", details)
    problems += [*status.problems(), *experiment.rejected]
    jobs = list(score_jobs(experiment, status))
    _measure(experiment, jobs, workers)
    added = list(added_score_jobs(experiment, jobs))
    _measure(experiment, added, workers)
    results, more = collect(experiment, status, jobs, added)
    problems += more

    figures, style, force = config.report.figures, config.report.style, config.runtime.force_report
    reused = is_current(results, folder, figures=figures, style=style) and not force
    if not reused:
        reused = not _publish(results, folder, figures=figures, style=style, force=force)
    for logger in loggers:
        logger.finish(results.measurements)
    return Outcome(folder, results, list(dict.fromkeys(problems)), reused)


def _publish(results: Results, folder: Path, *, figures: bool, style: str, force: bool) -> bool:
    """Write the report, unless another process that ran the same experiment has just done so."""
    with ExitStack() as stack:
        with explained(folder, "paths.runs"):
            stack.enter_context(exclusive(folder / ".report.lock", "writing the same report"))
        if is_current(results, folder, figures=figures, style=style) and not force:
            return False
        save_results(results, folder)
        publish(results, folder, figures=figures, style=style)
    return True


def _measure(experiment: Experiment, jobs: Sequence[ScoreJob | AddedScoreJob], workers: int) -> None:
    due = [job for job in jobs if not job.is_done(experiment.store)]
    if due and (problems := work("measuring", due, experiment.spec, workers).problems):
        raise RuntimeError(f"measuring {problems[0]}")


def _work(experiment: Experiment, workers: int, loggers: Sequence[RunLogger]) -> tuple[RunStatus, list[str]]:
    """Do every job whose result is not in the store.

    Returns:
        What became of every unit, and what went wrong, a line each.

    Raises:
        EntryGoneError: something that was stored is gone or was damaged: look again at what is due.
    """
    status = look_up(experiment)
    check_outside(status)
    jobs = due_jobs(status)
    if jobs:
        log.info("%s: %d of %d pieces of work to do", experiment.config.name, len(jobs), count_jobs(experiment))

    def on_report(job: Job, report: Report) -> None:
        if isinstance(job, ProtectJob) and not job.lane:
            with explained(experiment.folder, "paths.runs"):
                _log_unit(loggers, job.planned.unit, report)

    worked = work("protecting and asking", jobs, experiment.spec, workers, on_report)
    status = look_again(status, jobs, worked.unfinished)
    return status, [*worked.problems, *ask_outside(status)]


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Everything that is logged, details of failures included, goes to a file too, and elsewhere what did before."""
    handler = _RunLog(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(LogFileFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    project = logging.getLogger("cloakbench")
    level, propagates = project.level, project.propagate
    upwards = _Upwards(project.getEffectiveLevel())
    more = [handler, upwards] if propagates else [handler]
    for one in more:
        project.addHandler(one)
    project.setLevel(logging.DEBUG)
    project.propagate = False
    try:
        yield
    finally:
        for one in more:
            project.removeHandler(one)
        project.setLevel(level)
        project.propagate = propagates
        handler.close()


class _Upwards(logging.Handler):
    """What would have reached the handlers of the program around us without the run's own log."""

    def handle(self, record: logging.LogRecord) -> bool:
        logging.getLogger().callHandlers(record)
        return True


class _RunLog(logging.FileHandler):
    """A log that a full disk cuts short without a word: what needs the disk more says so."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the name is logging's)
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


def _log_unit(loggers: Sequence[RunLogger], unit: Unit, report: Report) -> None:
    for logger in loggers:
        logger.unit(
            {
                **unit.cell.axes,
                "chunk": unit.chunk.number,
                "seconds": round(report.seconds, 4),
                "photos": report.photos,
                "failed": report.failed,
            }
        )


def _describe_run(experiment: Experiment) -> None:
    """Config, environment and manifest, readable beside the results."""
    folder = experiment.folder
    manifest = io.StringIO()
    writer = csv.writer(manifest, lineterminator="\n")
    writer.writerow(["image_id", "identity", "role", "sha256", "status", "note"])
    writer.writerows(map(csv_text, astuple(entry)) for entry in experiment.planning.manifest.entries)
    texts = {
        "config.yaml": as_yaml(kept_settings(experiment.config)),
        "environment.json": json.dumps(describe(*experiment.spec.devices), indent=1) + "\n",
        "manifest.csv": manifest.getvalue(),
    }
    for name, content in texts.items():
        with whole_file(folder / name) as file:
            file.write(content.encode("utf-8", "backslashreplace"))
