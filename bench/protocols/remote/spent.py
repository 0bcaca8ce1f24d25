"""Spent: what asking a service took over all tries of a run: requests, retries, cost, what may be billed twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.engine.protocol import Judge
from cloakbench.bench.protocols.remote.session import Session
from cloakbench.bench.store.store import Store

_KIND = "spent"


def spent_key(run: str, judge: Judge) -> str:
    """Where the store keeps what a run of that name took of a service."""
    return content_key(_KIND, {"run": run, "judge": dict(judge.inputs), "name": judge.name})


def add_spent(store: Store, key: str, session: Session) -> None:
    """Add what a session took to what is stored."""
    before: Mapping[str, Any] = store.read_json(_KIND, key) or {}
    tally, card = session.asker.tally, session.service.card
    calls = Counter(before.get("calls", {})) + session.spending.calls
    if not calls.total() and not before:
        return
    after = {
        "calls": dict(sorted(calls.items())),
        "retries": before.get("retries", 0) + tally.retries,
        "possibly_billed": before.get("possibly_billed", 0) + tally.possibly_billed,
        "cost": round(before.get("cost", 0.0) + session.spending.cost, 6),
        "currency": card.currency,
    }
    if after != before:
        store.write_json(_KIND, key, after)


def spent_words(store: Store, key: str) -> str:
    """What a run took of a service, in words; empty where it took nothing."""
    found = store.read_json(_KIND, key)
    if not found:
        return ""
    calls = ", ".join(f"{count} {operation or 'others'}" for operation, count in found["calls"].items())
    cost = f"{found['cost']:.2f} {found['currency']}".strip()
    return (
        f"{sum(found['calls'].values())} requests ({calls}), {found['retries']} of them again, "
        f"{found['possibly_billed']} possibly billed twice; {cost} at the configured prices"
    )
