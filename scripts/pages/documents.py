"""The repository's documents as pages: links between them, and to files of the repository, lead to where these are in
the site; lists are written as Python-Markdown reads them.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection
from pathlib import Path

from pages.notebook import as_markdown
from pages.page import ROOT, Page

FIRST = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
"""Documents outside ``docs/``, and their places."""

_LINK = re.compile(r"(?P<before>\]\()(?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?(?P<after>\))")
_FENCE = re.compile(r"^(```|~~~)")
_ITEM = re.compile(r"^( *)(?:[-*+]|\d+\.) ")
_HEADING = re.compile(r"^# (.+)$", re.M)


def document_pages() -> list[Page]:
    """README, what lies in ``docs/``, and every file of the repository that these name by a link."""
    waiting = [*FIRST, *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
    waiting += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.ipynb"))
    pages: dict[str, Page] = {}
    while waiting:
        name = waiting.pop(0)
        if name in pages:
            continue
        if name.endswith((".md", ".ipynb")):
            content = (ROOT / name).read_text(encoding="utf-8")
            extra: list[Page] = []
            if name.endswith(".ipynb"):
                content, extra = as_markdown(content, place_of(name))
            text, named = _moved(content, name)
            heading = _HEADING.search(text)
            pages[name] = Page(place_of(name), heading[1] if heading else Path(name).stem, as_python_markdown(text))
            pages |= {page.place: page for page in extra}
            waiting += named
        else:
            pages[name] = Page(place_of(name), Path(name).name, (ROOT / name).read_bytes())
    return list(pages.values())


def place_of(name: str) -> str:
    """Where a file of the repository is in the site."""
    place = FIRST.get(name, name.removeprefix("docs/"))
    return place.removesuffix(".ipynb") + ".md" if place.endswith(".ipynb") else place


def _moved(text: str, name: str) -> tuple[str, list[str]]:
    """A document with its links turned to places of the site, and the files of the repository that it names."""
    named: list[str] = []

    def turn(found: re.Match[str]) -> str:
        target = found["target"]
        if re.match(r"[a-z]+:", target):
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        if (ROOT / path).is_dir() and (ROOT / path / "README.md").is_file():
            path = posixpath.join(path, "README.md")
        if not (ROOT / path).is_file():
            return found[0]  # the check of the built site says so
        named.append(path)
        way = posixpath.relpath(place_of(path), posixpath.dirname(place_of(name)) or ".")
        return f"{found['before']}{way}{found['anchor'] or ''}{found['after']}"

    lines = []
    for line, fenced in _with_fences(text):
        lines.append(line if fenced else _LINK.sub(turn, line))
    return "\n".join(lines) + "\n", named


def as_python_markdown(text: str) -> str:
    """Lists that GitHub reads: nested ones are indented by four, and a list has a blank line before it."""
    lines: list[str] = []
    in_list = False
    for line, fenced in _with_fences(text):
        item = None if fenced else _ITEM.match(line)
        if item and not in_list and lines and lines[-1].strip():
            lines.append("")
        if not line.strip():
            lines.append(line)
            continue
        if not fenced and not item and not line.startswith(" "):
            in_list = False
        in_list = in_list or item is not None
        indent = len(line) - len(line.lstrip(" "))
        deeper = in_list and indent and not fenced
        lines.append(" " * indent + line if deeper else line)
    return "\n".join(lines) + "\n"


def _with_fences(text: str) -> Collection[tuple[str, bool]]:
    """Lines, each with whether it is inside a fenced block."""
    told, fenced = [], False
    for line in text.splitlines():
        fence = _FENCE.match(line.lstrip())
        told.append((line, fenced or fence is not None))
        fenced = fenced != (fence is not None)
    return told
