"""``cloakbench report``: a finished run's report again, or one report over several runs."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from cloakbench.bench.composition import compose_config
from cloakbench.bench.report.inputs import Results
from cloakbench.bench.store import StoreError

_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def main(words: Sequence[str]) -> int:
    """``cloakbench report RUN [RUN ...]``: write the report of a run again, or one report over several runs."""
    from cloakbench.bench.archive import load_results
    from cloakbench.bench.report.sweep import combine
    from cloakbench.bench.report.terminal import summary

    folders = [_run_folder(word) for word in words]
    if not folders:
        raise ValueError("name a run: cloakbench report RUN; finished runs are in results/runs")
    loaded = [load_results(folder) for folder in folders]
    results = loaded[0] if len(loaded) == 1 else combine(loaded)
    target = (
        folders[0] if len(folders) == 1 else folders[0].parent / ("+".join(folder.name for folder in folders))[:120]
    )
    console = Console()
    console.print(summary(results))
    said = _write(results, target, is_run=len(folders) == 1)
    console.print(said, soft_wrap=True, highlight=False)
    return 0


def _write(results: Results, target: Path, *, is_run: bool) -> str:
    """Write a report, into the runs folder where ``target`` is another's or read-only; returns what was done.

    Raises:
        StoreError: neither can be written to, and there is no current report.
    """
    from cloakbench.bench.archive import is_current, publish
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
        elsewhere = Path(compose_config([]).paths.runs) / target.name
        if elsewhere.resolve() == target.resolve():
            raise
        write_report(results, elsewhere)
        return f"Report written: {elsewhere / 'report.md'} ({target} cannot be written to)"


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
