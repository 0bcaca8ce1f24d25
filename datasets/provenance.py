"""Which code made a result: a digest of a module and of everything in this project it is built on.

Cache keys hold this digest, so an edit that could change a result gives a new key and a stale entry is never read.
Comments, docstrings and formatting do not count.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Collection
from functools import cache
from pathlib import Path

_ROOT = "cloakbench."


def code_digest(*modules: str, without: Collection[str] = ()) -> str:
    """sha256 (first 16 hex digits) over the syntax trees of ``modules`` and of all project modules they import.

    Modules of other packages named in ``modules`` count too, but their imports are not followed: installed libraries
    are described by their versions, not by their code. Modules in ``without`` and what only they import do not count:
    for code that brings files and whose result is described by the digest of what it brought.

    Raises:
        ModuleNotFoundError: a module does not exist or has no source file.
    """
    seen: dict[str, str] = {}
    queue = list(modules)
    while queue:
        name = queue.pop()
        if name not in seen and name not in without:
            seen[name], imported = _read(name)
            queue += imported
    text = "\n".join(f"{name} {seen[name]}" for name in sorted(seen))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _read(name: str) -> tuple[str, tuple[str, ...]]:
    """Digest of one module's tree without docstrings, and the project modules it imports."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no source file for module {name!r}")
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    imported: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names if alias.name.startswith(_ROOT)]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_ROOT):
            imported += [_submodule(str(node.module), alias.name) for alias in node.names]
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(imported)


def _submodule(package: str, name: str) -> str:
    """``from package import name`` names a module or something inside one."""
    candidate = f"{package}.{name}"
    try:
        return candidate if importlib.util.find_spec(candidate) else package
    except ModuleNotFoundError:
        return package
