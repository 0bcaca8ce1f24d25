"""How long the poisoning track of an experiment will take: its searches for noise, and its trainings."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.doctor.estimate import Estimator, workers_of
from cloakbench.bench.doctor.passes import NETWORK
from cloakbench.bench.protocols.poisoning.plan import poisoning_cells, poisoning_scenarios


def published_photos(config: DictConfig) -> tuple[int, int] | None:
    """People and published photos of each, at most; None where only the photos themselves can tell."""
    dataset, most = config.dataset, config.poisoning.identities
    people, each = dataset.get("poison_identities"), dataset.get("poison_images")
    if not people or not each:
        return None
    return min(int(people), most or int(people)), round(int(each) * (1 - float(dataset.get("poison_test_share") or 0)))


def poisoning_seconds(config: DictConfig, estimator: Estimator) -> float | None:
    """Time of the network passes of the track, on the experiment's workers; None where it cannot be told.

    Raises:
        ValueError: a model or method cannot be built.
    """
    numbers = published_photos(config)
    if numbers is None:
        return None
    people, each = numbers
    photos, block, device = people * each, config.poisoning, torch.device(config.runtime.device)
    cells = poisoning_cells(config)
    references = min(int(block.references), each)
    total = sum(photos * estimator.cell_seconds(cell, config, photos, (each, references)) for cell in cells)
    for scenario in poisoning_scenarios(block):
        attacker: Any = OmegaConf.to_container(block.attackers[scenario.attacker], resolve=True)
        if NETWORK not in attacker or "epochs" not in attacker:
            return None
        speed = estimator.classifier_speed(attacker[NETWORK], device)
        adversary = block.regimes[scenario.regime].get("adversary")
        passes = 1 + (int(adversary.get("steps", 0)) if adversary is not None else 0)
        training = photos * int(attacker["epochs"]) * passes * (speed.forward + speed.backward)
        total += len(block.seeds) * len(cells) * training
    return total / workers_of(config)
