"""After a multirun: one report over all its runs.

Each job leaves a note in its own folder, whatever launcher ran it and in whichever process; the notes are read when
all jobs are over.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from cloakbench.bench.archive import load_results

log = logging.getLogger(__name__)

_RUN, _ERROR = "run.txt", "error.txt"


def record_run(job_folder: Path, run_folder: Path) -> None:
    """Note which run a job of the sweep made."""
    job_folder.mkdir(parents=True, exist_ok=True)
    (job_folder / _RUN).write_text(f"{run_folder.resolve()}\n", encoding="utf-8")


def record_error(job_folder: Path, reason: str) -> None:
    """Note why a job of the sweep failed."""
    job_folder.mkdir(parents=True, exist_ok=True)
    (job_folder / _ERROR).write_text(f"{reason}\n", encoding="utf-8")


def combine_sweep(folder: Path) -> int:
    """Write one combined report of a finished sweep into its folder; exit status 1 when a job failed."""
    from rich.console import Console

    from cloakbench.bench.report.sweep import combine
    from cloakbench.bench.report.terminal import summary
    from cloakbench.bench.report.writer import write_report

    jobs = sorted((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    errors = [path for path in jobs if (path / _ERROR).exists()]
    runs = [Path((path / _RUN).read_text(encoding="utf-8").strip()) for path in jobs if (path / _RUN).exists()]
    if runs:
        results = combine([load_results(run) for run in dict.fromkeys(runs)])
        write_report(results, folder)
        console = Console()
        console.print(summary(results))
        console.print(f"Combined report written: {folder / 'report.md'}", soft_wrap=True, highlight=False)
    for path in errors:
        reason = (path / _ERROR).read_text(encoding="utf-8").strip()
        sys.stderr.write(f"error: sweep job {path.name}: {reason}\n")
    return 1 if errors or not runs else 0
