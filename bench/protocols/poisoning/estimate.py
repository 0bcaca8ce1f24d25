"""Estimates: how long a poisoning will take, its searches for noise and its trainings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from omegaconf import DictConfig

from cloakbench.bench.engine.device.devices import processes_of
from cloakbench.bench.engine.estimates import Timer
from cloakbench.bench.plan.plan import build_cells

_NETWORK = "network"
_USUAL = (20, 10)
"""People and published photos of each, where only the photos themselves can tell; hardly counts for one photo."""


class Trainings(Protocol):
    """What of a poisoning decides how long it takes."""

    identities: int | None
    references: int
    attackers: dict[str, Any]
    regimes: dict[str, Any]
    conditions_on: tuple[str, ...]
    clean_shares: tuple[float, ...]
    seeds: tuple[int, ...]


def published_photos(config: DictConfig, most: int | None) -> tuple[int, int] | None:
    """People and published photos of each, at most; None where only the photos themselves can tell.

    Args:
        config: the experiment.
        most: people who publish, at most.
    """
    dataset = config.dataset
    people, each = dataset.get("poison_identities"), dataset.get("poison_images")
    if not people or not each:
        return None
    return min(int(people), most or int(people)), round(int(each) * (1 - float(dataset.get("poison_test_share") or 0)))


def poisoning_seconds(
    poisoning: Trainings, config: DictConfig, place: str, timer: Timer, *, per_photo: bool = False
) -> float | None:
    """Time of the network passes, on the experiment's workers; None where it cannot be told.

    Args:
        poisoning: the protocol.
        config: the experiment.
        place: of the protocol in it, with a dot at its end.
        timer: times networks.
        per_photo: for each published photo instead of all.

    Raises:
        ValueError: a model or method cannot be built.
    """
    numbers = published_photos(config, poisoning.identities) or (_USUAL if per_photo else None)
    if numbers is None:
        return None
    people, each = numbers
    photos, device = people * each, torch.device(config.runtime.device)
    cells = build_cells(config, place)
    references = min(poisoning.references, each)
    total = sum(photos * timer.cell_seconds(cell, config, photos, (each, references)) for cell in cells)
    regimes, shares = list(poisoning.regimes), poisoning.clean_shares
    for key, attacker in poisoning.attackers.items():
        if _NETWORK not in attacker or "epochs" not in attacker:
            return None
        speed = timer.classifier_speed(attacker[_NETWORK], device)
        met = [regimes[0], *(regimes[1:] + [regimes[0]] * (len(shares) - 1) if key in poisoning.conditions_on else [])]
        for regime in met:
            passes = 1 + _steps(poisoning.regimes[regime])
            training = photos * int(attacker["epochs"]) * passes * (speed.forward + speed.backward)
            total += len(poisoning.seeds) * len(cells) * training
    return total / max(1, processes_of(config)) / (photos if per_photo else 1)


def _steps(regime: Mapping[str, Any]) -> int:
    """Of the adversary that a regime trains against; 0 for none."""
    adversary = regime.get("adversary")
    return int(adversary.get("steps", 0)) if adversary is not None else 0
