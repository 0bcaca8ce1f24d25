"""`foreign_systems`: systems whose weights are not to be had here, and what an own run of each would need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources.abc import Traversable

from cloakbench.bench.report.reported.printed import ReportedSchemaError, load_yaml

_FILE = "systems.yaml"
_WANTED = frozenset({"title", "repository", "licence", "needs"})


@dataclass(frozen=True)
class ForeignSystem:
    """One of them; the fields are those of ``results/reported/systems.yaml``."""

    title: str
    repository: str
    licence: str
    needs: str
    survey: str = ""

    @property
    def reason(self) -> str:
        """Why there is no number of it, as a cell says it."""
        return f"no weights here: it needs {self.needs}; photos made elsewhere enter as method precomputed"


@cache
def foreign_systems(folder: Traversable | None = None) -> Mapping[str, ForeignSystem]:
    """Key to system, in the order of the file.

    Raises:
        ReportedSchemaError: an entry lacks a field, has one too many, or one that is empty.
    """
    entries = load_yaml(_FILE, folder)
    for key, entry in entries.items():
        if not _WANTED <= set(entry) <= _WANTED | {"survey"}:
            raise ReportedSchemaError(f"{_FILE}: {key} must have {', '.join(sorted(_WANTED))}, and may have survey")
        if empty := sorted(name for name, value in entry.items() if not (isinstance(value, str) and value.strip())):
            raise ReportedSchemaError(f"{_FILE}: {key}: {', '.join(empty)} must be words")
    return {key: ForeignSystem(**entry) for key, entry in entries.items()}
