"""FaceCloak beside bare passes, and its growth with people: many small passes, between which other work would show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from cloakbench.bench.perf.subjects import VIEWS, bare_passes, context_of, crowd, embedded_recogniser, method
from cloakbench.bench.perf.timing import Ratio, compare, grow
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.context import ProtectContext
from cloakbench.models.base import Recogniser

_POOL = 50
"""People that anchors are chosen from."""
_TOGETHER = 32
_MOST_MIB = 2048.0
"""What 32 people may take with all nine pictures in one pass."""


def cloak_over_bare(model: Recogniser, people: int, repeats: int, device: torch.device) -> Ratio:
    """The whole method over the passes that it makes."""
    batch, context, cloak = crowd(people, people, device), _context(model, device), method("facecloak")
    seeds, pictures = batch.require_references()[:, 0], batch.require_views()[:, 0]
    pool = context.require_auxiliary().images.to(device).float() / 255

    def bare() -> None:
        with torch.no_grad():
            anchors = model.embed(seeds)
            model.embed(pool)
        # Alone, a person's photo would be at its own anchor.
        bare_passes(model, pictures, anchors if people > 1 else -anchors, steps=10 * VIEWS)

    name = f"FaceCloak / bare loop, {model.card.name}"
    return compare(name, lambda: cloak.protect(batch, context), bare, repeats, device, bar=1.1)


def cloak_growth(people: int, times: int, repeats: int, device: torch.device) -> Iterator[Ratio]:
    """People in one call against one of them, and so many times as many; all pictures of 32 people in one pass."""
    few = max(1, repeats // 2)
    one, many = _call(1, device, steps=2), _call(_TOGETHER, device, steps=2)
    name = f"FaceCloak, {_TOGETHER} people together / one"
    yield grow(name, many, one, _TOGETHER, few, device, bar=1.0, memory_grows=True)
    small, large = (_call(count, device, steps=1) for count in (people, people * times))
    name = f"FaceCloak, {people * times:,} / {people:,} people"
    yield grow(name, large, small, times, few, device, bar=1.05, memory_grows=True)
    at_once = {"steps": 1, "update": "mean", "keep_photo": True}
    one, many = _call(1, device, **at_once), _call(_TOGETHER, device, **at_once)
    name = f"FaceCloak, {_TOGETHER} / 1 people, {VIEWS + 1} pictures of each in a pass"
    yield replace(grow(name, many, one, _TOGETHER, few, device, memory_grows=True), mib_bar=_MOST_MIB)


def _call(people: int, device: torch.device, **settings: object) -> Callable[[], object]:
    batch, context = crowd(people, people, device), _context(embedded_recogniser().to(device), device)
    cloak = method("facecloak", **settings)
    return lambda: cloak.protect(batch, context)


def _context(model: Recogniser, device: torch.device) -> ProtectContext:
    others = crowd(_POOL, _POOL, torch.device("cpu"))
    pool = FaceSet((255 * others.images).to(torch.uint8), others.image_id, others.identities)
    return replace(context_of(model, device), auxiliary=pool)
