"""`Page`: a Markdown file of the site, and the pieces that pages are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cloakbench.bench.core.escape import markdown

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""


@dataclass(frozen=True)
class Page:
    """A page: ``place`` is its path below the site's folder, with ``/`` and a suffix; ``content`` is Markdown, or the
    bytes of a file that stands beside the pages."""

    place: str
    title: str
    content: str | bytes

    def write(self, folder: Path) -> None:
        """Write it below a folder."""
        path = folder / self.place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.content if isinstance(self.content, bytes) else self.content.encode())


def facts(values: Mapping[str, object]) -> str:
    """A table of two columns, without the rows that have nothing to say. Values are text, not Markdown."""
    rows = [f"| {name} | {markdown(str(value))} |" for name, value in values.items() if value not in ("", None)]
    return "\n".join(["| | |", "|---|---|", *rows])


def index_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table whose cells are Markdown."""
    head = list(header)
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def code(text: str, language: str = "") -> str:
    """A fenced block."""
    return f"```{language}\n{text.rstrip()}\n```"


def first_comment(text: str) -> str:
    """The comment that a YAML file begins with, as one line."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line.lstrip("# ").rstrip())
    return " ".join(lines)


def markdown_lines(text: str) -> str:
    """Lines of text as Markdown, in which double backticks of a docstring are code."""
    pieces = text.strip().split("``")
    return "".join(
        f"`{piece}`" if number % 2 else "\n".join(markdown(line) if line.strip() else "" for line in piece.split("\n"))
        for number, piece in enumerate(pieces)
    )


def joined(*parts: str) -> str:
    """Parts of a page with a blank line between them; empty ones are left out."""
    return "\n\n".join(part for part in parts if part) + "\n"
