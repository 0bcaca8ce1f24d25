"""Runs an experiment: work out what is missing, do it, measure, report."""

from __future__ import annotations

import csv
import functools
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.archive import is_current, mark_current, save_results
from cloakbench.bench.assemble import assemble, read_records
from cloakbench.bench.environment import describe
from cloakbench.bench.experiment import Experiment, prepare
from cloakbench.bench.inventory import (
    Inventory,
    count_jobs,
    due_jobs,
    measure_brief,
    missing_embeddings,
    take_stock,
)
from cloakbench.bench.loggers import RunLogger
from cloakbench.bench.measure import MeasureJob, Measurer, measure_key
from cloakbench.bench.poisoning import work as poisoning
from cloakbench.bench.poisoning.assemble import Poisoned, assemble_poisoning
from cloakbench.bench.pool import Failure, answers, available_cores
from cloakbench.bench.progress import track
from cloakbench.bench.report.inputs import Results
from cloakbench.bench.store import StoreError
from cloakbench.bench.workshop import RoleJob, UnitReport, Workshop

log = logging.getLogger(__name__)


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
        StoreError: the store cannot be written (disk full); finished work is kept.
        WorkerDiedError: a worker process vanished; finished work is kept.
    """
    torch.set_num_threads(1)  # thread count changes the order of float sums
    experiment = prepare(config)
    folder = experiment.folder
    loggers: list[RunLogger] = [instantiate(logger) for logger in config.logger.values()]
    _describe_run(experiment)
    with _logging_to(folder / "run.log"):
        outcome = _run(experiment, loggers)
    experiment.store.remove_leftovers()  # only now: workers of a run that was just killed die when they next can
    return outcome


def _run(experiment: Experiment, loggers: Sequence[RunLogger]) -> Outcome:
    config, folder = experiment.config, experiment.folder
    for remark in experiment.remarks:
        log.warning("%s", remark)
    plain: Any = OmegaConf.to_container(config, resolve=True)
    for logger in loggers:
        logger.start(folder, plain)

    workers = available_cores() if config.runtime.workers == "auto" else int(config.runtime.workers)
    problems = _work(experiment, workers, loggers)
    if experiment.poisoning is not None:
        retry_failed = config.runtime.retry_failed
        problems += poisoning.work(experiment.poisoning, experiment.store, workers, retry_failed=retry_failed)
    inventory = take_stock(experiment)
    for details in inventory.details():
        log.debug("%s", details)
    problems += [*inventory.problems(), *experiment.rejected]
    measured = _measure(experiment, inventory, workers)
    poisoned = _assemble_poisoning(experiment)
    results = assemble(experiment, inventory, measured, poisoned)
    problems += _target_problems(experiment, inventory, results)
    problems += poisoned.problems if poisoned else []
    for logger in loggers:
        logger.finish(results.measurements)

    reused = is_current(results, folder) and not config.runtime.force_report
    if not reused:
        from cloakbench.bench.report.writer import write_report

        save_results(results, read_records(experiment, measured, poisoned), folder)
        write_report(results, folder)
        mark_current(results, folder)
    return Outcome(folder, results, list(dict.fromkeys(problems)), reused)


def _work(experiment: Experiment, workers: int, loggers: Sequence[RunLogger]) -> list[str]:
    """Do every job whose result is not in the store; returns what went wrong, a line each."""
    if experiment.config.runtime.retry_failed:
        for unit, _ in experiment.units:
            experiment.store.remove("failures", unit.key, ".json")
    jobs = due_jobs(experiment)
    if jobs:
        log.info("%s: %d of %d pieces of work to do", experiment.config.name, len(jobs), count_jobs(experiment))
    problems = []
    make_workshop = functools.partial(Workshop, experiment.brief)
    with track("protecting and embedding", len(jobs)) as tracker:
        for answer in answers(jobs, make_workshop, workers):
            report, job = answer.value, answer.job
            label = f"clean {job.role} by {job.model}" if isinstance(job, RoleJob) else job[0].cell.label
            if isinstance(report, Failure):
                if isinstance(report.error, StoreError):
                    raise report.error
                log.debug("%s", report.details)
                problems.append(f"{label}: {report.reason}")
                tracker.advance(0, label)
                continue
            tracker.advance(report.photos, label)
            if not isinstance(job, RoleJob):
                _log_unit(loggers, job[0], report)
    return problems


def _assemble_poisoning(experiment: Experiment) -> Poisoned | None:
    if experiment.poisoning is None:
        return None
    return assemble_poisoning(experiment.poisoning, experiment.store, experiment.config.statistics.resamples)


def _target_problems(experiment: Experiment, inventory: Inventory, results: Results) -> list[str]:
    """One line per target that did not answer for photos that their method had finished."""
    if not experiment.targets:
        return []
    rates = results.measurements
    rates = rates[rates["metric"] == rates.loc[rates["protocol"] == "identification", "metric"].min()]
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
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
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


def _measure(experiment: Experiment, inventory: Inventory, workers: int) -> dict[MeasureJob, str]:
    """Judge everything that is stored; returns the keys of the answers."""
    if not experiment.targets:
        return {}
    brief = measure_brief(experiment, inventory)
    keys: dict[MeasureJob, str] = {}
    for label in experiment.brief.transforms:
        for target in experiment.targets:
            key = measure_key(brief, target, label, missing_embeddings(experiment, inventory, target, label))
            keys[MeasureJob(target, label, key)] = key
    due = [job for job in keys if not experiment.store.has_frame("measurements", keys[job])]
    with track("measuring", len(due)) as tracker:
        for answer in answers(due, functools.partial(Measurer, brief), workers):
            if isinstance(answer.value, Failure):
                if isinstance(answer.value.error, StoreError):
                    raise answer.value.error
                log.debug("%s", answer.value.details)
                raise RuntimeError(f"measuring {answer.job.target}: {answer.value.reason}")
            tracker.advance(0, answer.job.target)
    return keys


def _describe_run(experiment: Experiment) -> None:
    """Config, environment and manifest, readable beside the results."""
    folder = experiment.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(experiment.config, resolve=True), encoding="utf-8")
    environment = json.dumps(describe(experiment.brief.device), indent=1)
    (folder / "environment.json").write_text(environment + "\n", encoding="utf-8")
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["image_id", "identity", "role", "sha256", "status", "note"])
        writer.writerows(astuple(entry) for entry in experiment.manifest.entries)
