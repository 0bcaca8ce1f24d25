"""`ImageMetric`: one number for each pair of an original and what was published of it; a class and its YAML.

Photos are published in 8 bits, and a metric is given both as float32 RGB ``[N, 3, H, W]`` in [0, 1].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from cloakbench.bench.core.status import OK
from cloakbench.bench.report.metric import Metric

ALL_PAIRS = "photos that were protected, one pair (original, protected) each"
_PAIRS_AT_ONCE = 4  # small enough to stay in the cache: 1.7 times as fast as 32


class ImageMetric(ABC):
    """How far a published photo is from its original. A subclass takes its settings in ``__init__`` and is built from
    ``conf/image_metric/NAME.yaml``."""

    described: ClassVar[Metric]
    """Name, title, unit, direction, and what the mean is taken over."""
    undefined: ClassVar[str] = "without a value"
    """What NaN means, for the note of a measurement: so many pairs ``identical``."""
    missing: str = ""
    """Why it cannot be computed here at all; empty when it can."""
    remedy: str = ""
    """What to do about that: for `cloakbench doctor`."""

    @property
    def files(self) -> Mapping[str, Path]:
        """Files that are read, by the setting that names each: what they hold is part of every key, and where they lie
        of none."""
        return {}

    @property
    def network(self) -> str:
        """Digest of a network that is part of the project and that it looks through; part of every key."""
        return ""

    @abstractmethod
    def values(self, original: Tensor, protected: Tensor) -> Tensor:
        """One value for each pair, ``[N]``, from that pair alone; NaN where it is not defined."""

    @torch.no_grad()
    def of(self, original: Tensor, protected: Tensor, status: Sequence[str]) -> Tensor:
        """The value of each pair of 8-bit photos, float64 ``[N]``; NaN where ``status`` is not ``ok``, or the metric is
        undefined or missing.

        Raises:
            ValueError: the images are not two uint8 batches of one shape, or ``status`` has another length.
        """
        for images in (original, protected):
            if images.dtype != torch.uint8 or images.ndim != 4 or images.shape != original.shape:
                raise ValueError(f"both must be uint8 {list(original.shape)}, got {images.dtype} {list(images.shape)}")
        if len(status) != len(original):
            raise ValueError(f"status must have {len(original)} entries, one per photo")
        values = torch.full((len(original),), torch.nan, dtype=torch.float64)
        rows = torch.tensor([state == OK for state in status], dtype=torch.bool).nonzero()[:, 0]
        for part in rows.split(_PAIRS_AT_ONCE) if len(rows) and not self.missing else ():
            values[part] = self.values(original[part].float() / 255, protected[part].float() / 255).double()
        return values


def image_mean(
    name: str, title: str, decimals: int, unit: str = "", *, protects: bool | None = True, pairs: str = ALL_PAIRS
) -> Metric:
    """The description of an image metric: a mean over photos."""
    return Metric(name, title, pairs, "mean", unit, decimals, protects)
