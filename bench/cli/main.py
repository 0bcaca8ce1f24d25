"""The ``cloakbench`` command: experiments through Hydra, and a few verbs beside it.

cloakbench [experiment=NAME] [KEY=VALUE ...]       run an experiment
cloakbench -m KEY=A,B ...                          run a sweep, then one combined report
cloakbench report RUN [RUN ...]                    write a report again, or combine several runs
cloakbench view RUN                                show a run in a browser: findings, ranking, gallery, tables
cloakbench board [RUN ...] output=FOLDER           a static site that ranks the methods of several runs
cloakbench submit RUN [note=TEXT]                  check a run and pack it, to be put on the board
cloakbench submit check=FILE                       what a maintainer does with that: every number again from its records
cloakbench share RUN [output=FOLDER]               a run as Every Eval Ever, Croissant and model cards
cloakbench papers [RUN ...]                        tables and figures of finished runs for a paper, with an index
cloakbench list [GROUP]                            what can be named: methods, models, datasets, experiments, ...
cloakbench check method=NAME                       run the conformance suite on a method
cloakbench check model=NAME [dataset=NAME]         the same for a recogniser, on faces where there are any
cloakbench check attribute_model=NAME              the same for a network that tells attributes
cloakbench check generator=NAME                    the same for what makes other pictures of people
cloakbench verify model=NAME dataset=NAME          accuracy over labelled pairs of photos
cloakbench verify attribute_model=NAME dataset=NAME         accuracy and confusion of a network that tells attributes
cloakbench calibrate model=NAME dataset=NAME       verification thresholds, beside those that papers copied
cloakbench protect input=PHOTOS output=FOLDER method=NAME   protect a person's own photos, from file to file
cloakbench recover input=PROTECTED output=FOLDER keys=FOLDER    the photos back, of methods that give them back
cloakbench export [experiment=NAME] output=FOLDER           write the original photos, for systems that cannot run here
cloakbench survey export RUN output=FOLDER [sets=30]        sheets on which people rate the photos of a run
cloakbench survey import RUN answers=FOLDER                 the table of what they said
cloakbench doctor [time=false]                      what can run here, and what is missing
cloakbench fetch dataset=NAME | model=NAME | metric=NAME    get photos or weights, or say where they are to be had
cloakbench zoo [KEY=VALUE ...]                     train the embedded recognisers again
cloakbench generator [KEY=VALUE ...]               train the embedded generator again
cloakbench views [generator=NAME]                  how far a generator's pictures of people are from photos of them
cloakbench serve model=NAME [attribute_model=NAME]          networks of yours as a service on this machine
cloakbench service check service=NAME remote.live=true      whether a service answers: three questions
cloakbench service clean service=NAME              delete the galleries that killed runs left in a service
cloakbench perf [people=N]                         our loops against bare loops, as ratios

Flags may stand anywhere:
  --help, -h               what a command does, and its settings; with settings, what they come to
  --config-dir DIR, -cd    a folder of your own configs (DIR/method/NAME.yaml, ...); may be given several times
  --multirun, -m           a sweep over every setting with several values
  --cfg job, -c job        show the config instead of working; with --resolve, its references filled in
  --info [TOPIC], -i       where the config comes from: config, defaults, defaults-tree, plugins, searchpath
  --shell-completion, -sc  completion: eval "$(cloakbench -sc install=bash)"
  --version
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources

from cloakbench import __version__
from cloakbench.bench.cli.environment import read_environment
from cloakbench.bench.config import flags
from cloakbench.bench.config.flags import CommandLine, read_command_line
from cloakbench.bench.core.errors import one_line
from cloakbench.bench.core.escape import terminal
from cloakbench.bench.core.redaction import without_secrets
from cloakbench.bench.core.screen import ScreenFormatter, accept_every_sign
from cloakbench.bench.services.keys import refuse_keys

log = logging.getLogger("cloakbench")

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells use it."""

CONFIGS = {
    "": "config",
    "verify": "verify",
    "calibrate": "calibrate",
    "protect": "protect",
    "recover": "recover",
    "export": "export",
    "survey": "survey",
    "view": "view",
    "board": "board",
    "submit": "submit",
    "papers": "papers",
    "share": "share",
    "zoo": "zoo",
    "generator": "generator_training",
    "views": "views",
    "serve": "serve",
    "service": "one_service",
    "perf": "perf",
}
"""The config of each command that has one of its own."""

_COMMANDS = (
    "report",
    "papers",
    "share",
    "list",
    "check",
    "verify",
    "calibrate",
    "doctor",
    "fetch",
    "protect",
    "recover",
    "export",
    "survey",
    "view",
    "board",
    "submit",
    "perf",
    "views",
    "serve",
    "service",
)
"""Words with a module of their own in ``bench.cli``."""

_PLACES = {
    "serve": "services.serve",
    "service": "services.one_service",
    "view": "sharing.view",
    "board": "sharing.board",
    "submit": "sharing.submit",
}
"""Where that is not called as the word."""

_VERBS = (*_COMMANDS, "zoo", "generator", "help")
_WITH_NAMES = ("report", "papers", "share", "list", "check", "service", "survey", "view", "board", "submit", "help")
"""Verbs that take plain names."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit status."""
    accept_every_sign()
    try:
        words = sys.argv[1:] if arguments is None else arguments
        refuse_keys(words)  # before a mistake in them is told, and with it their text
        _start_logging(read_environment())
        return _dispatch(read_command_line(words, _VERBS, _WITH_NAMES))
    except KeyboardInterrupt:
        _say("interrupted: finished work is kept, run the same command again to continue")
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()
    except Exception as problem:
        if os.environ.get("CLOAKBENCH_DEBUG"):
            raise
        _say(one_line(problem))
        return 1


def _dispatch(line: CommandLine) -> int:
    if flags.VERSION in line:
        sys.stdout.write(f"cloakbench {__version__}\n")
        return 0
    if flags.HELP in line or line.verb == "help":
        sys.stdout.write(_help(line))
        return 0

    from cloakbench.bench.config.plug_ins import make_importable, shadowed

    make_importable(line.config_dirs)
    for unused in shadowed(line.config_dirs) if line.config_dirs else ():
        log.warning("warning: %s", unused)
    from cloakbench.bench.cli.running.show import check_hydra_settings, show

    if line.shows:
        show(replace(line, words=_settings(line)), _config_of(line), _VERBS, CONFIGS)
        return 0
    check_hydra_settings(line.words, sweeping=flags.MULTIRUN in line)
    if line.verb in _COMMANDS:
        place = _PLACES.get(line.verb, line.verb)
        return importlib.import_module(f"cloakbench.bench.cli.{place}").main(line.plain)
    from cloakbench.bench.cli.running.experiments import run_experiments, run_trainings

    if line.verb in ("zoo", "generator"):
        return run_trainings(line, CONFIGS[line.verb])
    return run_experiments(line, _say)


def _config_of(line: CommandLine) -> str:
    """Name of the config that a command composes.

    Raises:
        UsageError: it composes none.
    """
    if line.verb in ("check", "verify") and any(word.startswith("attribute_model=") for word in line.words):
        return "attribute_network"
    if line.verb in ("check", "fetch"):
        return "recogniser" if any(word.startswith("model=") for word in line.words) else "config"
    if line.verb not in CONFIGS and line.verb:
        raise flags.UsageError(f"cloakbench {line.verb} has no config to show")
    return CONFIGS[line.verb]


def _settings(line: CommandLine) -> tuple[str, ...]:
    """The words that a config is composed with: of a command that has one, those that are no plain names."""
    return tuple(word for word in line.words if line.verb not in CONFIGS or not flags.is_name(word))


def _help(line: CommandLine) -> str:
    """How a command is called, and the settings it has; what they come to where some are given."""
    verb = line.verb if line.verb != "help" else next(iter(line.words), "")
    if verb not in _VERBS and verb:
        raise flags.UsageError(f"there is no command {verb!r}{flags.nearest(verb, _VERBS)}; see cloakbench --help")
    if line.words and (verb in CONFIGS or verb in ("check", "fetch")) and line.verb != "help":
        from omegaconf import OmegaConf

        from cloakbench.bench.cli.fetch import as_composed
        from cloakbench.bench.config.compose import compose_config

        words = as_composed(line.words) if verb == "fetch" else _settings(line)
        config = compose_config(words, _config_of(line), line.config_dirs)
        usage = " ".join(word for word in ("cloakbench", verb, *line.words) if word)
        return (
            f"{terminal(usage)}\n\nIts settings, each of which can be set as KEY=VALUE:\n\n{OmegaConf.to_yaml(config)}"
        )
    if verb in ("", "help"):
        return f"{__doc__}\n"
    usage = "\n".join(row for row in str(__doc__).splitlines() if row.startswith(f"cloakbench {verb} "))
    settings = resources.files("cloakbench.conf") / f"{CONFIGS.get(verb, verb)}.yaml"
    return f"{usage}\n\n{settings.read_text(encoding='utf-8')}" if settings.is_file() else f"{usage}\n"


def _start_logging(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(ScreenFormatter("%(message)s"))
    handler.setLevel(level)  # the run's own log file takes more than the screen
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for chatty in ("matplotlib", "fontTools", "PIL"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _reader_gone() -> int:
    """Whoever read our output has enough; nothing more may be written, also not at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _say(line: str) -> None:
    sys.stderr.write(f"error: {terminal(without_secrets(line))}\n")


if __name__ == "__main__":
    sys.exit(main())
