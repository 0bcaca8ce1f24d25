"""The dry run: everything is built and looked up, and nothing is worked on."""

from __future__ import annotations

from copy import deepcopy

from omegaconf import DictConfig

from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run_status import count_jobs, due_jobs, look_up


def describe_work(config: DictConfig) -> str:
    """One line: the run, its pieces of work, and how many of them are not in the store yet.

    Faces are rendered or read and kept, since the plan depends on them; models and methods are built; no photo is
    protected, and no run folder is made.

    Raises:
        ConfigError, ValueError: the experiment could not start; one line saying what to change.
    """
    experiment = prepare(deepcopy(config))
    count, due = count_jobs(experiment), len(due_jobs(look_up(experiment)))
    return (
        f"dry run of {experiment.folder.name}: {count} pieces of work, {due} of them to do; measuring and the report "
        "follow"
    )
