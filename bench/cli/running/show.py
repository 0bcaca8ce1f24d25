"""Views of Hydra in place of work: a config, where it comes from, completions for a shell."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import hydra

from cloakbench.bench.config.compose import compose_config, split_config_dirs
from cloakbench.bench.config.flags import (
    COMPLETION,
    CONFIG,
    HYDRA_HELP,
    INFO,
    PACKAGE,
    RESOLVE,
    CommandLine,
    UsageError,
)
from cloakbench.bench.config.plug_ins import search_path
from cloakbench.bench.config.values import as_typed
from cloakbench.bench.core.errors import ConfigError

_OF_SWEEPS = (
    "hydra/launcher",
    "hydra.launcher",
    "hydra/sweeper",
    "hydra.sweeper",
    "hydra/callbacks",
    "hydra.callbacks",
)
_OF_JOBS = ("hydra.job.env_set", "hydra.job.env_copy")
_INSTEAD = {
    "hydra.run": "set paths.results=FOLDER",
    "hydra.sweep": "set paths.results=FOLDER",
    "hydra.verbose": "set the variable CLOAKBENCH_LOG=DEBUG",
    "hydra.searchpath": "name the folder with --config-dir",
    "hydra.mode": "sweep with -m",
}


def check_hydra_settings(words: Sequence[str], *, sweeping: bool) -> None:
    """Refuse settings of Hydra's own that would do nothing.

    Raises:
        UsageError: one of them, and what does it here.
    """
    for word in words:
        key = word.partition("=")[0].lstrip("+~")
        if not key.startswith(("hydra.", "hydra/")) and key != "hydra":
            continue
        if key.startswith((*_OF_SWEEPS, *_OF_JOBS)):
            if sweeping:
                continue
            raise UsageError(f"{key} does nothing in a single run: it is for sweeps, which -m starts")
        instead = next((text for start, text in _INSTEAD.items() if key.startswith(start)), "leave it out")
        raise UsageError(f"{key} does nothing here: {instead}")


def call_hydra(words: Sequence[str], config_dirs: Sequence[str], config_name: str, job: Callable[[Any], None]) -> None:
    """Call Hydra's own command line; its errors reach the caller."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors are raised as they are; the caller prints one line
    typed = sys.argv
    sys.argv = [typed[0], *words, *search_path(config_dirs)]
    try:
        hydra.main(version_base="1.3", config_path="pkg://cloakbench.conf", config_name=config_name)(job)()
    finally:
        sys.argv = typed


def show(line: CommandLine, config_name: str, verbs: Collection[str], configs: Mapping[str, str]) -> None:
    """Show what a flag asks for.

    Raises:
        ConfigError: the settings do not fit; one line.
    """
    if COMPLETION in line:
        _complete(line, verbs, configs)
        return
    if HYDRA_HELP in line:
        call_hydra(["--hydra-help"], (), config_name, _nothing)
        return
    words = [as_typed(word) for word in line.words]
    compose_config(words, config_name, line.config_dirs)  # a mistake is one line of ours
    flag = CONFIG if CONFIG in line else INFO
    asked = [f"{flag.names[0]}={line.flags[flag]}"]
    if RESOLVE in line:
        asked.append("--resolve")
    if PACKAGE in line:
        asked.append(f"--package={line.flags[PACKAGE]}")
    call_hydra([*asked, *words], line.config_dirs, config_name, _nothing)


def _nothing(_: Any) -> None:
    """The job of a call that only shows something."""


def _complete(line: CommandLine, verbs: Collection[str], configs: Mapping[str, str]) -> None:
    """Hydra completes settings; the verb and ``--config-dir``, which it does not take there, are taken off what the
    shell gives it. A folder with a blank in its name is left out: Hydra splits that text at blanks.
    """
    app, *typed = os.environ.get("COMP_LINE", "").split(" ")
    config_name = "config"
    if typed and any(word.startswith("query=") for word in line.words):
        if typed[-2:-1] in (["--config-dir"], ["-cd"]):
            return  # the shell itself completes folders
        folders, words = split_config_dirs(typed[:-1])
        words.append(typed[-1])
        if len(words) == 1 and (found := sorted(verb for verb in verbs if verb.startswith(words[0]))):
            sys.stdout.write(f"{' '.join(found)}\n")
        elif len(words) > 1 and words[0] in verbs:
            config_name = configs.get(words.pop(0), "config")
        with suppress(ConfigError):  # a folder that is not there
            words = [*(word for word in search_path(folders) if not re.search(r"\s", word)), *words]
        os.environ["COMP_LINE"] = " ".join([app, *words])
    call_hydra(["--shell-completion", *line.words], (), config_name, _nothing)
