"""The ``cloakbench`` command: experiments through Hydra, and a few verbs beside it.

cloakbench [experiment=NAME] [KEY=VALUE ...]       run an experiment
cloakbench -m KEY=A,B ...                          run a sweep, then one combined report
cloakbench report RUN [RUN ...]                    write a report again, or combine several runs
cloakbench list methods|models|attribute_models|datasets|experiments|transforms|attackers|regimes|protocols
cloakbench check method=NAME                       run the conformance suite on a method
cloakbench check model=NAME [dataset=NAME]         the same for a recogniser, on faces where there are any
cloakbench verify model=NAME dataset=NAME          accuracy over labelled pairs of photos
cloakbench calibrate model=NAME dataset=NAME       verification thresholds, beside those that papers copied
cloakbench protect input=PHOTOS output=FOLDER method=NAME   protect a person's own photos, from file to file
cloakbench doctor [time=true]                      what can run here, and what is missing
cloakbench fetch dataset=NAME | model=NAME         get a data set or weights, or say where they are to be had
cloakbench zoo [KEY=VALUE ...]                     train the embedded recognisers again
cloakbench perf                                    our loops against bare loops, as ratios

Each explains itself with --help.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

log = logging.getLogger("cloakbench")

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells use it."""

_COMMANDS = ("report", "list", "check", "verify", "calibrate", "doctor", "fetch", "protect")
"""Words with a module of their own in ``bench.commands``."""

_HELP = frozenset({"--help", "-h"})

_PROBLEMS_MOST = 10

_HYDRA_FLAGS = ("--cfg", "-c", "--info", "-i", "--hydra-help", "--resolve", "--shell-completion", "-sc")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _start_logging()
    if words and words[0] in (*_HELP, "help"):
        sys.stdout.write(f"{__doc__}\n")
        return 0
    try:
        return _dispatch(words)
    except KeyboardInterrupt:
        _say("interrupted: finished work is kept, run the same command again to continue")
        return INTERRUPTED
    except (ValueError, OSError, RuntimeError) as problem:
        if os.environ.get("CLOAKBENCH_DEBUG"):
            raise
        _say(_one_line(problem))
        return 1


def _dispatch(words: list[str]) -> int:
    verb = words[0] if words else ""
    if verb in (*_COMMANDS, "zoo") and not _HELP.isdisjoint(words):
        sys.stdout.write(_help(verb))
        return 0
    if verb in _COMMANDS:
        return importlib.import_module(f"cloakbench.bench.commands.{verb}").main(words[1:])
    if verb == "zoo":
        from cloakbench.bench.composition import compose_config
        from cloakbench.models.training.command import run_zoo

        run_zoo(compose_config(words[1:], config_name="zoo"))
        return 0
    if verb == "perf":
        from cloakbench.bench.perf import main as perf

        return perf(words[1:])
    if verb and "=" not in verb and not verb.startswith("-"):
        raise ValueError(f"there is no command {verb!r}; see cloakbench --help")
    return _experiments(words)


def _help(verb: str) -> str:
    """How a command is called, and the settings it has, which its YAML explains."""
    usage = "\n".join(line for line in str(__doc__).splitlines() if line.startswith(f"cloakbench {verb} "))
    settings = resources.files("cloakbench.conf") / f"{verb}.yaml"
    return f"{usage}\n\n{settings.read_text(encoding='utf-8')}" if settings.is_file() else f"{usage}\n"


def _experiments(words: list[str]) -> int:
    """Run one experiment, or a sweep, through Hydra."""
    import hydra

    from cloakbench.bench.composition import compose_config, split_config_dirs
    from cloakbench.bench.sweep import run_job, run_sweep

    sweeping = any(word in ("-m", "--multirun") for word in words)
    config_dirs, rest = split_config_dirs(words)
    overrides = [word for word in rest if not word.startswith("-")]
    asks_hydra = any(word.split("=")[0] in _HYDRA_FLAGS for word in words)
    if not asks_hydra:
        if sweeping:
            return run_sweep(overrides, config_dirs)
        return _one_experiment(compose_config(overrides, config_dirs=config_dirs))
    searchpath = ",".join(f"file://{Path(folder).resolve()}" for folder in config_dirs)
    flags = [word for word in rest if word.startswith("-")]
    command = [*flags, *overrides] + ([f"hydra.searchpath=[{searchpath}]"] if searchpath else [])
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us as they are; we print one line
    sys.argv = [sys.argv[0], *command]
    hydra.main(version_base="1.3", config_path="pkg://cloakbench.conf", config_name="config")(run_job)()
    return 0


def _one_experiment(config: Any) -> int:
    from cloakbench.bench.run import run

    outcome = run(config)
    _show(outcome)
    for problem in outcome.problems[:_PROBLEMS_MOST]:
        _say(problem)
    if len(outcome.problems) > _PROBLEMS_MOST:
        more = len(outcome.problems) - _PROBLEMS_MOST
        _say(f"and {more} more: see {outcome.folder / 'report.md'} and {outcome.folder / 'manifest.csv'}")
    if outcome.problems:
        _say(
            "everything else is done and kept: mend the cause and run the same command again; work of a method that "
            "failed is tried again with runtime.retry_failed=true"
        )
    return 1 if outcome.problems else 0


def _show(outcome: Any) -> None:
    from rich.console import Console

    from cloakbench.bench.report.terminal import summary

    console = Console()
    console.print(summary(outcome.results))
    state = "unchanged" if outcome.reused else "written"
    console.print(f"Report {state}: {outcome.folder / 'report.md'}", soft_wrap=True, highlight=False)


def _start_logging() -> None:
    logging.basicConfig(
        format="%(message)s",
        stream=sys.stderr,
        force=True,
    )
    shown = os.environ.get("CLOAKBENCH_LOG", "INFO").upper()
    logging.getLogger().setLevel(shown)
    logging.getLogger().handlers[0].setLevel(shown)  # the run's own log file takes more than the screen
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    logging.getLogger("PIL").setLevel(logging.WARNING)


def _say(line: str) -> None:
    sys.stderr.write(f"error: {line}\n")


def _one_line(problem: BaseException) -> str:
    if isinstance(problem, OSError) and problem.strerror and problem.filename is None:
        return " ".join(problem.strerror.split())  # without the number in front
    return " ".join(str(problem).split()) or type(problem).__name__


if __name__ == "__main__":
    sys.exit(main())
