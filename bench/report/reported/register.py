"""The register of papers and their code: where they disagree, and which reading is taken, ``results/register.yaml``."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cloakbench.bench.report.reported.printed import ReportedSchemaError, load_yaml

FILE = "register.yaml"
_TEXTS = ("method", "paper", "code", "here")
_LISTS = ("options", "tables")
_OPTION = re.compile(r"(\w+/\w+)\.yaml: ([\w.]+)(?:=(.+))?")


@dataclass(frozen=True)
class Option:
    """A setting that takes a reading: its file below ``conf/`` without the ending, its name, and its value if said."""

    file: str
    setting: str
    value: str

    def __str__(self) -> str:
        return f"{self.file}: {self.setting}" + f"={self.value}" * bool(self.value)


@dataclass(frozen=True)
class Disagreement:
    """One disagreement.

    Attributes:
        name: ``D-05``.
        method: whose.
        paper, code: what each says or does.
        here: which reading is taken.
        options: by what.
        tables: printed tables that it is a caveat of, ``facecloak_1``.
    """

    name: str
    method: str
    paper: str
    code: str
    here: str
    options: tuple[Option, ...] = ()
    tables: tuple[str, ...] = ()

    @property
    def caveat(self) -> str:
        """As it stands under a table."""
        return f"{self.name}, paper: {self.paper} Its code: {self.code} Here: {self.here}"


def load_register() -> tuple[Disagreement, ...]:
    """The committed register, checked.

    Raises:
        ReportedSchemaError: see `read_register`.
    """
    return read_register(load_yaml(FILE, importlib.resources.files("cloakbench.results")))


def read_register(content: Mapping[str, Any]) -> tuple[Disagreement, ...]:
    """The register from the values of the YAML file.

    Raises:
        ReportedSchemaError: one line naming the entry: numbers that do not follow each other, a part that is missing,
            unknown or of another kind, an option that is not written as ``group/name.yaml: setting=value``.
    """
    entries = []
    for number, (name, given) in enumerate(content.items(), 1):
        if name != f"D-{number:02d}":
            raise ReportedSchemaError(f"{FILE}: {name!r} stands where D-{number:02d} belongs")
        wrong = set(_TEXTS) - set(given) | set(given) - {*_TEXTS, *_LISTS} if isinstance(given, dict) else {"it"}
        if wrong:
            raise ReportedSchemaError(f"{FILE}, {name}: {min(map(str, wrong))} is missing or unknown")
        for part in _TEXTS:
            if not isinstance(given[part], str) or not given[part].strip():
                raise ReportedSchemaError(f"{FILE}, {name}: {part} is {given[part]!r}; write a sentence")
        texts = {part: " ".join(given[part].split()) for part in _TEXTS}
        lists = {part: _texts(name, part, given.get(part, [])) for part in _LISTS}
        options = tuple(_option(name, one) for one in lists["options"])
        entries.append(Disagreement(name, **texts, options=options, tables=tuple(lists["tables"])))
    return tuple(entries)


def caveats(register: Iterable[Disagreement], table: str) -> list[str]:
    """What the register says of a printed table."""
    return [entry.caveat for entry in register if table in entry.tables]


def _texts(name: str, part: str, given: Any) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise ReportedSchemaError(f"{FILE}, {name}: {part} is {given!r}; write a list of texts")
    return given


def _option(name: str, given: str) -> Option:
    if not (match := _OPTION.fullmatch(given)):
        raise ReportedSchemaError(f"{FILE}, {name}: option {given!r} is not written as group/name.yaml: setting=value")
    return Option(match[1], match[2], match[3] or "")
