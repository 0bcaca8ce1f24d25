"""`write_papers`: every table and figure of finished runs, as a paper takes them over, and `index.html` over all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cloakbench.bench.core.escape import latex
from cloakbench.bench.report.contents import contents
from cloakbench.bench.report.drawing.plotting import Skipped
from cloakbench.bench.report.drawing.styles import FigureStyle
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.opening.leads import leads
from cloakbench.bench.report.opening.ranking_table import ranking_table
from cloakbench.bench.report.papers.latex import PREAMBLE, chosen, paper_latex
from cloakbench.bench.report.papers.page import RunPart, index_page
from cloakbench.bench.report.reporters import reporters
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.section import Section
from cloakbench.bench.report.table import Table
from cloakbench.bench.report.table_text import to_csv
from cloakbench.bench.report.tables_facts import cost_table
from cloakbench.bench.report.writer import write_figure, write_text

ALL_TABLES = "all.tex"
"""A document with all tables of a run: what a paper's text would be around them."""


@dataclass(frozen=True)
class PaperRun:
    """A finished run: the name of its folder, and what it measured."""

    folder: str
    results: Results


def write_papers(runs: Sequence[PaperRun], folder: Path, style: FigureStyle, columns: Sequence[str] = ()) -> Path:
    """Write ``folder/RUN/`` with a ``.tex`` and a ``.csv`` for each table, figures, and ``all.tex``; returns the index.

    Args:
        runs: in the order of the index.
        folder: where everything goes.
        style: of the figures.
        columns: patterns of keys of columns to keep; a table without any is left out.

    Raises:
        StoreError: the folder cannot be written; one line saying why.
    """
    parts = [_write_run(run, folder, style, columns) for run in runs]
    index = folder / "index.html"
    write_text(index, index_page(parts))
    return index


def _write_run(run: PaperRun, folder: Path, style: FigureStyle, columns: Sequence[str]) -> RunPart:
    measured = Measured(run.results)
    asked = reporters(run.results)
    sections = list(contents(measured, asked))
    every = [ranking_table(measured, leads(measured, asked)), *_tables(sections), cost_table(measured)]
    tables = [kept for table in every if table is not None and (kept := chosen(table, columns)) is not None]
    place = folder / run.folder
    for table in tables:
        write_text(place / f"{table.name}.tex", paper_latex(table))
        write_text(place / f"{table.name}.csv", to_csv(table))
    write_text(place / ALL_TABLES, document(run.results.name, tables))
    figures = []
    for figure in (figure for section in sections for figure in section.figures):
        drawing = figure.draw()
        if isinstance(drawing, Skipped):
            continue
        for suffix in style.suffixes:
            write_figure(drawing, place / f"{figure.name}{suffix}", style)
        figures.append((figure.name, figure.caption))
    return RunPart(run.folder, run.results, tuple(tables), tuple(figures), style.vector)


def _tables(sections: Sequence[Section]) -> list[Table]:
    return [table for section in sections for table in (*section.tables, *section.linked)]


def document(name: str, tables: Sequence[Table]) -> str:
    """A document of two columns that reads every table from its own file."""
    lines = [r"\documentclass[twocolumn]{article}", r"\usepackage[letterpaper,margin=0.75in]{geometry}", *PREAMBLE]
    lines += [r"\begin{document}", rf"\section*{{{latex(name)}}}"]
    lines += [rf"\input{{{table.name}}}\clearpage" for table in tables]
    return "\n".join([*lines, r"\end{document}", ""])
