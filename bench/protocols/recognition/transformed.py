"""`TransformedPhotos`: protocols that show judges photos as published, and after each transform of the experiment."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.utils import instantiate
from torch import Tensor

from cloakbench.bench.config.node_keys import node_code, node_settings
from cloakbench.bench.core.errors import ConfigError, reason_of
from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.engine.protocol import Judge, Protocol
from cloakbench.bench.engine.transforms import condition_of
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import ChunkPhotos
from cloakbench.datasets.base import FaceSet


class TransformedPhotos(Protocol):
    """A question about photos as published and after each transform."""

    def conditions(self, judge: Judge, planning: Planning) -> Sequence[Condition]:
        return [condition_of(label, settings) for label, settings in planning.transforms.items()]


def try_transforms(planning: Planning, faces: FaceSet) -> None:
    """Apply each transform to the first photo: whether a strength fits depends on the size of the photos.

    Raises:
        ConfigError: one cannot be applied.
    """
    for label, settings in planning.transforms.items():
        if settings:
            try:
                instantiate(dict(settings))(faces.images[:1], faces.image_id[:1])
            except (ValueError, RuntimeError) as problem:
                raise ConfigError(f"transform {label}: {reason_of(problem)}") from problem


def seen_inputs(condition: Condition, photos: ChunkPhotos, spec: WorkerSpec) -> Inputs:
    """What a transform adds to what decides an answer; names count only after one, which may draw noise by name."""
    if condition.is_plain:
        return {}
    return {
        "transform": node_settings(condition.settings),
        "names": list(photos.image_id),
        "code": node_code(condition.settings, base=("cloakbench.bench.engine.transforms",)),
        **spec.learnt_from(condition.settings),
    }


def seen_photos(condition: Condition, photos: ChunkPhotos, worker: Worker) -> Tensor:
    """The published photos of a chunk as a judge sees them, uint8 ``[N, 3, H, W]``."""
    images = worker.photos(photos)
    return images if condition.is_plain else worker.made(condition.settings)(images, photos.image_id)
