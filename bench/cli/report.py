"""``cloakbench report``: a finished run's report again, or one report over several runs."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from cloakbench.bench.config.checks.setting_checks import check_values
from cloakbench.bench.config.compose import compose_config, split_config_dirs
from cloakbench.bench.config.flags import is_name
from cloakbench.bench.config.values import file_name
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.store.errors import StoreError

_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_KEY = re.compile(r"-[0-9a-f]{8}")
"""What the folder of a run has behind the run's name."""
_MOST = 12
"""Names of runs in a message."""
_LONGEST = 110
"""Letters of the name of a report over several runs, before what tells it from others."""


def main(words: Sequence[str]) -> int:
    """``cloakbench report RUN [RUN ...] [report.style=slides] [paths.results=FOLDER]``: write the report of a run
    again, or one report over several runs.

    Raises:
        ConfigError: no run is named, one is named twice, or there is none of that name.
    """
    config_dirs, rest = split_config_dirs(words)
    settings = [word for word in rest if not is_name(word)]
    if other := [word for word in settings if not word.startswith(("paths.", "report.style="))]:
        raise ConfigError(f"report takes names of runs, report.style and paths.results=FOLDER, not {other[0]!r}")
    config = compose_config(settings, config_dirs=config_dirs)
    check_values(config)
    runs, style = Path(config.paths.runs), str(config.report.style)
    names = [word for word in rest if is_name(word)]
    if not names:
        raise ConfigError(f"name a run: cloakbench report RUN; {_known(runs)}")
    screen = Screen()
    folders = [find_run(name, runs, screen) for name in names]
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError(f"{' and '.join(names)} name one run twice: {_known(runs)}")
    screen.path(
        _report_one(folders[0], runs, screen, style) if len(folders) == 1 else _report_several(folders, runs, screen)
    )
    return 0


def _report_one(folder: Path, runs: Path, screen: Screen, style: str) -> str:
    """Write the report of a run again, into ``runs`` where its folder is read-only; returns what was done.

    Raises:
        StoreError: neither can be written to, and there is no current report.
    """
    from cloakbench.bench.report.archive import is_current, load_results, publish
    from cloakbench.bench.report.drawing.styles import figure_style
    from cloakbench.bench.report.terminal import summary
    from cloakbench.bench.report.writer import write_report

    results = load_results(folder)
    screen.print(summary(results))
    try:
        publish(results, folder, style=style)
        return f"Report written: {folder / 'report.md'}"
    except StoreError as problem:
        if problem.errno in _READ_ONLY and is_current(results, folder, style=style):
            return f"Report unchanged: {folder / 'report.md'} ({folder} cannot be written to)"
        return _elsewhere(
            problem, folder, runs, lambda target: write_report(results, target, style=figure_style(style))
        )


def _report_several(folders: Sequence[Path], runs: Path, screen: Screen) -> str:
    """Write one report over several runs, as a sweep over the settings in which they differ has it.

    Raises:
        MixedResultsError: they differ, and no setting that was typed says in what.
        StoreError: the report cannot be written.
    """
    from cloakbench.bench.report.archive import load_results
    from cloakbench.bench.report.sweeps.combine import combine
    from cloakbench.bench.report.sweeps.parts import SweepJob, arrange
    from cloakbench.bench.report.sweeps.writer import show_sweep, write_sweep

    configs = [_config_of(folder) for folder in folders]
    typed = dict.fromkeys(key for config in configs for key in config.get("given", ()))
    jobs = [
        SweepJob(load_results(folder), _settings(config, typed), config.get("method_key"))
        for folder, config in zip(folders, configs, strict=True)
    ]
    sweep = arrange(jobs)
    if len(sweep.parts) > 1 and not sweep.names:
        combine([job.results for job in jobs])  # says why not
    name = "+".join(folder.name for folder in folders)
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    target = folders[0].parent / name
    try:
        tables = write_sweep(sweep, folders, target)
        done = f"Report written: {target / 'report.md'}"
    except StoreError as problem:
        tables = []
        done = _elsewhere(problem, target, runs, lambda place: tables.extend(write_sweep(sweep, folders, place)))
    show_sweep(sweep, tables, screen)
    return done


def _config_of(folder: Path) -> DictConfig:
    """The config of a finished run; empty where it is not there or cannot be read."""
    try:
        config = OmegaConf.load(folder / "config.yaml")
    except (OSError, ValueError, YAMLError):
        return DictConfig({})
    return config if isinstance(config, DictConfig) else DictConfig({})


def _settings(config: DictConfig, keys: Iterable[str]) -> dict[str, Any]:
    """Those of the settings that a config has; a block that was chosen by its name is none."""
    values = {key: OmegaConf.select(config, key, default=config) for key in keys}
    return {key: value for key, value in values.items() if not isinstance(value, DictConfig)}


def _elsewhere(problem: StoreError, target: Path, runs: Path, write: Callable[[Path], object]) -> str:
    """Write a report into ``runs`` where ``target`` lies elsewhere and is read-only; returns what was done."""
    place = runs / target.name
    if problem.errno not in _READ_ONLY or place.resolve() == target.resolve():
        raise problem
    write(place)
    return f"Report written: {place / 'report.md'} ({target} cannot be written to)"


def find_run(name: str, runs: Path, screen: Screen) -> Path:
    """A run given as a folder, by the name of its folder, by its own name, or by the start of that.

    Of several the one that finished last is taken, and said so.
    """
    for folder in (Path(name), runs / name):
        if finished(folder) is not None:
            return folder
    matches = runs_of(name, runs)
    ready = sorted((folder for folder in matches if finished(folder) is not None), key=lambda one: finished(one) or 0)
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


def runs_of(name: str, runs: Path) -> list[Path]:
    """Folders of the runs of a name, or where there is none, of names that begin so; finished or not."""
    start = file_name(name)
    folders = [folder for folder in _folders(runs) if folder.name.startswith(start)]
    return [folder for folder in folders if _KEY.fullmatch(folder.name.removeprefix(start))] or folders


def finished(folder: Path) -> int | None:
    """When a run wrote its results, in nanoseconds; None if it did not."""
    try:
        return (folder / "data" / "about.json").stat().st_mtime_ns
    except OSError:
        return None


def _folders(runs: Path) -> list[Path]:
    return sorted(path for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []


def _known(runs: Path) -> str:
    """Which runs there are, the latest first."""
    ready = sorted((path for path in _folders(runs) if finished(path)), key=lambda one: finished(one) or 0)
    if not ready:
        return f"there is no finished run in {runs} yet (paths.results=FOLDER names another place)"
    names = [path.name for path in reversed(ready)]
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return f"finished runs in {runs}: {', '.join(names[:_MOST])}{more}"
