"""`PictureValues`: image metrics of published photos, from the store where somebody has asked for them already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.engine.answers import Answers
from cloakbench.bench.engine.protocol import Judge
from cloakbench.bench.plan.condition import AS_PUBLISHED
from cloakbench.bench.plan.publication import ChunkPhotos
from cloakbench.bench.protocols.quality.protocol import VALUES, Quality


class PictureValues:
    """Image metrics of published photos, as `Quality` stores them.

    Args:
        image_metrics: key to config of an image metric.
    """

    def __init__(self, image_metrics: Mapping[str, Any]) -> None:
        self._quality = Quality(image_metrics)

    def check(self, config: DictConfig, place: str) -> None:
        """Build each metric, see `Quality.check`."""
        self._quality.check(config, place)

    def of(self, answers: Answers, cell: int) -> dict[str, NDArray[np.float64]]:
        """Name of a metric to its values of a cell's photos, by row of the publication; NaN where there is none."""
        found = {}
        for judge in self._quality.formulas:
            values = np.full(len(answers.faces), np.nan)
            for chunk in answers.cells[cell].chunks:
                if chunk.pixels:
                    values[list(chunk.rows)] = self._values(answers, judge, chunk)
            found[self._quality.metric_of(judge).described.name] = values
        return found

    def _values(self, answers: Answers, judge: Judge, chunk: ChunkPhotos) -> NDArray[np.float64]:
        worker, kind = answers.worker, self._quality.kind
        inputs = self._quality.answer_inputs(judge, AS_PUBLISHED, chunk, worker.spec)
        key = content_key(kind, inputs)
        stored = worker.store.read_tensors(kind, key)
        if stored is not None:
            return stored[0][VALUES].numpy()
        made = self._quality.respond(judge, AS_PUBLISHED, chunk, worker).tensors
        worker.store.write_tensors(kind, key, made, inputs, None)
        return made[VALUES].numpy()
