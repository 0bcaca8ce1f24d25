"""One spelling of what a Python source says, equal on every Python that reads it, whatever its modules are called.

Not part of it: comments, docstrings, layout, where imported modules of the same project lie and what they are called.
Those imports come back apart, so that a caller can say what they bring by content. ``ast.dump`` and ``ast.unparse``
differ between Python versions (fields that only newer ones have, pieces of f-strings), so the tree is walked here.
Standard library only.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

_SKIPPED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
"""Fields that repeat what the tree says elsewhere, or hold comments."""

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

Resolve = Callable[[str], str | None]
"""A dotted name to the module of the same project that it names or lies in; None for anything else."""


@dataclass(frozen=True)
class Reference:
    """A module of the same project that a source uses.

    Attributes:
        module: its full name.
        uses: what of it is used under which name; free of module names.
    """

    module: str
    uses: str


@dataclass(frozen=True)
class CanonicalCode:
    """What a source says.

    Attributes:
        digest: sha256 of the canonical spelling without imports of the same project.
        references: modules of the same project.
        foreign: top-level names of all other packages it imports.
    """

    digest: str
    references: tuple[Reference, ...]
    foreign: frozenset[str]


def read_code(source: bytes | str, package: str, resolve: Resolve) -> CanonicalCode:
    """The canonical form of one module's source.

    Args:
        source: its text, or its bytes as they lie on disk.
        package: full name of the package that relative imports start from.
        resolve: tells modules of the same project from others.

    Raises:
        SyntaxError: it is no Python.
    """
    tree = ast.parse(source)
    spelling = _Spelling(package, resolve)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            spelling.note_import(node)
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    spelling.write(tree)
    return CanonicalCode(
        hashlib.sha256("".join(spelling.parts).encode()).hexdigest(),
        tuple(spelling.references()),
        frozenset(spelling.foreign),
    )


@dataclass
class _Spelling:
    """The text so far, and what of the project it refers to."""

    package: str
    resolve: Resolve
    parts: list[str] = field(default_factory=list)
    foreign: set[str] = field(default_factory=set)
    _members: set[tuple[str, str, str]] = field(default_factory=set)  # (module, name in it, name here)
    _aliases: dict[str, str] = field(default_factory=dict)  # name here -> module
    _tokens: dict[str, int] = field(default_factory=dict)  # module -> number, in order of first use

    def note_import(self, node: ast.Import | ast.ImportFrom) -> None:
        """Sort the names of an import into modules of the project, their members, and other packages."""
        for alias in node.names:
            local = self._local(node, alias)
            if local is None:
                name = alias.name if isinstance(node, ast.Import) else self._base(node)
                self.foreign.add(name.partition(".")[0])
                continue
            module, member = local
            if member:
                self._members.add((module, member, alias.asname or alias.name))
            elif isinstance(node, ast.ImportFrom) or alias.asname or "." not in alias.name:
                self._aliases[alias.asname or alias.name] = module
            else:  # ``import a.b`` binds ``a``; the text goes on naming ``a.b``
                self._members.add((module, "", ""))

    def _base(self, node: ast.ImportFrom) -> str:
        """Full name of the package or module that ``from ... import`` starts at."""
        if not node.level:
            return node.module or ""
        parts = self.package.split(".")
        above = parts[: len(parts) - (node.level - 1)]
        return ".".join([*above, *([node.module] if node.module else [])])

    def _local(self, node: ast.Import | ast.ImportFrom, alias: ast.alias) -> tuple[str, str] | None:
        """The project module behind one imported name, and which member of it; the member is empty for the module."""
        if isinstance(node, ast.Import):
            module = self.resolve(alias.name)
            return None if module is None else (module, "")
        base = self._base(node)
        wanted = f"{base}.{alias.name}" if base else alias.name
        module = self.resolve(wanted)
        if module is None:
            return None
        return (module, "" if module == wanted else wanted.removeprefix(f"{module}."))

    def references(self) -> Iterator[Reference]:
        """Everything noted, each module with what it is used as."""
        for module, member, name in sorted(self._members):
            yield Reference(module, f"{member} as {name}")
        for module in sorted({*self._aliases.values(), *self._tokens}):
            yield Reference(module, f"@{self._tokens.get(module, '')}")

    def write(self, value: Any) -> None:
        """Append the spelling of a tree, a list or a plain value."""
        if isinstance(value, list):
            self.parts.append("[")
            for item in value:
                self.write(item)
                self.parts.append(",")
            self.parts.append("]")
        elif isinstance(value, ast.Constant):
            self._write_constant(value.value)
        elif isinstance(value, ast.Name) and value.id in self._aliases:
            self.parts.append(self._token(self._aliases[value.id]))
        elif isinstance(value, ast.JoinedStr):
            self._write_fields("JoinedStr", [("values", _joined(value.values))])
        elif isinstance(value, ast.Import | ast.ImportFrom):
            self._write_import(value)
        elif isinstance(value, ast.AST):
            self._write_fields(type(value).__name__, ast.iter_fields(value))
        else:
            self.parts.append(ascii(value))

    def _write_fields(self, name: str, fields: Any) -> None:
        self.parts.append(f"{name}(")
        for key, value in fields:
            if key not in _SKIPPED and value is not None and value != []:
                self.parts.append(f"{key}=")
                self.write(value)
                self.parts.append(",")
        self.parts.append(")")

    def _write_import(self, node: ast.Import | ast.ImportFrom) -> None:
        names = [alias for alias in node.names if self._local(node, alias) is None]
        if names:
            fields = {**dict(ast.iter_fields(node)), "names": names}
            self._write_fields(type(node).__name__, fields.items())

    def _write_constant(self, value: object) -> None:
        module = self.resolve(value) if isinstance(value, str) and value.startswith("cloakbench.") else None
        if module is not None and isinstance(value, str):  # a module named in a string, such as a ``_target_``
            self.parts.append(f"Constant({self._token(module)}{value.removeprefix(module)!a})")
        else:
            # ascii(): which characters repr() prints as they are depends on the Unicode version of a Python.
            self.parts.append(f"Constant({value!a})")

    def _token(self, module: str) -> str:
        return f"@{self._tokens.setdefault(module, len(self._tokens))}"


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """The pieces of an f-string with neighbouring texts as one and none empty; versions cut them differently."""
    pieces: list[ast.expr] = []
    for value in values:
        last = pieces[-1] if pieces else None
        if isinstance(value, ast.Constant) and isinstance(last, ast.Constant):
            pieces[-1] = ast.Constant(f"{last.value}{value.value}")
        else:
            pieces.append(value)
    return [piece for piece in pieces if not (isinstance(piece, ast.Constant) and piece.value == "")]
