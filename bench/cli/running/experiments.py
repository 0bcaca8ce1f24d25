"""Running experiments and trainings: what ``cloakbench`` does without a verb, and ``zoo`` and ``generator``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cloakbench.bench.config import flags
from cloakbench.bench.config.flags import CommandLine
from cloakbench.bench.core.screen import Screen

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cloakbench.bench.experiment.run import Outcome

_PROBLEMS_MOST = 10
"""Problems of a run that are printed."""


def run_trainings(line: CommandLine, name: str) -> int:
    """Train embedded networks again, as the config of a name has it."""
    from cloakbench.bench.config.checks.setting_checks import check_values
    from cloakbench.bench.config.compose import compose_config
    from cloakbench.bench.core.machine import checked_device

    config = compose_config(line.words, name, line.config_dirs)
    check_values(config)
    checked_device(config.device, "device")
    if line.verb == "zoo":
        from cloakbench.models.training.command import run_zoo as train
    else:
        from cloakbench.models.generation.view_command import run_generator as train
    train(config, Screen(stderr=True))
    return 0


def run_experiments(line: CommandLine, say: Callable[[str], None]) -> int:
    """Run one experiment, or a sweep, through Hydra; returns the exit status. ``say`` prints an error."""
    from cloakbench.bench.cli.running.sweep import run_sweep
    from cloakbench.bench.config.compose import compose_config

    if flags.MULTIRUN in line:
        return run_sweep(line.words, line.config_dirs)
    return _one_experiment(compose_config(line.words, config_dirs=line.config_dirs), say)


def _one_experiment(config: DictConfig, say: Callable[[str], None]) -> int:
    if config.runtime.dry_run is True:
        from cloakbench.bench.experiment.dry_run import describe_work

        Screen().path(describe_work(config))
        return 0
    from cloakbench.bench.experiment.run import run

    outcome = run(config)
    _show(outcome)
    for problem in outcome.problems[:_PROBLEMS_MOST]:
        say(problem)
    if len(outcome.problems) > _PROBLEMS_MOST:
        more = len(outcome.problems) - _PROBLEMS_MOST
        say(f"and {more} more: see {outcome.folder / 'report.md'} and {outcome.folder / 'manifest.csv'}")
    if outcome.problems:
        say(
            "everything else is done and kept: mend the cause and run the same command again; work of a method that "
            "failed is tried again with runtime.retry_failed=true"
        )
    return 1 if outcome.problems else 0


def _show(outcome: Outcome) -> None:
    from cloakbench.bench.report.terminal import summary

    screen = Screen()
    screen.print(summary(outcome.results))
    screen.path(f"Report {'unchanged' if outcome.reused else 'written'}: {outcome.folder / 'report.md'}")
