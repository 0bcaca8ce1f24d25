"""`index_page`: one page over the tables and figures of several runs, which opens from disk."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cloakbench.bench.core.escape import html
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.table import Cell, Table

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { max-width: 75rem; margin: 0 auto; padding: 1rem; }
h2 { border-top: 1px solid #8886; padding-top: 1rem; }
summary { cursor: pointer; padding: .25rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th, td { padding: .15rem .6rem; text-align: left; white-space: nowrap; }
thead th { border-bottom: 1px solid; vertical-align: bottom; }
td.number { text-align: right; }
img { max-width: 100%; height: auto; background: #fff; }
"""


@dataclass(frozen=True)
class RunPart:
    """What was written of a run.

    Attributes:
        folder: its name beside the index.
        results: what it measured.
        tables: as they were written.
        figures: name and caption of each.
        vector: suffix of the figures' second file.
    """

    folder: str
    results: Results
    tables: tuple[Table, ...]
    figures: tuple[tuple[str, str], ...]
    vector: str


def index_page(parts: Sequence[RunPart]) -> str:
    """HTML without scripts and without anything from elsewhere. Equal parts give equal bytes."""
    body = "\n".join(line for part in parts for line in _run(part))
    listed = "".join(f'<li><a href="#{html(part.folder)}">{html(part.folder)}</a></li>' for part in parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Tables and figures</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>\n<h1>Tables and figures for papers</h1>\n<ul>{listed}</ul>\n"
        f"{body}\n</body></html>\n"
    )


def _run(part: RunPart) -> Iterator[str]:
    results, folder = part.results, html(part.folder)
    yield f'<h2 id="{folder}">{html(results.name)}</h2>'
    yield f"<p>{html(results.dataset)}; manifest {html(results.manifest_sha256[:16])}; "
    yield f'<a href="{folder}/all.tex">all tables as one document</a></p>'
    for table in part.tables:
        name = html(table.name)
        yield f"<details><summary>{html(table.title)} ({name})</summary>"
        yield f'<p>{html(table.caption)} <a href="{folder}/{name}.tex">LaTeX</a>, '
        yield f'<a href="{folder}/{name}.csv">CSV</a></p>'
        yield f'<div class="scroll">{_table(table)}</div>'
        yield "".join(f"<p>{html(note)}</p>" for note in table.notes) + "</details>"
    for name, caption in part.figures:
        path = f"{folder}/{html(name)}"
        yield f'<details><summary>Figure {html(name)}</summary><p>{html(caption)} <a href="{path}{part.vector}">'
        yield f'vector</a></p><img loading="lazy" src="{path}.png" alt="{html(caption)}"></details>'


def _table(table: Table) -> str:
    heads = [table.stub, *(f"{one.group} {one.label}".strip() for one in table.columns)]
    lines = [f"<table><thead><tr>{''.join(f'<th>{html(head)}</th>' for head in heads)}</tr></thead><tbody>"]
    section = ""
    for row in table.rows:
        if row.section and row.section != section:
            lines.append(f'<tr><th colspan="{len(heads)}">{html(row.section)}</th></tr>')
        section = row.section
        cells = "".join(_cell(cell, column.interval) for cell, column in zip(row.cells, table.columns, strict=True))
        lines.append(f"<tr><td>{html(row.label)}</td>{cells}</tr>")
    return "\n".join([*lines, "</tbody></table>"])


def _cell(cell: Cell, interval: str) -> str:
    if isinstance(cell, str):
        return f"<td>{html(cell)}</td>"
    marks = cell.marks if not math.isnan(cell.value) else ""
    beside = f" {cell.interval}" if interval == "always" and cell.interval else ""
    return f'<td class="number">{html(cell.text + marks + beside)}</td>'
