"""`NetworkMetric`: an image metric that looks through a network from local files; a gap while one of them is absent.

A measurement fetches nothing, and no other network ever stands in: `cloakbench fetch metric=NAME` gets the files, or
says where they are to be had.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from cloakbench.bench.protocols.quality.image_metric import ImageMetric
from cloakbench.models.weight_file import WeightFile

Distance = Callable[[Tensor, Tensor], Tensor]
"""Two batches of photos ``[N, 3, H, W]`` in [0, 1] to a value for each pair, ``[N]``."""


class NetworkMetric(ImageMetric):
    """Loads its network at the first pair.

    Args:
        weights: the files by the setting that names each; None for one that is not set.
    """

    needs: ClassVar[str]
    """Which weights, in words."""
    page: ClassVar[str]
    """Where its files are published."""
    licence: ClassVar[str]
    """Of code and weights."""
    by_hand: ClassVar[str] = ""
    """What to get by hand, where not every file can be fetched."""

    def __init__(self, weights: Mapping[str, WeightFile | None]) -> None:
        self.weights = {name: file for name, file in weights.items() if file is not None}
        name, title = self.described.name, self.described.title
        self.remedy = f"cloakbench fetch metric={name}"
        here = {setting for setting, file in self.weights.items() if file.place.is_file()}
        places = [setting if setting == "path" else f"{setting}.path" for setting in weights if setting not in here]
        if absent := [f"image_metrics.{name}.{place}" for place in places]:
            self.missing = f"{title} needs {self.needs}: {self.remedy}, or name the local file in {', '.join(absent)}"
        self._distance: Distance | None = None

    @property
    def files(self) -> Mapping[str, Path]:
        return {setting: file.place for setting, file in self.weights.items()}

    @abstractmethod
    def load(self, device: torch.device) -> Distance:
        """The distance; raises ``WeightError`` where a file is not what it should be."""

    def values(self, original: Tensor, protected: Tensor) -> Tensor:
        if self._distance is None:
            self._distance = self.load(original.device)
        return self._distance(original, protected)
