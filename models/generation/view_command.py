"""The generator command: trains the embedded generator where its weights are missing or of other settings.

Killed at any moment, the next call continues from the last checkpoint.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cloakbench.models.generation.view_job import GeneratorJob, train_generator
from cloakbench.models.training.resumable import Report
from cloakbench.models.zoo import WEIGHTS

logger = logging.getLogger(__name__)


def job_of(config: DictConfig) -> GeneratorJob:
    """The training that a config describes; ``conf/generator_training.yaml`` says what is in it."""
    settings = cast(dict[str, Any], OmegaConf.to_container(config.recipe, resolve=True))
    output = WEIGHTS if config.output is None else Path(config.output)
    return GeneratorJob(config.name, settings, output, Path(config.checkpoints), config.device)


def run_generator(config: DictConfig, console: Console | None = None) -> None:
    """Trains what ``config`` asks for if it is not there yet.

    Args:
        config: see `job_of`.
        console: where the progress is shown; standard error by default.
    """
    job = job_of(config)
    if job.is_done():
        logger.info("%s is up to date", job.name)
        return
    torch.set_num_threads(config.threads)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console or Console(stderr=True)) as progress:
        drawn = progress.add_task("faces", total=None, loss="")

        def show_faces(done: int, total: int) -> None:
            progress.update(drawn, completed=done, total=total)

        instantiate(job.settings["faces"], progress=show_faces)

        def shown(description: str) -> Report:
            task = progress.add_task(description, total=None, start=False, loss="")

            def show(step: int, steps: int, loss: float) -> None:
                progress.start_task(task)
                progress.update(task, completed=step, total=steps, loss=f"loss {loss:.3f}")

            return show

        card = train_generator(job, shown(f"{job.name}: critic"), shown(job.name))
    logger.info("%s: %d steps, %.0f core-s", job.name, card["steps"], card["core_seconds"])
