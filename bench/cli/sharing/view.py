"""``cloakbench view``: the page of a run in a browser: of a finished one its report, of one at work how it goes."""

from __future__ import annotations

import errno
import os
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from cloakbench.bench.cli.report import find_run, finished, runs_of
from cloakbench.bench.config.checks.setting_checks import check_values
from cloakbench.bench.config.compose import compose_config, split_config_dirs
from cloakbench.bench.config.flags import is_name
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.experiment.logging.live_page import PAGE
from cloakbench.bench.store.errors import StoreError

_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def main(words: Sequence[str]) -> int:
    """``cloakbench view RUN [open=false]``: the page of a run is a file, so a browser opens it from disk.

    Raises:
        ConfigError: no run is named, or there is none of that name.
    """
    config_dirs, rest = split_config_dirs(words)
    config = compose_config([word for word in rest if not is_name(word)], "view", config_dirs)
    check_values(config)
    names = [word for word in rest if is_name(word)]
    if len(names) != 1:
        raise ConfigError("name one run: cloakbench view RUN")
    screen = Screen()
    runs = Path(config.paths.runs)
    page = _live_page(names[0], runs) or _page_of(find_run(names[0], runs, screen), runs)
    opened = bool(config.open) and _has_screen() and webbrowser.open(page.resolve().as_uri())
    screen.path(f"{'Opened in your browser' if opened else 'Open in a browser'}: {page}")
    return 0


def _live_page(name: str, runs: Path) -> Path | None:
    """The page of a run that is at work; None where there is none, or a run of its name has finished since."""
    folders = [Path(name), *runs_of(name, runs)]
    pages = [folder / PAGE for folder in folders if finished(folder) is None and (folder / PAGE).is_file()]
    written = {page: page.stat().st_mtime_ns for page in pages}
    latest = max((finished(folder) or 0 for folder in folders), default=0)
    return max((page for page in pages if written[page] > latest), key=lambda page: written[page], default=None)


def _page_of(folder: Path, runs: Path) -> Path:
    """The page of a run, written where there is none that is newer than its results; into ``runs`` where the run's
    folder is read-only."""
    from cloakbench.bench.report.archive import load_results
    from cloakbench.bench.report.writer import PAGE as REPORT
    from cloakbench.bench.report.writer import write_page

    page = folder / REPORT
    if page.is_file() and page.stat().st_mtime_ns >= (folder / "data" / "about.json").stat().st_mtime_ns:
        return page
    results = load_results(folder)
    try:
        return write_page(results, folder)
    except StoreError as problem:
        if problem.errno not in _READ_ONLY:
            raise
        return write_page(results, runs / folder.name)


def _has_screen() -> bool:
    """Whether a browser has somewhere to open; on a machine without a screen one for terminals would take it over."""
    named = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    return named or sys.platform in ("darwin", "win32")
