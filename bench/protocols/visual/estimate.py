"""Estimates of `visual`: how many photos each cell protects, and how long their methods take."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from cloakbench.bench.engine.device.devices import processes_of
from cloakbench.bench.engine.estimates import Timer
from cloakbench.bench.plan.plan import build_cells
from cloakbench.datasets.base import Role

_USUAL = (20, 10)
"""People and photos of each, where only the photos themselves can tell."""


def visual_photos(config: DictConfig, roles: Sequence[Role], identities: int | None) -> int | None:
    """Photos of a cell, at most; None where only the photos themselves can tell."""
    people = config.dataset.get("identities") or config.dataset.get("max_identities")
    each = [config.dataset.get(f"{role}s_per_identity") for role in roles]
    if not people or not all(each):
        return None
    return min(int(people), identities or int(people)) * sum(map(int, each))


def visual_seconds(
    config: DictConfig, place: str, photos: int | None, timer: Timer, *, per_photo: bool
) -> float | None:
    """Time of the network passes that protect, on the experiment's workers; None where it cannot be told."""
    if photos is None and not per_photo:
        return None
    people, each = _USUAL
    count = people * each if photos is None else photos
    references = int(config.dataset.get("references_per_identity") or each)
    one = (int(config.dataset.get("probes_per_identity") or each), references)
    total = sum(count * timer.cell_seconds(cell, config, count, one) for cell in build_cells(config, place))
    return total / max(1, processes_of(config)) / (count if per_photo else 1)
