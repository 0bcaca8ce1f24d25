"""`to_markdown`, `to_csv` and `to_latex` (booktabs): a table as text. Equal tables give equal bytes.

A table holds plain text; what a medium would read as its own is escaped here, when the table is written.
"""

from __future__ import annotations

import csv
import io
import itertools
import math

from cloakbench.bench.core import escape
from cloakbench.bench.core.escape import latex, markdown
from cloakbench.bench.report.interval_text import GAP
from cloakbench.bench.report.table import (
    OTHER_BALL,
    SAME_FAMILY,
    SMALL,
    SOME_FAILED,
    WHITE_BOX,
    Cell,
    Column,
    Number,
    Table,
    column_groups,
)

_MARK_KEYS = {
    WHITE_BOX: "white_box",
    SAME_FAMILY: "same_family",
    SOME_FAILED: "some_failed",
    OTHER_BALL: "other_ball",
    SMALL: "small",
}


def to_markdown(table: Table) -> str:
    """A padded pipe table with caption and notes; column groups are joined into one column."""
    groups = column_groups(table.columns)
    shared = _shared_labels(groups)
    header = [table.stub, *(_markdown_header(group, shared) for group in groups)]
    lines = [list(map(markdown, header))]
    section = ""
    for row in table.rows:
        if row.section and row.section != section:
            lines.append([f"**{markdown(row.section)}**", *([""] * len(groups))])
        section = row.section
        cells = iter(row.cells)
        lines.append(
            [
                markdown(row.label),
                *(_markdown_cell(group, list(itertools.islice(cells, len(group)))) for group in groups),
            ]
        )
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(header))]
    right = [False, *(any(_is_numeric(table, table.columns.index(column)) for column in group) for group in groups)]
    rule = ["-" * (width - 1) + (":" if number else "-") for width, number in zip(widths, right, strict=True)]
    text = ["| " + " | ".join(_pad(line, widths, right)) + " |" for line in [lines[0], rule, *lines[1:]]]
    notes = [f"- {markdown(note)}" for note in table.notes]
    caption = f"**{markdown(table.title)}.** {markdown(table.caption)}"
    caption += f" Each cell: {markdown(shared)}." if shared else ""
    return "\n".join([caption, "", *text, "", *notes]).rstrip() + "\n"


def to_csv(table: Table) -> str:
    """One line a row; a column with an interval adds ``_low`` and ``_high``, a marked one ``_mark``; gaps are empty."""
    marked = [_has_marks(table, position) for position in range(len(table.columns))]
    sections = any(row.section for row in table.rows)
    header = [table.section_key] * sections + [_key(table.stub)]
    for column, has_marks in zip(table.columns, marked, strict=True):
        header += [column.key]
        header += [f"{column.key}_low", f"{column.key}_high"] * (column.interval != "none")
        header += [f"{column.key}_mark"] * has_marks
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(escape.csv, header))
    for row in table.rows:
        line = [escape.csv(text) for text in [row.section] * sections + [row.label]]
        for column, has_marks, cell in zip(table.columns, marked, row.cells, strict=True):
            number = cell if isinstance(cell, Number) else None
            line += [_csv_number(number.value, number.digits) if number else escape.csv(str(cell))]
            if column.interval != "none":
                line += [_csv_number(end, number.digits) if number else "" for end in _ends(number)]
            if has_marks:
                line += [" ".join(_MARK_KEYS[mark] for mark in number.marks) if number else ""]
        writer.writerow(line)
    return out.getvalue()


def to_latex(table: Table) -> str:
    """A ``table*`` float for booktabs and adjustbox, shrunk to the text width only when it is wider."""
    groups = column_groups(table.columns)
    span = len(table.columns) + 1
    body = []
    if any(group[0].group for group in groups):
        spans = [rf"\multicolumn{{{len(group)}}}{{c}}{{{latex(group[0].group)}}}" for group in groups]
        starts = itertools.accumulate((len(group) for group in groups), initial=2)
        rules = [
            rf"\cmidrule(lr){{{start}-{start + len(group) - 1}}}"
            for start, group in zip(starts, groups, strict=False)
            if group[0].group
        ]
        body += [" & ".join(["", *spans]) + r" \\", " ".join(rules)]
    body += [" & ".join(latex(text) for text in [table.stub, *(c.label for c in table.columns)]) + r" \\"]
    section = ""
    for position, row in enumerate(table.rows):
        if position == 0 or row.section != section:
            body.append(r"\midrule")
            if row.section:
                body.append(rf"\multicolumn{{{span}}}{{l}}{{\textit{{{latex(row.section)}}}}} \\")
        section = row.section
        cells = [_latex_cell(column, cell) for column, cell in zip(table.columns, row.cells, strict=True)]
        body.append(" & ".join([latex(row.label), *cells]) + r" \\")
    alignment = "l" + "".join("r" if _is_numeric(table, position) else "l" for position in range(len(table.columns)))
    notes = [rf"\\ {latex(note)}" for note in table.notes]
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs} and \usepackage{adjustbox}.",
            r"\begin{table*}[t]",
            r"\centering",
            rf"\caption{{{latex(table.title)}. {latex(table.caption)}}}",
            rf"\label{{tab:{table.name}}}",
            r"\begin{adjustbox}{max width=\textwidth}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{adjustbox}",
            *(
                [r"\par\smallskip\begin{minipage}{\textwidth}\footnotesize Notes.", *notes, r"\end{minipage}"]
                * bool(notes)
            ),
            r"\end{table*}",
            "",
        ]
    )


def _shared_labels(groups: list[list[Column]]) -> str:
    """``Top-1 / Top-5`` when every group of several columns has these labels, else nothing."""
    labels = {" / ".join(column.label for column in group) for group in groups if len(group) > 1}
    return labels.pop() if len(labels) == 1 else ""


def _markdown_header(group: list[Column], shared: str) -> str:
    labels = " / ".join(column.label for column in group)
    return (group[0].group if labels == shared else f"{group[0].group} {labels}").strip()


def _markdown_cell(group: list[Column], cells: list[Cell]) -> str:
    numbers = [cell for cell in cells if isinstance(cell, Number)]
    if not any(cells):
        return ""
    if len(numbers) != len(cells):
        return " / ".join(markdown(cell) if isinstance(cell, str) else cell.text for cell in cells)
    if all(math.isnan(number.value) for number in numbers):
        return GAP
    shared = {number.marks for number in numbers if not math.isnan(number.value)}
    parts = []
    for column, number in zip(group, numbers, strict=True):
        width = f" {number.interval}" if column.interval == "always" and number.interval else ""
        parts.append(number.text + width + (number.marks if len(shared) > 1 else ""))
    return " / ".join(parts) + (shared.pop() if len(shared) == 1 else "")


def _latex_cell(column: Column, cell: Cell) -> str:
    if isinstance(cell, str):
        return latex(cell)
    width = rf"\,{{\tiny {latex(cell.interval)}}}" if column.interval == "always" and cell.interval else ""
    marks = latex(cell.marks) if not math.isnan(cell.value) else ""
    return latex(cell.text) + width + marks


def _pad(line: list[str], widths: list[int], right: list[bool]) -> list[str]:
    cells = zip(line, widths, right, strict=True)
    return [text.rjust(width) if number else text.ljust(width) for text, width, number in cells]


def _csv_number(value: float, digits: int) -> str:
    """Two decimals more than printed, so that a reader can round for himself."""
    return "" if math.isnan(value) else f"{value:.{digits + 2}f}"


def _ends(number: Number | None) -> tuple[float, float]:
    if number is None or math.isnan(number.value):
        return math.nan, math.nan
    return number.low, number.high


def _has_marks(table: Table, position: int) -> bool:
    cells = [row.cells[position] for row in table.rows]
    return any(isinstance(cell, Number) and cell.marks for cell in cells)


def _is_numeric(table: Table, position: int) -> bool:
    return any(isinstance(row.cells[position], Number) for row in table.rows)


def _key(label: str) -> str:
    return label.lower().replace(" ", "_")
