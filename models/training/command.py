"""The zoo command: trains the members that are missing or out of date, several at a time, one process each.

One process with one thread per core beats threads inside one process, and a crash costs one member only. Killed at
any moment, the next call continues every member from its last checkpoint.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cloakbench.models.attribute_zoo.member import AttributeMemberJob
from cloakbench.models.training.member import MemberJob
from cloakbench.models.weight_file import WeightError
from cloakbench.models.zoo import WEIGHTS, read_card

logger = logging.getLogger(__name__)

TOLERANCE = 0.02
"""Retrained members agree with the embedded ones within this difference of accuracy, or a warning says so."""


class ZooError(RuntimeError):
    """Some members could not be trained; the message names them and why."""


def jobs_of(config: DictConfig) -> list[MemberJob]:
    """The members asked for, in the order of the config.

    Raises:
        ZooError: ``only`` names a member that does not exist.
    """
    members = cast(dict[str, Any], OmegaConf.to_container(config.members, resolve=True))
    evaluation = cast(dict[str, Any], OmegaConf.to_container(config.evaluation, resolve=True))
    wanted = list(members) if config.only is None else list(config.only)
    unknown = [name for name in wanted if name not in members]
    if unknown:
        raise ZooError(f"no such zoo member: {', '.join(unknown)}; there are {', '.join(members)}")
    output = WEIGHTS if config.output is None else Path(config.output)

    def job(name: str, settings: dict[str, Any]) -> MemberJob:
        kind, unseen = (
            (AttributeMemberJob, settings.pop("evaluation")) if "task" in settings else (MemberJob, evaluation)
        )
        return kind(name, settings, unseen, output, Path(config.checkpoints), config.device, config.threads)

    return [job(name, members[name]) for name in wanted]


def _send(channel: Any, name: str, step: int, steps: int, loss: float) -> None:
    channel.put((name, step, steps, loss))


def _train(job: MemberJob, channel: Any) -> dict[str, Any]:
    """Runs in the worker process."""
    return job.train(partial(_send, channel, job.name))


def _drain(channel: Any) -> Iterator[tuple[str, int, int, float]]:
    while True:
        try:
            yield channel.get_nowait()
        except queue.Empty:
            return


def _train_all(
    jobs: list[MemberJob], workers: int, show: Callable[[str, int, int, float], None]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Cards of the members that were trained and the reasons of those that were not, both by name."""
    cards: dict[str, dict[str, Any]] = {}
    failures: dict[str, str] = {}
    context = multiprocessing.get_context("spawn")
    with (
        context.Manager() as manager,
        ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool,
    ):
        channel = manager.Queue()
        running: dict[Future[dict[str, Any]], MemberJob] = {pool.submit(_train, job, channel): job for job in jobs}
        try:
            while running:
                finished, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                for message in _drain(channel):
                    show(*message)
                for future in finished:
                    job = running.pop(future)
                    error = future.exception()
                    if error is None:
                        cards[job.name] = future.result()
                        measured = job.accuracy(cards[job.name])
                        logger.info("%s: %s %.4f, %.0f core-s", job.name, *measured, cards[job.name]["core_seconds"])
                    else:
                        failures[job.name] = " ".join(f"{type(error).__name__}: {error}".split())
                        logger.error("%s failed: %s", job.name, failures[job.name])
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return cards, failures


def _render(jobs: list[MemberJob], progress: Progress) -> None:
    """Has the faces of all jobs in the cache before training starts, so that two processes never render the same."""
    wanted = {json.dumps(node, sort_keys=True): node for job in jobs for node in job.faces_drawn()}
    for place, node in enumerate(wanted.values(), start=1):
        task = progress.add_task(f"faces {place}/{len(wanted)}", total=None, loss="")

        def show(done: int, total: int, task: TaskID = task) -> None:
            progress.update(task, completed=done, total=total)

        instantiate(node, progress=show)
    for job in [job for job in jobs if not isinstance(job, AttributeMemberJob)][:1]:  # one world judges all recognisers
        world = instantiate(job.evaluation)
        for role in ("probe", "distractor"):
            world.faces(role)


def _compare(job: MemberJob, card: dict[str, Any], embedded: dict[str, Any]) -> None:
    """Says how a retrained member stands against the one that came with the package."""
    (figure, new), (_, old) = job.accuracy(card), job.accuracy(embedded)
    log = logger.warning if abs(new - old) > TOLERANCE else logger.info
    log("%s: %s %.4f, embedded %.4f, difference %+.2f points", card["name"], figure, new, old, 100 * (new - old))


def run_zoo(config: DictConfig, console: Console | None = None) -> None:
    """Trains what ``config`` asks for and is not there yet; see ``conf/zoo.yaml`` for the keys.

    Args:
        config: the zoo to train.
        console: where the progress is shown; standard error by default.

    Raises:
        ZooError: an unknown member, or members whose training failed (all others are finished first).
    """
    jobs = jobs_of(config)
    embedded: dict[str, dict[str, Any]] = {}
    for job in jobs:
        try:
            embedded[job.name] = read_card(job.name)
        except WeightError:
            continue
    pending = [job for job in jobs if not job.is_done()]
    for job in jobs:
        if job not in pending:
            logger.info("%s is up to date", job.name)
    if not pending:
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console or Console(stderr=True)) as progress:
        _render(pending, progress)
        tasks = {job.name: progress.add_task(job.name, total=None, start=False, loss="") for job in pending}

        def show(name: str, step: int, steps: int, loss: float) -> None:
            progress.start_task(tasks[name])
            progress.update(tasks[name], completed=step, total=steps, loss=f"loss {loss:.3f}")

        cards, failures = _train_all(pending, config.workers, show)
    for job in jobs:
        if job.name in cards and job.name in embedded:
            _compare(job, cards[job.name], embedded[job.name])
    if failures:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in failures.items())
        raise ZooError(f"{len(failures)} of {len(pending)} members could not be trained: {reasons}")


@hydra.main(version_base="1.3", config_path="pkg://cloakbench.conf", config_name="zoo")
def main(config: DictConfig) -> None:
    """``python -m cloakbench.models.training.command only=[arcface_ir]``."""
    run_zoo(config)


if __name__ == "__main__":
    main()
