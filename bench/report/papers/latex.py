"""`paper_latex`: a table as LaTeX at the size of a caption, whatever its number of columns.

Nothing is shrunk. Columns are put side by side until the text width is used up, and what is left follows in further
panels below, each with the row labels; a table that fits one column of the paper is a ``table``, others are ``table*``.
What is longer than a page goes on in a further float under the same number.
Numbers are aligned at the decimal point by siunitx, rules are booktabs'. Bold is what was not told apart from the best:
a paired test decides it, so that several rows may be bold.
"""

from __future__ import annotations

import fnmatch
import itertools
import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cloakbench.bench.core.escape import latex
from cloakbench.bench.report.table import Cell, Column, Number, Row, Table, column_groups

COLUMN_POINTS = 245.0
TEXT_POINTS = 505.0
"""Widths of a column and of the text of a two-column paper on letter paper, in points."""
PAGE_LINES = 52
"""Lines of a float that fills a page, under a caption of some lines and above notes of as many."""
BEST = "a"
"""The letter of the rows that were not told apart from the best one."""
TIES = "Ties"
"""The label of a column of tie groups."""

_CHARACTER_POINTS = 4.1
_SMALL_POINTS = 3.3
"""Mean widths of a character at the sizes footnotesize and scriptsize."""
_GAP_POINTS = 7.0
_HEADING_CHARACTERS = 15
_LONGEST_POINTS = 150.0
"""Longer texts, and longer row labels, are set in lines of this width."""
PREAMBLE = (
    r"\usepackage{booktabs}",
    r"\usepackage{array}",
    r"\usepackage{siunitx}",
    r"\usepackage{etoolbox}",
    r"\robustify\bfseries",
    r"\sisetup{detect-weight=true, mode=text}",
)
"""What a document needs for the tables."""


@dataclass(frozen=True)
class _Field:
    """A printed column: where its cells are, what stands beside the number, which rows are bold."""

    position: int
    column: Column
    heading: tuple[str, ...]
    numeric: bool
    beside: bool
    shape: str
    points: float


def chosen(table: Table, patterns: Sequence[str]) -> Table | None:
    """The columns whose keys fit a pattern (``*_top1_percent``), in the order of the table; all without patterns.

    A column of tie groups comes with the numbers that it is about. None where nothing is left.
    """
    if not patterns:
        return table
    keep = [any(fnmatch.fnmatchcase(column.key, one) for one in patterns) for column in table.columns]
    for position, column in enumerate(table.columns):
        if column.label == TIES and (of := _number_before(table, position)) is not None:
            keep[position] = keep[position] or keep[of]
    if not any(keep):
        return None
    columns = tuple(itertools.compress(table.columns, keep))
    rows = tuple(replace(row, cells=tuple(itertools.compress(row.cells, keep))) for row in table.rows)
    return replace(table, columns=columns, rows=rows)


def paper_latex(table: Table) -> str:
    """A float for a two-column paper, or several of one number; `PREAMBLE` is what its document needs."""
    label = max([len(table.stub), *(len(row.label) for row in table.rows)]) * _CHARACTER_POINTS
    stub = min(label, _LONGEST_POINTS) + _GAP_POINTS
    panels = _panels(_fields(table), TEXT_POINTS - stub)
    single = len(panels) == 1 and stub + sum(field.points for field in panels[0]) <= COLUMN_POINTS
    place, width = ("table", r"\columnwidth") if single else ("table*", r"\textwidth")
    bold, floats = _bold(table), []
    for number, page in enumerate(_pages(table, panels)):
        body = [
            line
            for place_on_page, (panel, rows) in enumerate(page)
            for line in _panel(table, panel, rows, bold, _text_shape(label), place_on_page)
        ]
        told = f"{latex(table.title)}. {latex(table.caption)}" if not number else f"{latex(table.title)}, continued."
        said = "Bold: not told apart from the best on the same photos." if bold else ""
        notes = "" if number else " ".join(latex(note) for note in (*table.notes, said) if note)
        floats += [
            rf"\begin{{{place}}}[t]",
            *([r"\addtocounter{table}{-1}"] * bool(number)),
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{told}}}",
            *([rf"\label{{tab:{table.name}}}"] * (not number)),
            *body,
            *([rf"\par\smallskip\begin{{minipage}}{{{width}}}\scriptsize {notes}\end{{minipage}}"] * bool(notes)),
            rf"\end{{{place}}}",
        ]
    return "\n".join([*(f"% {line}" for line in PREAMBLE), *floats, ""])


def _pages(table: Table, panels: Sequence[list[_Field]]) -> list[list[tuple[list[_Field], range]]]:
    """Panels, and the rows of each, of every float: as many as a page holds, divided before a section where one is near
    the end of a page."""
    pages: list[list[tuple[list[_Field], range]]] = [[]]
    used = 0
    for panel in panels:
        head = 2 + max((len(field.heading) for field in panel), default=1) + any(field.column.group for field in panel)
        start = 0
        while start < len(table.rows) or not start:
            whole = head + _lines_of(table, range(start, len(table.rows)))
            if pages[-1] and used + whole > PAGE_LINES:
                pages.append([])
                used = 0
            end = _last_row(table, start, PAGE_LINES - head)
            pages[-1].append((panel, range(start, end)))
            used += head + _lines_of(table, range(start, end))
            if end >= len(table.rows):
                break
            start = end
    return pages


def _lines_of(table: Table, rows: range) -> int:
    """Lines of rows, with the titles of their sections."""
    titled = sum(_opens(table, row, rows.start) for row in rows)
    return len(rows) + titled


def _opens(table: Table, row: int, first: int) -> bool:
    """Whether the title of a section stands above a row."""
    section = table.rows[row].section
    return bool(section) and (row == first or table.rows[row - 1].section != section)


def _last_row(table: Table, start: int, room: int) -> int:
    """Where the rows that a page holds end: before a section, if that leaves at least half of the page filled."""
    end = start
    while end < len(table.rows) and _lines_of(table, range(start, end + 1)) <= room:
        end += 1
    if end < len(table.rows):
        sections = [row for row in range(start + 1, end + 1) if table.rows[row].section != table.rows[row - 1].section]
        if sections and _lines_of(table, range(start, sections[-1])) >= room // 2:
            end = sections[-1]
    return min(max(end, start + 1), len(table.rows))


def _fields(table: Table) -> list[list[_Field]]:
    """The printed columns, those of a group together."""
    positions = iter(range(len(table.columns)))
    return [[_field(table, next(positions)) for _ in group] for group in column_groups(table.columns)]


def _field(table: Table, position: int) -> _Field:
    column = table.columns[position]
    cells = [row.cells[position] for row in table.rows]
    numbers = [cell for cell in cells if isinstance(cell, Number) and not math.isnan(cell.value)]
    numeric = bool(numbers) or any(isinstance(cell, Number) for cell in cells)
    aside = [len(_aside_text(column, cell)) for cell in cells]
    texts = [cell.text if isinstance(cell, Number) else cell for cell in cells]
    wide = max((len(text) for text in texts), default=0) * _CHARACTER_POINTS + max(aside, default=0) * _SMALL_POINTS
    heading = tuple(_lines(column.label)) or ("",)
    head = max(len(line) for line in heading) * _CHARACTER_POINTS
    whole = max((len(one.text.lstrip("-−").partition(".")[0]) for one in numbers), default=1)
    decimals = max((len(one.text.partition(".")[2]) for one in numbers), default=0)
    sign = "-" * any(one.value < 0 for one in numbers)
    points = min(max(wide, head), _LONGEST_POINTS) + _GAP_POINTS
    shape = f"S[table-format={sign}{whole}.{decimals}]" if numeric else _text_shape(wide)
    return _Field(position, column, heading, numeric, any(aside), shape, points)


def _lines(heading: str) -> list[str]:
    """A heading in short lines; words are whole."""
    pieces = heading.replace(": ", ":\n").splitlines()
    return [line for piece in pieces for line in textwrap.wrap(piece, _HEADING_CHARACTERS, break_long_words=False)]


def _text_shape(points: float) -> str:
    """A column of texts: in lines where they are long."""
    wrapped = rf">{{\raggedright\arraybackslash}}p{{{_LONGEST_POINTS:g}pt}}"
    return wrapped if points > _LONGEST_POINTS else "l"


def _panels(groups: Sequence[Sequence[_Field]], room: float) -> list[list[_Field]]:
    """Groups side by side as far as there is room; a group that is wider than a panel is divided."""
    panels: list[list[_Field]] = [[]]
    for group in groups:
        whole = sum(field.points for field in group) <= room
        for part in [list(group)] if whole else [[field] for field in group]:
            used = sum(field.points for field in panels[-1])
            if panels[-1] and used + sum(field.points for field in part) > room:
                panels.append([])
            panels[-1] += part
    return panels


def _panel(
    table: Table, panel: Sequence[_Field], rows: range, bold: set[tuple[int, int]], first: str, number: int
) -> Iterator[str]:
    shapes = "".join(field.shape + r"@{\,}l" * field.beside for field in panel)
    span = 1 + sum(1 + field.beside for field in panel)
    if number:
        yield r"\par\medskip"
    yield rf"\begin{{tabular}}{{{first}{shapes}}}"
    yield r"\toprule"
    yield from _groups(panel)
    yield " & ".join([latex(table.stub), *(_heading(field) for field in panel)]) + r" \\"
    for line in rows:
        row = table.rows[line]
        if line == rows.start or row.section != table.rows[line - 1].section:
            yield r"\midrule"
            if row.section:
                yield rf"\multicolumn{{{span}}}{{l}}{{\textit{{{latex(row.section)}}}}} \\"
        cells = [_cell(field, row.cells[field.position], (line, field.position) in bold) for field in panel]
        yield " & ".join([latex(row.label), *cells]) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _groups(panel: Sequence[_Field]) -> Iterator[str]:
    """The headings above headings, with their rules."""
    if not any(field.column.group for field in panel):
        return
    heads, rules, start = [""], [], 2
    for group, members in itertools.groupby(panel, key=lambda field: field.column.group):
        wide = sum(1 + field.beside for field in members)
        heads.append(rf"\multicolumn{{{wide}}}{{c}}{{{latex(group)}}}" if group else " & " * (wide - 1))
        if group:
            rules.append(rf"\cmidrule(lr){{{start}-{start + wide - 1}}}")
        start += wide
    yield " & ".join(heads) + r" \\"
    yield " ".join(rules)


def _heading(field: _Field) -> str:
    lines = r"\\".join(latex(line) for line in field.heading)
    text = rf"\shortstack{{{lines}}}" if len(field.heading) > 1 else lines
    return rf"\multicolumn{{{1 + field.beside}}}{{{'c' if field.numeric else 'l'}}}{{{text}}}"


def _cell(field: _Field, cell: Cell, bold: bool) -> str:
    if not field.numeric:
        return latex(str(cell))
    if isinstance(cell, str):
        text, aside = f"{{{latex(cell)}}}", ""
    elif math.isnan(cell.value):
        text, aside = "{--}", ""
    else:
        text, aside = r"\bfseries " * bold + cell.text.replace("−", "-"), _aside(field.column, cell)
    return f"{text} & {aside}" if field.beside else text


def _aside(column: Column, cell: Number) -> str:
    """Marks and interval, smaller than the number."""
    interval = cell.interval if column.interval == "always" else ""
    told = latex(cell.marks) + (rf"\,{latex(interval).removeprefix('{}')}" if interval else "")
    return rf"{{\scriptsize {told}}}" if told else ""


def _aside_text(column: Column, cell: Cell) -> str:
    if isinstance(cell, str):
        return ""
    return cell.marks + (cell.interval if column.interval == "always" else "")


def _bold(table: Table) -> set[tuple[int, int]]:
    """(row, column) of the numbers that share the letter of the best of their ranking."""
    of = {position: _number_before(table, position) for position, one in enumerate(table.columns) if one.label == TIES}
    return {
        (line, number)
        for position, number in of.items()
        if number is not None
        for line, row in enumerate(table.rows)
        if BEST in _letters(row, position)
    }


def _letters(row: Row, position: int) -> Sequence[str]:
    """The letters of a row; a word, such as that it stands on too few photos, is none."""
    told = str(row.cells[position]).replace(" ", "").replace(",", "")
    return list(told) if told.isalpha() and told != "small" else []


def _number_before(table: Table, position: int) -> int | None:
    """The column of numbers that letters are about: the nearest one to their left with an interval."""
    for before in range(position - 1, -1, -1):
        if any(isinstance(row.cells[before], Number) for row in table.rows):
            return before
    return None
