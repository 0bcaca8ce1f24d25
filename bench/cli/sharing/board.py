"""``cloakbench board``: a static site that ranks the methods of several runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cloakbench.bench.cli.report import find_run
from cloakbench.bench.config.checks.setting_checks import check_values
from cloakbench.bench.config.compose import compose_config, split_config_dirs
from cloakbench.bench.config.flags import is_name
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.files.regular_file import read_regular
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.report.archive import load_results
from cloakbench.bench.sharing.divisions import KeptRun
from cloakbench.bench.sharing.package import ABOUT
from cloakbench.bench.sharing.site import page_name, write_site


def main(words: Sequence[str]) -> int:
    """``cloakbench board [RUN ...] output=FOLDER``.

    Raises:
        ConfigError: no place for the site is named, something else is there, or there is no run.
    """
    config_dirs, rest = split_config_dirs(words)
    config = compose_config([word for word in rest if not is_name(word)], "board", config_dirs)
    check_values(config)
    if config.output is None:
        raise ConfigError("set output=FOLDER, where the pages go")
    output = Path(str(config.output)).expanduser()
    if output.exists() and not (output / "board.json").is_file() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"{output} holds something that is no board: set output=FOLDER to a new one")
    screen = Screen()
    names = [word for word in rest if is_name(word)]
    folders = [find_run(name, Path(config.paths.runs), screen) for name in names]
    if not names:
        kept = [Path(config.paths.reference), Path(config.paths.handed_in)]
        folders = [
            path for place in kept for path in sorted(place.glob("*")) if (path / "data" / "about.json").is_file()
        ]
    if not folders:
        raise ConfigError(f"name a run: none is kept in {config.paths.reference} or {config.paths.handed_in}")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError(f"{' and '.join(names)} name one run twice")
    runs: list[KeptRun] = []
    for folder in folders:
        runs.append(_read(folder, [run.name for run in runs]))
    screen.path(f"Board of {len(runs)} run{'s' * (len(runs) != 1)} written: {write_site(runs, output)}")
    return 0


def _read(folder: Path, taken: Sequence[str]) -> KeptRun:
    """A run under a name of its own: that of its folder, with a number where another run has it."""
    name = first = folder.resolve().name
    number = 2
    while page_name(name) in map(page_name, taken):
        name, number = f"{first} ({number})", number + 1
    environment, about, submission = (_json(folder / path) for path in ("environment.json", "data/about.json", ABOUT))
    return KeptRun(
        name, load_results(folder), environment, str(submission.get("note", "")), dict(about.get("sha256", {}))
    )


def _json(path: Path) -> dict:
    """An object in a file; an empty one where there is none."""
    try:
        found = json.loads(read_regular(path))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
