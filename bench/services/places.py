"""`Places`: where a store keeps what services said, how often their keys asked, and which galleries are open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cloakbench.bench.services.journal import Journal
from cloakbench.models.service_keys import ServiceKeys


@dataclass(frozen=True)
class Places:
    """Folders below a store.

    Attributes:
        root: of the store.
    """

    root: Path

    @property
    def folder(self) -> Path:
        """Of everything about services."""
        return self.root / "services"

    @property
    def journal(self) -> Journal:
        """Questions and answers of all services."""
        return Journal(self.folder / "journal")

    def rate(self, service: str, keys: ServiceKeys) -> Path:
        """The last calls of a key."""
        return self.folder / "rates" / keys.fingerprint(service)

    def ledger(self, name: str) -> Path:
        """Counts that are not in their sum yet."""
        return self.folder / "ledgers" / name

    def galleries(self, service: str) -> Path:
        """Notes of open galleries."""
        return self.folder / "galleries" / service

    def lock(self, service: str) -> Path:
        """Held by the run that asks a service; its folder is made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{service}.lock"
