"""Writes the report of a multirun: its own table and curves, and the tables of its parts.

Runs that share tables are one report, which opens with the table and the curves of the sweep. Where there are several
parts, such as seeds or data sets, the sweep's report holds these and names the report of each part.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cloakbench.bench.core.axes import row_name, variant_text
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.report.sweeps.parts import Part, Sweep, all_measurements
from cloakbench.bench.report.sweeps.section import variants_section
from cloakbench.bench.report.sweeps.tables import sweep_tables
from cloakbench.bench.report.table import Table
from cloakbench.bench.report.terminal import summary, table_on_screen
from cloakbench.bench.report.writer import measurements_csv, write_report, write_sections, write_text


def write_sweep(sweep: Sweep, runs: Sequence[Path], folder: Path) -> list[Table]:
    """Write the report of a multirun under ``folder``.

    Args:
        sweep: the arranged runs.
        runs: the folder of each run, in the order of the jobs.
        folder: where the report goes.

    Returns:
        The tables over the whole multirun; none where methods and budgets are all that differs.
    """
    if len(sweep.parts) == 1:
        write_report(sweep.parts[0].results, folder)
        return sweep_tables(sweep)
    section = variants_section(sweep)
    own = write_sections([section], folder).lines
    listed = [_part_line(part, number, runs, folder) for number, part in enumerate(sweep.parts)]
    write_text(folder / "report.md", "\n".join(_frame(sweep, own, listed)))
    write_text(folder / "tables" / "measurements.csv", measurements_csv(all_measurements(sweep)))
    return list(section.tables)


def show_sweep(sweep: Sweep, tables: Sequence[Table], screen: Screen) -> None:
    """Print what a multirun came to: the summary of its one part, or the tables over its parts."""
    if len(sweep.parts) == 1:
        screen.print(summary(sweep.parts[0].results))
    for table in tables:
        if len(sweep.parts) > 1 or table.name.endswith("_seeds"):
            screen.print(table_on_screen(table))


def _part_name(part: Part) -> str:
    """The experiment's name and what sets the part apart: ``smoke (seed=0)``."""
    return row_name(part.results.name, variant_text(part.settings))


def _part_line(part: Part, number: int, runs: Sequence[Path], folder: Path) -> str:
    """Where the tables of a part are: in the report of its run, or in one over its runs, which is written."""
    name = _part_name(part)
    if len(part.jobs) == 1:
        place = Path(os.path.relpath(runs[part.jobs[0]], folder))
    else:
        told = re.sub(r"[^\w.+-]+", "_", variant_text(part.settings)).strip("_")[:60]
        place = Path(f"part{number}" + (f"_{told}" if told else ""))
        write_report(replace(part.results, name=name), folder / place)
    setup = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in part.results.setup.items() if value != "")
    return f"- [{name}](<{place.as_posix()}/report.md>): {part.results.dataset}, {setup}"


def _frame(sweep: Sweep, own: Sequence[str], parts: Sequence[str]) -> list[str]:
    names = dict.fromkeys(part.results.name for part in sweep.parts)
    return [
        f"# {' + '.join(names)}",
        "",
        "The runs of this sweep differ in more than methods and their settings: photos, targets or statistics. They "
        "share no table but the sweep's own, each row of which is of one setup.",
        "",
        *own,
        "## Reports of the parts",
        "",
        *parts,
        "",
        "Every measurement with its interval, n and status: [measurements.csv](tables/measurements.csv).",
        "",
    ]
