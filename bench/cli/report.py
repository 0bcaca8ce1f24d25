"""``cloakbench report``: a finished run's report again, or one report over several runs."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from pathlib import Path

from cloakbench.bench.config.compose import compose_config, split_config_dirs
from cloakbench.bench.config.flags import is_name
from cloakbench.bench.config.values import file_name
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.report.results import Results
from cloakbench.bench.store.store import StoreError

_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_KEY = re.compile(r"-[0-9a-f]{8}")
"""What the folder of a run has behind the run's name."""
_MOST = 12
"""Names of runs in a message."""


def main(words: Sequence[str]) -> int:
    """``cloakbench report RUN [RUN ...] [paths.results=FOLDER]``: write the report of a run again, or one report over
    several runs.

    Raises:
        ConfigError: no run is named, one is named twice, or there is none of that name.
    """
    from cloakbench.bench.report.archive import load_results
    from cloakbench.bench.report.sweep import combine
    from cloakbench.bench.report.terminal import summary

    config_dirs, rest = split_config_dirs(words)
    settings = [word for word in rest if not is_name(word)]
    if other := [word for word in settings if not word.startswith("paths.")]:
        raise ConfigError(f"report takes names of runs and paths.results=FOLDER, not {other[0]!r}")
    runs = Path(compose_config(settings, config_dirs=config_dirs).paths.runs)
    names = [word for word in rest if is_name(word)]
    if not names:
        raise ConfigError(f"name a run: cloakbench report RUN; {_known(runs)}")
    screen = Screen()
    folders = [_run_folder(name, runs, screen) for name in names]
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError(f"{' and '.join(names)} name one run twice: {_known(runs)}")
    loaded = [load_results(folder) for folder in folders]
    results = loaded[0] if len(loaded) == 1 else combine(loaded)
    target = (
        folders[0] if len(folders) == 1 else folders[0].parent / ("+".join(folder.name for folder in folders))[:120]
    )
    screen.print(summary(results))
    screen.path(_write(results, target, runs, is_run=len(folders) == 1))
    return 0


def _write(results: Results, target: Path, runs: Path, *, is_run: bool) -> str:
    """Write a report, into ``runs`` where ``target`` lies elsewhere and is read-only; returns what was done.

    Raises:
        StoreError: neither can be written to, and there is no current report.
    """
    from cloakbench.bench.report.archive import is_current, publish
    from cloakbench.bench.report.writer import write_report

    try:
        if is_run:
            publish(results, target)
        else:
            write_report(results, target)
        return f"Report written: {target / 'report.md'}"
    except StoreError as problem:
        if problem.errno not in _READ_ONLY:
            raise
        if is_run and is_current(results, target):
            return f"Report unchanged: {target / 'report.md'} ({target} cannot be written to)"
        elsewhere = runs / target.name
        if elsewhere.resolve() == target.resolve():
            raise
        write_report(results, elsewhere)
        return f"Report written: {elsewhere / 'report.md'} ({target} cannot be written to)"


def _run_folder(name: str, runs: Path, screen: Screen) -> Path:
    """A run given as a folder, by the name of its folder, by its own name, or by the start of that.

    Of several the one that finished last is taken, and said so.
    """
    for folder in (Path(name), runs / name):
        if _finished(folder) is not None:
            return folder
    start = file_name(name)
    folders = [folder for folder in _folders(runs) if folder.name.startswith(start)]
    matches = [folder for folder in folders if _KEY.fullmatch(folder.name.removeprefix(start))] or folders
    ready = sorted((folder for folder in matches if _finished(folder) is not None), key=lambda one: _finished(one) or 0)
    if not ready and matches:
        raise ConfigError(f"the run {matches[0]} is not finished: run its command again")
    if not ready:
        raise ConfigError(f"there is no run {name!r}; {_known(runs)}")
    if len(ready) > 1:
        others = ", ".join(folder.name for folder in ready[-2::-1])
        screen.path(f"{name}: the run that finished last is {ready[-1].name}; there are also {others}")
    elif ready[0].name != name:
        screen.path(f"{name}: the run is {ready[0].name}")
    return ready[-1]


def _finished(folder: Path) -> int | None:
    """When a run wrote its results, in nanoseconds; None if it did not."""
    try:
        return (folder / "data" / "about.json").stat().st_mtime_ns
    except OSError:
        return None


def _folders(runs: Path) -> list[Path]:
    return sorted(path for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []


def _known(runs: Path) -> str:
    """Which runs there are, the latest first."""
    ready = sorted((path for path in _folders(runs) if _finished(path)), key=lambda one: _finished(one) or 0)
    if not ready:
        return f"there is no finished run in {runs} yet (paths.results=FOLDER names another place)"
    names = [path.name for path in reversed(ready)]
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return f"finished runs in {runs}: {', '.join(names[:_MOST])}{more}"
