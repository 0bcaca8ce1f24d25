"""`Timer` and `Speed`: what a protocol needs to say how long it will take, before anything is built for real."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from omegaconf import DictConfig

from cloakbench.bench.plan.plan import Cell


@dataclass(frozen=True)
class Speed:
    """Seconds per photo of one network on this machine, in one thread."""

    forward: float
    backward: float


class Timer(Protocol):
    """Times networks and counts passes; `cloakbench.bench.doctor.estimate.Estimator` is one."""

    def cell_seconds(self, cell: Cell, config: DictConfig, photos: int, numbers: tuple[int, int]) -> float:
        """Seconds per photo of one cell; ``numbers`` are photos and references of a person."""
        ...

    def attribute_speed(self, key: str, config: DictConfig) -> Speed:
        """Of an attribute network of the experiment: of a pass through all of its networks."""
        ...

    def classifier_speed(self, network: Mapping[str, Any], device: torch.device) -> Speed:
        """Of a classifier that somebody trains, from the config of what makes it."""
        ...
