"""`page`: a report as one HTML page that holds style, script, numbers, figures and thumbnails, and loads nothing.

It is another rendering of the `WholeReport` that ``report.md`` is made of. Equal reports give equal bytes, as no time
is in it. Whatever comes from outside, such as the name of a person, a method or a file, is text: the template escapes
it, the script sets it as text only, and the page's policy runs no script but its own.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

import jinja2

from cloakbench.bench.core.escape import terminal
from cloakbench.bench.report.contents import WholeReport
from cloakbench.bench.report.html.explorer import explored
from cloakbench.bench.report.html.gallery import gallery
from cloakbench.bench.report.html.tables import TableView
from cloakbench.bench.report.section import FigureSpec, Section

SCRIPTS = ("dom.js", "tables.js", "ranking.js", "detail.js", "scatter.js", "gallery.js", "start.js")
"""The parts of the script of a report, in order."""
_FILES = resources.files("cloakbench.bench.report.html") / "templates"
_LINK = re.compile(r"\[([^]]+)\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class FigureView:
    """A figure on the page: drawn in it, named where it holds photos, or the reason why there is none."""

    name: str
    caption: str
    drawn: str = ""
    why: str = ""


@dataclass(frozen=True)
class SectionView:
    """A section with an address of its own on the page."""

    place: str
    section: Section
    tables: tuple[TableView, ...]
    figures: tuple[FigureView, ...]


def page(report: WholeReport, svg: Mapping[str, bytes], skipped: Mapping[str, str]) -> str:
    """The page.

    Args:
        report: what it says.
        svg: figures by name; those that are missing hold photos and are named, with their files beside the page.
        skipped: figures that were not drawn, and why.
    """
    sections = [_section(section, svg, skipped) for section in report.sections]
    sections = [one for one in sections if one.tables or one.figures or one.section.linked or one.section.closing]
    data = {
        "name": report.measured.results.name,
        **asdict(explored(report.measured, report.leads)),
        "faces": gallery(report),
    }
    verdicts = [pair for one in sections for table in one.tables for pair in table.verdicts]
    return rendered(
        "report.html",
        SCRIPTS,
        data,
        report=report,
        results=report.measured.results,
        sections=sections,
        verdicts=verdicts,
        ranking=TableView.of(report.ranking) if report.ranking else None,
    )


def templates_digest() -> str:
    """Of everything that pages are made with beside code: a page of older files is made again."""
    digest = hashlib.sha256()
    for name in sorted(path.name for path in _FILES.iterdir()):
        digest.update(f"{name}\n{_text(name)}".encode())
    return digest.hexdigest()


def rendered(template: str, scripts: tuple[str, ...], data: Any, **context: Any) -> str:
    """A template of this package with its style, scripts and data inside.

    Args:
        template: its file, without ``.j2``.
        scripts: parts of the script, in order.
        data: plain values that the script reads.
        context: what the template is given.
    """
    script = '"use strict";\n' + "\n".join(_text(name) for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src 'self' data: file:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    own = {"script": script, "style": _text("page.css"), "policy": policy, "data": json_in_html(data)}
    return _environment().get_template(f"{template}.j2").render(**own, **context)


def json_in_html(value: Any) -> str:
    """JSON that can stand in a script element: nothing in it ends the element, and invisible characters are spelt."""
    plain = json.dumps(_visible(value), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def linked(text: str) -> list[tuple[str, str]]:
    """A line with Markdown links as texts and addresses; the address of plain text is empty."""
    parts, last = [], 0
    for found in _LINK.finditer(text):
        parts += [(text[last : found.start()], ""), (found[1], found[2])]
        last = found.end()
    return [*parts, (text[last:], "")]


def place_of(title: str) -> str:
    """A heading as an address on the page."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _section(section: Section, svg: Mapping[str, bytes], skipped: Mapping[str, str]) -> SectionView:
    figures = tuple(_figure(figure, svg, skipped) for figure in section.figures if skipped.get(figure.name) != "")
    return SectionView(place_of(section.title), section, tuple(map(TableView.of, section.tables)), figures)


def _figure(figure: FigureSpec, svg: Mapping[str, bytes], skipped: Mapping[str, str]) -> FigureView:
    if (why := skipped.get(figure.name)) is not None:
        return FigureView(figure.name, figure.caption, why=why)
    drawn = svg.get(figure.name)
    address = "data:image/svg+xml;base64," + base64.b64encode(drawn).decode() if drawn else ""
    return FigureView(figure.name, figure.caption, address)


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return terminal(value)
    if isinstance(value, dict):
        return {terminal(str(key)): _visible(one) for key, one in value.items()}
    return [_visible(one) for one in value] if isinstance(value, list | tuple) else value


def _text(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: terminal(value, keep="\n") if type(value) is str else value,
    )
    environment.filters["linked"] = linked
    environment.filters["place"] = place_of
    return environment
