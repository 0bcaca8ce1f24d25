"""``cloakbench report``: a finished run's report again, or one report over several runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from cloakbench.bench.composition import compose_config


def main(words: Sequence[str]) -> int:
    """``cloakbench report RUN [RUN ...]``: write the report of a run again, or one report over several runs."""
    from cloakbench.bench.archive import load_results, mark_current
    from cloakbench.bench.report.sweep import combine
    from cloakbench.bench.report.terminal import summary
    from cloakbench.bench.report.writer import write_report

    folders = [_run_folder(word) for word in words]
    if not folders:
        raise ValueError("name a run: cloakbench report RUN; finished runs are in results/runs")
    loaded = [load_results(folder) for folder in folders]
    results = loaded[0] if len(loaded) == 1 else combine(loaded)
    target = (
        folders[0] if len(folders) == 1 else folders[0].parent / ("+".join(folder.name for folder in folders))[:120]
    )
    write_report(results, target)
    if len(folders) == 1:
        mark_current(results, target)
    console = Console()
    console.print(summary(results))
    console.print(f"Report written: {target / 'report.md'}", soft_wrap=True, highlight=False)
    return 0


def _run_folder(word: str) -> Path:
    """A run given as a folder, as its name in the runs folder, or as the start of that name."""
    if Path(word).is_dir():
        return Path(word)
    runs = Path(compose_config([]).paths.runs)
    matches = sorted(runs.glob(f"{word}*"), key=lambda path: path.stat().st_mtime) if runs.is_dir() else []
    if not matches:
        known = ", ".join(sorted(path.name for path in runs.iterdir())) if runs.is_dir() else "none yet"
        raise ValueError(f"there is no run {word!r} in {runs} (there are: {known})")
    return matches[-1]
