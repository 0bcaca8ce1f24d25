"""``cloakbench submit``: a run checked and packed for the board, and what was handed in checked again."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from cloakbench.bench.cli.report import find_run
from cloakbench.bench.config.checks.setting_checks import check_values
from cloakbench.bench.config.compose import compose_config, split_config_dirs
from cloakbench.bench.config.flags import is_name
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.files.regular_file import read_regular
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.report.archive import load_results
from cloakbench.bench.report.interval_text import counted
from cloakbench.bench.sharing.checks import Check, checked
from cloakbench.bench.sharing.package import ABOUT, pack, unpack

_MOST = 8
"""Problems of one check that are printed."""


def main(words: Sequence[str]) -> int:
    """``cloakbench submit RUN [note=TEXT] [output=FILE]`` packs a run that passes every check; ``cloakbench submit
    check=FILE [output=FOLDER]`` looks at a package, and unpacks it where it passes. The exit status is 1 where it does
    not.

    Raises:
        ConfigError: neither is asked for, there is no such run or file, or the place for it is taken.
    """
    config_dirs, rest = split_config_dirs(words)
    names = [word for word in rest if is_name(word)]
    config = compose_config([word for word in rest if not is_name(word)], "submit", config_dirs)
    check_values(config)
    screen = Screen()
    if config.check is not None and not names:
        return _check(config, Path(str(config.check)).expanduser(), screen)
    if len(names) != 1 or config.check is not None:
        raise ConfigError("name a run or a file: cloakbench submit RUN, or cloakbench submit check=FILE")
    return _submit(config, find_run(names[0], Path(config.paths.runs), screen), screen)


def _submit(config: DictConfig, folder: Path, screen: Screen) -> int:
    note = str(config.note)
    target = Path(str(config.output)).expanduser() if config.output else Path(f"{folder.resolve().name}.zip")
    if target.exists():
        raise ConfigError(f"{target} is there already: set output=FILE")
    results = load_results(folder)
    if not _passes(checked(results, _environment(folder)), note, screen):
        screen.path(f"Nothing was packed: mend what is marked, or set note=TEXT where a note may explain it ({folder})")
        return 1
    with tempfile.TemporaryDirectory() as work:
        pack(results, folder, Path(work), target, note, photos=bool(config.with_photos))
    screen.path(f"Packed: {target}. CONTRIBUTING.md says where to hand it in.")
    return 0


def _check(config: DictConfig, package: Path, screen: Screen) -> int:
    target = Path(str(config.output)).expanduser() if config.output else None
    if target is not None and target.exists():
        raise ConfigError(f"{target} is there already: set output=FOLDER to a new one")
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "run"
        about = unpack(package, folder)
        results = load_results(folder)
        if not _passes(checked(results, _environment(folder)), about["note"], screen):
            screen.path(f"{package} does not pass")
            return 1
        (folder / ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(folder, target)
    screen.path(f"{package} passes" + (f"; the run is in {target}" if target is not None else ""))
    return 0


def _passes(checks: Sequence[Check], note: str, screen: Screen) -> bool:
    """Print what was found; returns whether nothing is wrong that no note explains."""
    sound = True
    for one in checks:
        explained = one.explainable and bool(note.strip())
        wrong = bool(one.problems) and not explained
        sound = sound and not wrong
        state = "wrong" if wrong else "explained" if one.problems else "ok"
        screen.path(f"{state:9} {one.title}" + (f": {counted(len(one.problems), 'problem')}" if one.problems else ""))
        for line in (*one.problems[:_MOST], *one.remarks):
            screen.path(f"          {line}")
        if len(one.problems) > _MOST:
            screen.path(f"          and {len(one.problems) - _MOST} more")
        if wrong and one.explainable:
            screen.path("          note=TEXT may explain this; the board shows the note")
    return sound


def _environment(folder: Path) -> dict[str, Any]:
    """What ``environment.json`` says.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    try:
        found = json.loads(read_regular(folder / "environment.json"))
        if isinstance(found, dict):
            return found
    except (OSError, ValueError):
        pass
    raise ConfigError(f"{folder} has no readable environment.json: run the experiment again, which writes it")
