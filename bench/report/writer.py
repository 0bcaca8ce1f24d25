"""Writes a report folder: ``report.md``, ``tables/`` (Markdown, CSV, LaTeX) and ``figures/`` (PNG, PDF).

Equal results give equal bytes. Times differ between equal runs, so everything that holds one is kept in the ``cost``
table and nowhere else. Files are written under a temporary name and renamed, so a killed run leaves no half file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from cloakbench.bench.core.escape import csv, markdown
from cloakbench.bench.core.files.whole_file import whole_file
from cloakbench.bench.core.status import OK
from cloakbench.bench.report.contents import contents
from cloakbench.bench.report.drawing.plotting import Skipped, figure_bytes
from cloakbench.bench.report.drawing.styles import STYLES, FigureStyle, styled_bytes
from cloakbench.bench.report.estimate import records, text
from cloakbench.bench.report.index import Measured, Run
from cloakbench.bench.report.opening.findings import findings
from cloakbench.bench.report.opening.leads import Lead, leads
from cloakbench.bench.report.opening.ranking_table import ranking_table
from cloakbench.bench.report.reporters import reporters, self_checks
from cloakbench.bench.report.results import MEASUREMENT_COLUMNS, Results
from cloakbench.bench.report.section import FigureSpec, Reporter, Section
from cloakbench.bench.report.table import Table
from cloakbench.bench.report.table_text import to_csv, to_latex, to_markdown
from cloakbench.bench.report.tables_facts import cost_table, failures_table
from cloakbench.bench.store.errors import explained

PAPER = STYLES["paper"]


@dataclass(frozen=True)
class ReportFiles:
    """What was written. ``timing`` lists the files that may differ between equal runs."""

    report: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]
    timing: tuple[Path, ...]


def write_report(results: Results, folder: Path, *, figures: bool = True, style: FigureStyle = PAPER) -> ReportFiles:
    """Write everything under ``folder``, replacing an older report file by file; without figures on request."""
    measured, asked = Measured(results), reporters(results)
    leading = leads(measured, asked)
    ranking = ranking_table(measured, leading)
    sections, table_files, figure_files = write_sections(
        contents(measured, asked), folder, figures=figures, style=style
    )
    table_files += write_table(ranking, folder / "tables") if ranking else []
    measurements = folder / "tables" / "measurements.csv"
    write_text(measurements, measurements_csv(results.measurements))
    cost = cost_table(measured)
    timing = write_table(cost, folder / "tables") if cost else []
    warnings = _warnings(measured, asked)
    ranked = ["## Ranking", "", to_markdown(ranking), links(ranking), ""] if ranking else []
    body = [*_setup(results), "", "## Warnings", "", *(warnings or [_NOTHING_FOUND]), "", *ranked, *sections]
    body += _caveats(leading)
    failures = failures_table(measured)
    found = findings(measured, leading, len(failures.rows) if failures else 0, len(warnings))
    lines = [f"# {markdown(results.name)}", "", "## Findings", "", *found, "", *_table_of_contents(body), *body]
    lines += ["Every measurement with its interval, n and status: [measurements.csv](tables/measurements.csv).", ""]
    report = folder / "report.md"
    write_text(report, "\n".join(lines))
    return ReportFiles(report, (*table_files, measurements), tuple(figure_files), tuple(timing))


def write_sections(
    sections: Sequence[Section], folder: Path, *, figures: bool = True, style: FigureStyle = PAPER
) -> tuple[list[str], list[Path], list[Path]]:
    """Write tables and figures of sections under ``folder``; figures are left out on request.

    Returns:
        The lines of the report that hold or name them, their tables' files, and their figures' files.
    """
    tables = [
        path
        for section in sections
        for table in (*section.tables, *section.linked)
        for path in write_table(table, folder / "tables")
    ]
    drawn, skipped = _write_figures(sections, folder / "figures", style) if figures else ([], _none_drawn(sections))
    lines = []
    for section in sections:
        if section.tables or section.linked or section.closing or any(f.name not in skipped for f in section.figures):
            lines += _section(section, skipped, style)
    return lines, tables, drawn


_NOTHING_FOUND = "None of the self-checks found anything."


def _table_of_contents(body: Sequence[str]) -> list[str]:
    """Links to the sections, as GitHub names their places."""
    headings = [line.removeprefix("## ") for line in body if line.startswith("## ")]
    seen: dict[str, int] = {}
    lines = []
    for heading in headings:
        place = re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        again = seen.setdefault(place, 0)
        seen[place] += 1
        lines.append(f"- [{heading}](#{place}{f'-{again}' if again else ''})")
    return ["## Contents", "", *lines, ""]


def _caveats(leading: Sequence[Lead]) -> list[str]:
    """What protocols say of their numbers, each sentence once."""
    told = dict.fromkeys(caveat for lead in leading for caveat in lead.headline.caveats)
    if not told:
        return []
    return ["## What the numbers do and do not mean", "", *(f"- {markdown(caveat)}" for caveat in told), ""]


def _section(section: Section, skipped: dict[str, str], style: FigureStyle) -> list[str]:
    lines = [f"## {markdown(section.title)}", ""]
    for figure in section.figures:
        why = skipped.get(figure.name)
        lines += [_figure(figure, style) if why is None else f"Figure {figure.name} left out: {markdown(why)}.", ""]
    for table in section.tables:
        lines += [to_markdown(table), links(table), ""]
    if section.linked:
        named = (f"- {markdown(table.title)}. {links(table)}" for table in section.linked)
        lines += ["Also measured:", "", *named, ""]
    return [*lines, section.closing, ""] if section.closing else lines


def _setup(results: Results) -> list[str]:
    facts = {"data": results.dataset, "manifest": results.manifest_sha256[:16], **results.setup}
    return [
        "## Setup",
        "",
        *(f"- {markdown(key.replace('_', ' '))}: {markdown(str(value))}" for key, value in facts.items()),
    ]


def _warnings(measured: Measured, asked: Sequence[Reporter]) -> list[str]:
    """Self-checks, then what methods say of themselves and metrics of cells that do have a value."""
    results = measured.results
    frame = results.measurements.loc[(results.measurements["status"] == OK) & results.measurements["value"].notna()]
    of_methods = ((row, line["notes"]) for row, line in measured.methods.items())
    of_cells = ((Run.of(line).method, line["note"]) for line in records(frame))
    notes = {f"{measured.title(row)}: {text(note)}" for row, note in (*of_methods, *of_cells) if text(note)}
    return [f"- {markdown(line)}." for line in (*self_checks(measured, asked), *sorted(notes))]


def _figure(figure: FigureSpec, style: FigureStyle) -> str:
    name, vector = figure.name, style.vector
    kind = vector.removeprefix(".").upper()
    return f"![{name}](figures/{name}.png)\n\n{figure.caption} [{kind}](figures/{name}{vector})"


def links(table: Table) -> str:
    """The files of a table, as the report names them."""
    return f"[Markdown](tables/{table.name}.md), [CSV](tables/{table.name}.csv), [LaTeX](tables/{table.name}.tex)"


def measurements_csv(measurements: pd.DataFrame) -> str:
    """All rows in a fixed order, whatever order the store gave them in."""
    frame = measurements.loc[:, list(MEASUREMENT_COLUMNS)]
    cell = ["protocol", "metric", "method", "variant", "epsilon_255", "surrogate", "judge", "condition"]
    return frame_csv(frame.sort_values(cell))


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


def _write_figures(sections: Sequence[Section], folder: Path, style: FigureStyle) -> tuple[list[Path], dict[str, str]]:
    """Figure files, and the reason for each figure that was left out."""
    paths: list[Path] = []
    skipped: dict[str, str] = {}
    for figure in (figure for section in sections for figure in section.figures):
        drawing = figure.draw()
        if isinstance(drawing, Skipped):
            skipped[figure.name] = drawing.reason
            continue
        for suffix in style.suffixes:
            paths.append(write_figure(drawing, folder / f"{figure.name}{suffix}", style))
    return paths, skipped


def _none_drawn(sections: Sequence[Section]) -> dict[str, str]:
    why = "report.figures is false; cloakbench report with the name of the run draws it"
    return {figure.name: why for section in sections for figure in section.figures}


def write_figure(figure: Figure, path: Path, style: FigureStyle = PAPER) -> Path:
    """A figure as the file's suffix says."""
    drawn = style == PAPER
    _replace(path, figure_bytes(figure, path.suffix) if drawn else styled_bytes(figure, path.suffix, style))
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
