"""Estimates of `attributes`: how many photos it protects, and how long its networks take to answer."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from cloakbench.bench.engine.device.devices import processes_of
from cloakbench.bench.engine.estimates import Timer
from cloakbench.bench.plan.plan import Cell
from cloakbench.datasets.base import Role

_USUAL = (20, 10)
"""People and photos of each, where only the photos themselves can tell."""


def attribute_photos(config: DictConfig, role: Role, identities: int | None) -> int | None:
    """Photos of a cell, at most; None where only the photos themselves can tell."""
    dataset = config.dataset
    people = dataset.get("identities") or dataset.get("max_identities")
    each = dataset.get(f"{role}s_per_identity")
    return min(int(people), identities or int(people)) * int(each) if people and each else None


def attribute_seconds(
    config: DictConfig,
    cells: Sequence[Cell],
    photos: int | None,
    timer: Timer,
    *,
    protecting: bool,
    per_photo: bool,
) -> float | None:
    """Time of the passes that answer, and that protect photos of its own, on the experiment's workers; None where it
    cannot be told.

    Args:
        config: the experiment.
        cells: of the photos.
        photos: of each cell, at most; None where they are not counted.
        timer: times networks.
        protecting: whether the photos are its own; those of the experiment are told elsewhere.
        per_photo: for each photo instead of all.
    """
    if photos is None and not per_photo:
        return None
    count = _USUAL[0] * _USUAL[1] if photos is None else photos
    each = int(config.dataset.get("probes_per_identity") or _USUAL[1])
    references = int(config.dataset.get("references_per_identity") or 1)
    views = 1 + len(config.transforms)
    answering = views * sum(timer.attribute_speed(str(key), config).forward for key in config.attribute_targets)
    seconds = len(cells) * answering
    if protecting:
        seconds += sum(timer.cell_seconds(one, config, count, (each, references)) for one in cells)
    return seconds * (1 if per_photo else count) / max(1, processes_of(config))
