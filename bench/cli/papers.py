"""``cloakbench papers``: every table and figure of finished runs for a paper, and an index of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cloakbench.bench.cli.report import find_run
from cloakbench.bench.config.checks.setting_checks import check_values
from cloakbench.bench.config.compose import compose_config, split_config_dirs
from cloakbench.bench.config.flags import is_name
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.screen import Screen


def main(words: Sequence[str]) -> int:
    """``cloakbench papers [RUN ...] [columns=[KEY,...]] [report.style=paper|slides|screen]``: the named runs, or all
    finished ones.

    Raises:
        ConfigError: there is no finished run, or none of that name.
        StoreError: the folder cannot be written.
    """
    from cloakbench.bench.report.archive import load_results
    from cloakbench.bench.report.drawing.styles import figure_style
    from cloakbench.bench.report.papers.store import PaperRun, write_papers

    config_dirs, rest = split_config_dirs(words)
    config = compose_config([word for word in rest if not is_name(word)], "papers", config_dirs)
    check_values(config)
    runs, screen = Path(config.paths.runs), Screen()
    names = [word for word in rest if is_name(word)]
    folders = [find_run(name, runs, screen) for name in names] if names else finished(runs)
    if not folders:
        raise ConfigError(
            f"there is no finished run in {runs}: run an experiment first, such as cloakbench experiment=smoke"
        )
    told = [PaperRun(folder.name, load_results(folder)) for folder in dict.fromkeys(folders)]
    index = write_papers(told, Path(config.paths.papers), figure_style(config.report.style), list(config.columns))
    screen.path(f"Tables and figures of {len(told)} run{'s' * (len(told) != 1)} written: {index}")
    return 0


def finished(runs: Path) -> list[Path]:
    """Folders of finished runs, by name."""
    return sorted(path.parents[1] for path in runs.glob("*/data/about.json"))
