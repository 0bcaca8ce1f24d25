"""Estimates: how long a poisoning will take, its searches for noise and its trainings."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.engine.estimates import Timer, workers_of
from cloakbench.bench.plan.plan import build_cells

_NETWORK = "network"


def published_photos(config: DictConfig, block: DictConfig) -> tuple[int, int] | None:
    """People and published photos of each, at most; None where only the photos themselves can tell."""
    dataset, most = config.dataset, block.identities
    people, each = dataset.get("poison_identities"), dataset.get("poison_images")
    if not people or not each:
        return None
    return min(int(people), most or int(people)), round(int(each) * (1 - float(dataset.get("poison_test_share") or 0)))


def poisoning_seconds(config: DictConfig, place: str, timer: Timer) -> float | None:
    """Time of the network passes, on the experiment's workers; None where it cannot be told.

    Args:
        config: the experiment.
        place: of the protocol in it, with a dot at its end.
        timer: times networks.

    Raises:
        ValueError: a model or method cannot be built.
    """
    block = OmegaConf.select(config, place.rstrip("."))
    numbers = published_photos(config, block)
    if numbers is None:
        return None
    people, each = numbers
    photos, device = people * each, torch.device(config.runtime.device)
    cells = build_cells(config, place)
    references = min(int(block.references), each)
    total = sum(photos * timer.cell_seconds(cell, config, photos, (each, references)) for cell in cells)
    regimes, shares = list(block.regimes), list(block.clean_shares)
    varied = list(block.attackers) if block.variants_on is None else list(block.variants_on)
    for key in block.attackers:
        attacker: Any = OmegaConf.to_container(block.attackers[key], resolve=True)
        if _NETWORK not in attacker or "epochs" not in attacker:
            return None
        speed = timer.classifier_speed(attacker[_NETWORK], device)
        met = [regimes[0], *(regimes[1:] + [regimes[0]] * (len(shares) - 1) if key in varied else [])]
        for regime in met:
            adversary = block.regimes[regime].get("adversary")
            passes = 1 + (int(adversary.get("steps", 0)) if adversary is not None else 0)
            training = photos * int(attacker["epochs"]) * passes * (speed.forward + speed.backward)
            total += len(block.seeds) * len(cells) * training
    return total / workers_of(config)
