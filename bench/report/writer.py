"""Writes a report folder: ``report.md``, ``report.html``, ``tables/`` (Markdown, CSV, LaTeX), ``figures/`` (PNG, PDF).

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
from cloakbench.bench.report.contents import WholeReport
from cloakbench.bench.report.drawing.plotting import Skipped, figure_bytes, holds_photos
from cloakbench.bench.report.drawing.styles import STYLES, FigureStyle, styled_bytes
from cloakbench.bench.report.html.gallery import full_size_photos
from cloakbench.bench.report.html.page import page
from cloakbench.bench.report.opening.findings import findings_markdown
from cloakbench.bench.report.results import MEASUREMENT_COLUMNS, Results
from cloakbench.bench.report.section import FigureSpec, Section
from cloakbench.bench.report.table import Table
from cloakbench.bench.report.table_text import to_csv, to_latex, to_markdown
from cloakbench.bench.store.errors import explained

PAGE = "report.html"
"""Name of the page beside ``report.md``."""

PAPER = STYLES["paper"]


@dataclass(frozen=True)
class ReportFiles:
    """What was written; the page and its photos are among ``figures``, ``timing`` may differ between equal runs."""

    report: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]
    timing: tuple[Path, ...]


def write_report(results: Results, folder: Path, *, figures: bool = True, style: FigureStyle = PAPER) -> ReportFiles:
    """Write everything under ``folder``, replacing an older report file by file; without figures on request."""
    report = WholeReport.of(results)
    written = write_sections(report.sections, folder, figures=figures, style=style)
    ranked = write_table(report.ranking, folder / "tables") if report.ranking else []
    measurements = folder / "tables" / "measurements.csv"
    write_text(measurements, measurements_csv(results.measurements))
    timing = write_table(report.cost, folder / "tables") if report.cost else []
    path = folder / "report.md"
    write_text(path, "\n".join(_markdown(report, written.lines)))
    pictures = _write_page(report, written, folder)
    tables = (*written.tables, *ranked, measurements)
    return ReportFiles(path, tables, (*written.figures, *pictures), tuple(timing))


def write_page(results: Results, folder: Path) -> Path:
    """Write the page alone, and its photos; returns its path. Links to tables lead to files that may lie there."""
    report = WholeReport.of(results)
    drawn, skipped = {}, {}
    for figure in (figure for section in report.sections for figure in section.figures):
        drawing = figure.draw()
        if isinstance(drawing, Skipped):
            skipped[figure.name] = drawing.reason
        elif not holds_photos(drawing):
            drawn[figure.name] = figure_bytes(drawing, ".svg")
    return _write_page(report, Written([], [], [], drawn, skipped), folder)[0]


def _write_page(report: WholeReport, written: Written, folder: Path) -> list[Path]:
    """``report.html`` and the photos beside it; returns their paths."""
    paths = [folder / name for name, _ in full_size_photos(report.measured.results.examples)]
    for path, (_, content) in zip(paths, full_size_photos(report.measured.results.examples), strict=True):
        _replace(path, content)
    write_text(folder / PAGE, page(report, written.drawn, written.skipped))
    return [folder / PAGE, *paths]


def _markdown(report: WholeReport, sections: Sequence[str]) -> list[str]:
    """The lines of the report around those of its sections."""
    setup = [f"- {markdown(key)}: {markdown(value)}" for key, value in report.setup.items()]
    warnings = [f"- {markdown(line)}." for line in report.warnings] or [_NOTHING_FOUND]
    ranking = report.ranking
    ranked = ["## Ranking", "", to_markdown(ranking), links(ranking), ""] if ranking else []
    body = ["## Setup", "", *setup, "", "## Warnings", "", *warnings, "", *ranked, *sections]
    if report.caveats:
        told = [f"- {markdown(caveat)}" for caveat in report.caveats]
        body += ["## What the numbers do and do not mean", "", *told, ""]
    head = [f"# {markdown(report.measured.results.name)}", "", "## Findings", "", *findings_markdown(report.findings)]
    every = "Every measurement with its interval, n and status: [measurements.csv](tables/measurements.csv)."
    return [*head, "", *_table_of_contents(body), *body, every, ""]


@dataclass(frozen=True)
class Written:
    """What was written of sections.

    Attributes:
        lines: of the report, which hold or name it.
        tables: their files.
        figures: their files.
        drawn: figures as SVG, by name; those that hold photos are left to their files.
        skipped: why others were left out.
    """

    lines: list[str]
    tables: list[Path]
    figures: list[Path]
    drawn: dict[str, bytes]
    skipped: dict[str, str]


def write_sections(
    sections: Sequence[Section], folder: Path, *, figures: bool = True, style: FigureStyle = PAPER
) -> Written:
    """Write tables and figures of sections under ``folder``; figures are left out on request."""
    tables = [
        path
        for section in sections
        for table in (*section.tables, *section.linked)
        for path in write_table(table, folder / "tables")
    ]
    paths, drawn, skipped = [], {}, _none_drawn(sections)
    if figures:
        paths, drawn, skipped = _write_figures(sections, folder / "figures", style)
    lines = []
    for section in sections:
        if section.tables or section.linked or section.closing or any(f.name not in skipped for f in section.figures):
            lines += _section(section, skipped, style)
    return Written(lines, tables, paths, drawn, skipped)


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


def _write_figures(
    sections: Sequence[Section], folder: Path, style: FigureStyle
) -> tuple[list[Path], dict[str, bytes], dict[str, str]]:
    """Figure files, the figures as SVG by name, and the reason for each that was left out."""
    paths: list[Path] = []
    drawn: dict[str, bytes] = {}
    skipped: dict[str, str] = {}
    for figure in (figure for section in sections for figure in section.figures):
        drawing = figure.draw()
        if isinstance(drawing, Skipped):
            skipped[figure.name] = drawing.reason
            continue
        for suffix in style.suffixes:
            paths.append(write_figure(drawing, folder / f"{figure.name}{suffix}", style))
        if not holds_photos(drawing):
            drawn[figure.name] = figure_bytes(drawing, ".svg")
    return paths, drawn, skipped


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
