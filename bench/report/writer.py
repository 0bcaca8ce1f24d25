"""Writes a report folder: ``report.md``, ``tables/`` (Markdown, CSV, LaTeX) and ``figures/`` (PNG, PDF).

Equal results give equal bytes. Times differ between equal runs, so everything that holds one is kept in the ``cost``
table and nowhere else. Files are written under a temporary name and renamed, so a killed run leaves no half file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from cloakbench.bench.core.escape import csv, markdown
from cloakbench.bench.core.whole_file import whole_file
from cloakbench.bench.report.checks import self_checks
from cloakbench.bench.report.figures import FIGURES
from cloakbench.bench.report.index import Measured, text
from cloakbench.bench.report.labels import method_name
from cloakbench.bench.report.plotting import Skipped, figure_bytes
from cloakbench.bench.report.results import MEASUREMENT_COLUMNS, Results
from cloakbench.bench.report.table import Table, to_csv, to_latex, to_markdown
from cloakbench.bench.report.tables import build_tables
from cloakbench.bench.report.tables_facts import cost_table
from cloakbench.bench.store.store import explained

_ONLY_LINKED = ("_given_clean", "reported_differences")
"""Tables that the report links but does not print: variants of printed ones, and long ones made for computing."""
_SECTIONS = {
    "Recognisers": ("models",),
    "Methods": ("methods", "survey_table"),
    "Identification": ("identification",),
    "Reported beside measured": ("reported",),
    "Transfer": ("surrogate_target",),
    "Verification": ("verification", "thresholds"),
    "Picture quality": ("quality",),
    "Robustness": ("robustness",),
    "Poisoning": ("poisoning",),
    "Cost": ("passes",),
    "Failures": ("failures",),
}
_FIGURES_OF = {
    "Identification": ("psr_bars", "psr_ssim", "budget"),
    "Transfer": ("transfer",),
    "Picture quality": ("faces",),
    "Robustness": ("robustness",),
    "Poisoning": ("poisoning",),
}
_CAVEATS = (
    "PSR counts every probe, also those that the target misses without any protection: read each rate against the "
    "clean row, or use the tables over probes recognised clean.",
    "White-box rates say that the optimiser works. The black-box means say what protection may be expected.",
    "The networks of one run may share training data and renderer, which makes transfer look easier than it is.",
    "Rates hold for these faces, this gallery size and these networks, not for a commercial service.",
)


@dataclass(frozen=True)
class ReportFiles:
    """What was written. ``timing`` lists the files that may differ between equal runs."""

    report: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]
    timing: tuple[Path, ...]


def write_report(results: Results, folder: Path, opening: Sequence[str] = ()) -> ReportFiles:
    """Write everything under ``folder``, replacing an older report file by file.

    Args:
        results: what the report shows.
        folder: where it goes.
        opening: lines of Markdown that stand before the first table.
    """
    measured = Measured(results)
    tables = build_tables(measured)
    table_files = [path for table in tables for path in write_table(table, folder / "tables")]
    measurements = folder / "tables" / "measurements.csv"
    write_text(measurements, measurements_csv(results.measurements))
    cost = cost_table(results)
    timing = write_table(cost, folder / "tables") if cost else []
    figure_files, skipped = _write_figures(measured, folder / "figures")
    report = folder / "report.md"
    write_text(report, _report(measured, tables, skipped, opening, has_cost=cost is not None))
    return ReportFiles(report, (*table_files, measurements), tuple(figure_files), tuple(timing))


def _report(
    measured: Measured, tables: Sequence[Table], skipped: dict[str, str], opening: Sequence[str], *, has_cost: bool
) -> str:
    results = measured.results
    lines = [
        f"# {markdown(results.name)}",
        "",
        *_setup(results),
        "",
        "## Warnings",
        "",
        *_warnings(measured),
        "",
        *opening,
    ]
    for section, prefixes in _SECTIONS.items():
        shown = [table for table in tables if table.name.startswith(prefixes)]
        figures = _FIGURES_OF.get(section, ())
        if not shown and all(name in skipped for name in figures):
            continue
        lines += [f"## {section}", ""]
        for name in figures:
            lines += [f"Figure {name} left out: {markdown(skipped[name])}." if name in skipped else _figure(name), ""]
        linked = [table for table in shown if any(part in table.name for part in _ONLY_LINKED)]
        for table in shown:
            if table not in linked:
                lines += [to_markdown(table), links(table), ""]
        if linked:
            lines += ["Also measured:", "", *(f"- {markdown(table.title)}. {links(table)}" for table in linked), ""]
        if section == "Cost" and has_cost:
            lines += ["Seconds and memory on this machine: [cost.md](tables/cost.md), [csv](tables/cost.csv).", ""]
    if not any(table.name == "failures" for table in tables):
        lines += ["## Failures", "", "None: every planned cell has a value.", ""]
    lines += ["## What the numbers do and do not mean", "", *(f"- {caveat}" for caveat in _CAVEATS), ""]
    lines += ["Every measurement with its interval, n and status: [measurements.csv](tables/measurements.csv).", ""]
    return "\n".join(lines)


def _setup(results: Results) -> list[str]:
    facts = {"data": results.dataset, "manifest": results.manifest_sha256[:16], **results.setup}
    return [
        "## Setup",
        "",
        *(f"- {markdown(key.replace('_', ' '))}: {markdown(str(value))}" for key, value in facts.items()),
    ]


def _warnings(measured: Measured) -> list[str]:
    """Self-checks, then what methods say of themselves and metrics of cells that do have a value."""
    results = measured.results
    frame = results.measurements[(results.measurements["status"] == "ok") & results.measurements["value"].notna()]
    of_methods = zip(results.methods["key"], results.methods["notes"], strict=True)
    of_cells = zip(frame["method"], frame["note"], strict=True)
    notes = {f"{method_name(m)}: {text(note)}" for m, note in (*of_methods, *of_cells) if text(note)}
    lines = [f"- {markdown(line)}." for line in (*self_checks(measured), *sorted(notes))]
    return lines or ["None of the self-checks found anything."]


def _figure(name: str) -> str:
    return f"![{name}](figures/{name}.png)\n\n{FIGURES[name][1]} [PDF](figures/{name}.pdf)"


def links(table: Table) -> str:
    """The files of a table, as the report names them."""
    return f"[Markdown](tables/{table.name}.md), [CSV](tables/{table.name}.csv), [LaTeX](tables/{table.name}.tex)"


def measurements_csv(measurements: pd.DataFrame, settings: Sequence[str] = ()) -> str:
    """All rows in a fixed order, whatever order the store gave them in; ``settings`` are further columns."""
    frame = measurements.loc[:, [*MEASUREMENT_COLUMNS, *settings]]
    cell = ["protocol", "metric", "method", "epsilon_255", "surrogate", "target", "transform"]
    return frame_csv(frame.sort_values([*cell, *settings]))


def frame_csv(frame: pd.DataFrame) -> str:
    """A frame as CSV in which no text is a formula to a spreadsheet."""
    texts = frame.map(lambda value: csv(value) if isinstance(value, str) else value)
    return texts.to_csv(index=False, lineterminator="\n")


def write_table(table: Table, folder: Path) -> list[Path]:
    """A table as Markdown, CSV and LaTeX."""
    texts = {".md": to_markdown(table), ".csv": to_csv(table), ".tex": to_latex(table)}
    paths = [folder / f"{table.name}{suffix}" for suffix in texts]
    for path, content in zip(paths, texts.values(), strict=True):
        write_text(path, content)
    return paths


def _write_figures(measured: Measured, folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Figure files, and the reason for each figure that was left out."""
    paths: list[Path] = []
    skipped: dict[str, str] = {}
    for name, (draw, _) in FIGURES.items():
        drawing = draw(measured)
        if isinstance(drawing, Skipped):
            skipped[name] = drawing.reason
            continue
        for suffix in (".png", ".pdf"):
            paths.append(write_figure(drawing, folder / f"{name}{suffix}"))
    return paths, skipped


def write_figure(figure: Figure, path: Path) -> Path:
    """A figure as the file's suffix says."""
    _replace(path, figure_bytes(figure, path.suffix))
    return path


def write_text(path: Path, content: str) -> None:
    """Replace a file as a whole: it is the old one or the new one, never half of either.

    Raises:
        StoreError: it cannot be written; one line saying why.
    """
    _replace(path, content.encode("utf-8", "backslashreplace"))


def _replace(path: Path, content: bytes) -> None:
    with explained(path.parent, "paths.results"), whole_file(path) as file:
        file.write(content)
