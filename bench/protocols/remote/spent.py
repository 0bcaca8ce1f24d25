"""`SpentOnService`: requests, retries and cost over all tries of a run, and what may be billed twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.engine.protocol import Judge
from cloakbench.bench.services.ledger import Ledger
from cloakbench.bench.services.places import Places
from cloakbench.bench.services.spending import POSSIBLY_BILLED, REQUEST, RETRY
from cloakbench.bench.store.store import Store
from cloakbench.models.services import ServiceCard

_KIND = "spent"


class SpentOnService:
    """What a run took of a service: a sum in the store, and a ledger of what is not in it yet.

    Args:
        store: of the run.
        run: its name.
        judge: the service.
    """

    def __init__(self, store: Store, run: str, judge: Judge) -> None:
        self._store = store
        self._key = content_key(_KIND, {"run": run, "judge": dict(judge.inputs), "name": judge.name})
        self._ledger = Ledger(Places(store.root).ledger(self._key))
        self.note = self._ledger.note

    def settle(self, card: ServiceCard) -> None:
        """Add what was noted, by this process or by one that was killed, to the sum."""
        noted = self._ledger.counts()
        if not noted:
            return
        requests = Counter[str]()
        for what, count in noted.items():
            kind, _, operation = what.partition(" ")
            if kind == REQUEST:
                requests[operation] += count
        before: Mapping[str, Any] = self._store.read_json(_KIND, self._key) or {}
        cost = sum(card.price_per_call.get(operation, 0.0) * count for operation, count in requests.items())
        after = {
            "calls": dict(sorted((Counter(before.get("calls", {})) + requests).items())),
            "retries": before.get("retries", 0) + noted[RETRY],
            "possibly_billed": before.get("possibly_billed", 0) + noted[POSSIBLY_BILLED],
            "cost": round(before.get("cost", 0.0) + cost, 6),
            "currency": card.currency,
        }
        self._store.write_json(_KIND, self._key, after)
        self._ledger.clear()

    def words(self) -> str:
        """The sum, in words; empty where nothing was taken."""
        found = self._store.read_json(_KIND, self._key)
        if not found:
            return ""
        calls = ", ".join(f"{count} {operation or 'others'}" for operation, count in found["calls"].items())
        cost = f"{found['cost']:.2f} {found['currency']}".strip()
        return (
            f"{sum(found['calls'].values())} requests ({calls}), {found['retries']} of them again, "
            f"{found['possibly_billed']} possibly billed twice; {cost} at the configured prices"
        )
