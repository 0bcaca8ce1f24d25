"""A multirun: its jobs on any launcher, then one report over all its runs.

Each job leaves a note in its own folder, whatever launcher ran it and in whichever process; the notes are read when
all jobs are over.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException

from cloakbench.bench.cli.running.show import call_hydra
from cloakbench.bench.cli.running.sweep_jobs import check_sweep, sweep_jobs
from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.config.given import note_given, take_out
from cloakbench.bench.config.kept import strip_kept_sweep
from cloakbench.bench.config.plug_ins import make_importable
from cloakbench.bench.config.values import as_typed, quoted
from cloakbench.bench.core.errors import one_line, reason_of
from cloakbench.bench.core.escape import terminal
from cloakbench.bench.core.redaction import without_secrets
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.experiment.dry_run import describe_work
from cloakbench.bench.report.archive import load_results

log = logging.getLogger(__name__)

_NOTE = "job.json"


@dataclass(frozen=True)
class Note:
    """What a job leaves behind.

    Attributes:
        overrides: what it was called with.
        method: key of the method that was chosen, if one was.
        run: folder of its run; None if it made none.
        problems: what went wrong, a line each.
    """

    overrides: tuple[str, ...]
    method: str | None = None
    run: str | None = None
    problems: tuple[str, ...] = field(default=())


def run_sweep(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> int:
    """Run every job of a multirun, then write and show the report over all of them.

    Returns:
        Exit status: 1 when a job failed.

    Raises:
        ConfigError: a value does not fit, or the launcher is not installed; no job has begun.
    """
    first, count = check_sweep(overrides, config_dirs)
    if first.runtime.dry_run:
        for job in sweep_jobs(overrides, config_dirs):
            Screen().path(f"{' '.join(job)}: {describe_work(compose_config(job, config_dirs=config_dirs))}")
        return 0
    folder = new_folder(Path(first.paths.results).absolute() / "sweeps")
    where = quoted(str(folder).replace("${", "\\${"))
    words = [as_typed(word, sweeping=True) for word in overrides]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)  # launchers start new interpreters
    try:
        call_hydra(["--multirun", *words, f"hydra.sweep.dir={where}"], config_dirs, "config", run_job)
    except Exception as problem:
        if os.environ.get("CLOAKBENCH_DEBUG"):
            raise
        log.warning("the launcher ended early: %s", reason_of(problem))
    strip_kept_sweep(folder)
    return combine_sweep(folder, count)


def new_folder(parent: Path) -> Path:
    """A folder for a sweep that no other sweep has, named by the time.

    Raises:
        OSError: it cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    name = time.strftime("%Y-%m-%d_%H-%M-%S")
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}_{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError


def run_job(config: Any) -> None:
    """One job of a sweep, in whichever process; what goes wrong is noted, so that the others still run."""
    from hydra.core.hydra_config import HydraConfig

    from cloakbench.bench.experiment.run import run

    hydra_config = HydraConfig.get()
    sources = hydra_config.runtime.config_sources
    make_importable([source.path.removeprefix("file://") for source in sources if source.schema == "file"])
    config.method_key = hydra_config.runtime.choices.get("method")
    take_out(config, hydra_config.overrides.task)
    note_given(config, hydra_config.overrides.task)
    overrides = tuple(map(without_secrets, hydra_config.overrides.task))
    folder = Path(hydra_config.runtime.output_dir)
    for logger in config.logger.values():
        if "group" in logger and logger.group is None:  # loggers that know of groups see the jobs of a sweep as one
            logger.group = folder.parent.name
    log.info("sweep job %s: %s", hydra_config.job.num, " ".join(overrides))
    try:
        outcome = run(config)
    except Exception as problem:
        if os.environ.get("CLOAKBENCH_DEBUG"):
            raise
        write_note(folder, Note(overrides, config.method_key, None, (without_secrets(one_line(problem)),)))
        return
    note = Note(overrides, config.method_key, str(outcome.folder.resolve()), tuple(outcome.problems))
    write_note(folder, note)


def write_note(job_folder: Path, note: Note) -> None:
    """Leave a job's note."""
    job_folder.mkdir(parents=True, exist_ok=True)
    (job_folder / _NOTE).write_text(json.dumps(asdict(note), indent=1) + "\n", encoding="utf-8")


def read_notes(folder: Path, count: int) -> Iterator[tuple[int, Note]]:
    """The notes of all jobs; a job without one did not come to its end."""
    for number in range(count):
        path = folder / str(number) / _NOTE
        try:
            about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            yield number, Note((), problems=("did not come to its end; what its process printed says why",))
            continue
        yield (
            number,
            Note(tuple(about["overrides"]), about["method"], about["run"], tuple(about["problems"])),
        )


def settings_of(overrides: Sequence[str]) -> dict[str, Any]:
    """What overrides set: setting to value. One whose secret was cut out may be no override any more: it is a text."""
    settings: dict[str, Any] = {}
    for word in overrides:
        try:
            one = OverridesParser.create().parse_override(word)
        except HydraException:
            key, _, text = word.partition("=")
            settings[key.lstrip("+~")] = text
            continue
        value = one.value()
        settings[one.get_key_element().lstrip("+~")] = value.text if isinstance(value, QuotedString) else value
    return settings


def combine_sweep(folder: Path, count: int) -> int:
    """Write and show one report over the finished runs of a sweep; exit status 1 when a job failed.

    Args:
        folder: of the sweep; its jobs have folders in it, named by their numbers.
        count: of jobs.
    """
    from cloakbench.bench.report.sweeps.parts import SweepJob, arrange
    from cloakbench.bench.report.sweeps.writer import show_sweep, write_sweep

    notes = dict(read_notes(folder, count))
    screen = Screen()
    common = set.intersection(*(set(note.overrides) for note in notes.values()))
    runs: dict[Path, SweepJob] = {}
    for number, note in notes.items():
        if note.run is not None:
            run = Path(note.run)
            own = ", ".join(word for word in note.overrides if word not in common)
            line = f"Job {number}{f' ({own})' if own else ''}: {run / 'report.md'}"
            screen.path(line)
            runs.setdefault(run, SweepJob(load_results(run), settings_of(note.overrides), note.method))
    if runs:
        sweep = arrange(list(runs.values()))
        tables = write_sweep(sweep, list(runs), folder)
        show_sweep(sweep, tables, screen)
        screen.path(f"Combined report written: {folder / 'report.md'}")
    failed = {number: note.problems for number, note in notes.items() if note.problems}
    for number, problems in failed.items():
        for problem in problems:
            sys.stderr.write(f"error: sweep job {number}: {terminal(without_secrets(problem))}\n")
    return 1 if failed or not runs else 0
