"""The dry run: everything is built and looked up, and nothing is worked on."""

from __future__ import annotations

from copy import deepcopy

from omegaconf import DictConfig

from cloakbench.bench.experiment.outside import would_ask
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run_status import count_jobs, due_jobs, look_up


def describe_work(config: DictConfig) -> str:
    """One line: the run, its pieces of work, how many of them are not in the store yet, and which services would be
    asked how much about what is due.

    Faces are rendered or read and kept, since the plan depends on them; models and methods are built; no photo is
    protected, and no run folder is made.

    Raises:
        ConfigError, ValueError: the experiment could not start; one line saying what to change.
    """
    experiment = prepare(deepcopy(config))
    status = look_up(experiment)
    parts = [
        f"dry run of {experiment.folder.name}: {count_jobs(experiment)} pieces of work, {len(due_jobs(status))} of "
        "them to do",
        *would_ask(status),
        "measuring and the report follow",
    ]
    return "; ".join(parts)
