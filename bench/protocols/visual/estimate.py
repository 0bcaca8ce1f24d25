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


def visual_photos(
    config: DictConfig, roles: Sequence[Role], identities: int | None, references: int | None = None
) -> int | None:
    """Photos of a cell, at most; None where only the photos themselves can tell."""
    people = config.dataset.get("identities") or config.dataset.get("max_identities")
    each = [_each(config, role, references) for role in roles]
    if not people or not all(each):
        return None
    return min(int(people), identities or int(people)) * sum(each)


def visual_seconds(
    config: DictConfig, place: str, photos: int | None, timer: Timer, *, references: int | None, per_photo: bool
) -> float | None:
    """Time of the network passes that protect, on the experiment's workers; None where it cannot be told."""
    if photos is None and not per_photo:
        return None
    people, each = _USUAL
    count = people * each if photos is None else photos
    one = (_each(config, "probe") or each, _each(config, "reference", references) or min(each, references or each))
    total = sum(count * timer.cell_seconds(cell, config, count, one) for cell in build_cells(config, place))
    return total / max(1, processes_of(config)) / (count if per_photo else 1)


def _each(config: DictConfig, role: Role, most: int | None = None) -> int:
    """Photos of a person in a role; 0 where only the photos themselves can tell."""
    known = int(config.dataset.get(f"{role}s_per_identity") or 0)
    return min(known, most) if role == "reference" and most is not None else known
