"""The reference of the Python interface, from docstrings: what the package offers, then each package below it."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import cloakbench
from pages.page import ROOT, Page, joined

ROOMS = ("bench", "datasets", "methods", "models")
PRIVATE = ("bench/api", "bench/cli", "bench/perf", "models/training")
"""Packages that nobody imports: commands and what they alone use."""


def reference_pages() -> list[Page]:
    """A page for the package itself, and one for each package below it."""
    told = [f"::: {_home(name)}" for name in cloakbench.__all__ if name != "__version__"]
    about = "What `import cloakbench` offers; [From Python](../python.md) shows it at work."
    pages = [Page("reference/index.md", "cloakbench", joined("# cloakbench", about, *told))]
    for package in _packages():
        name = "cloakbench." + package.replace("/", ".")
        modules = sorted(path for path in (ROOT / package).glob("*.py") if _says_something(path))
        if not modules:
            continue
        told = [f"::: {name}.{path.stem}" if path.stem != "__init__" else f"::: {name}" for path in modules]
        options = "\n    options:\n      members: false"
        told = [f"{line}{options}" if not line.startswith(f"::: {name}.") else line for line in told]
        pages.append(Page(f"reference/{package}.md", name, joined(f"# {name}", *told)))
    return pages


def _home(name: str) -> str:
    """Where a name is defined."""
    value = getattr(cloakbench, name)
    return f"{value.__module__}.{value.__qualname__}"


def _packages() -> Iterable[str]:
    """Folders of modules below the rooms, as paths."""
    for room in ROOMS:
        for init in sorted((ROOT / room).rglob("__init__.py")):
            package = init.parent.relative_to(ROOT).as_posix()
            if not package.startswith(PRIVATE):
                yield package


def _says_something(path: Path) -> bool:
    """Whether a module is for readers: a docstring, and no underscore before its name."""
    public = path.stem == "__init__" or not path.stem.startswith("_")
    return public and bool(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))))
