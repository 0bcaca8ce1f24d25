"""`recovered`: photos of a stored unit as the owners of its keys get them back, from the store alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cloakbench.bench.engine.worker import Worker
from cloakbench.bench.plan.chunks import Chunk
from cloakbench.bench.plan.publication import ChunkPhotos
from cloakbench.methods.base import Protector
from cloakbench.methods.recovery import recovered_photos


def gives_photos_back(worker: Worker, photos: ChunkPhotos) -> bool:
    """Whether the method of a unit does, at its settings."""
    return photos.made_by is not None and worker.protector(photos.made_by.cell).recoverable


def recovered(worker: Worker, photos: ChunkPhotos, published: Tensor) -> Tensor:
    """What owners make of published photos and the stored keys.

    Args:
        worker: reads the store.
        photos: of a unit.
        published: the photos as somebody has them now, uint8 ``[N, 3, H, W]``: as stored, or after a transform.

    Returns:
        uint8 ``[N, 3, H, W]`` on the CPU.

    Raises:
        KeysGoneError: the keys are no longer in the store.
        NotImplementedError, ValueError: as `cloakbench.methods.recovery.recovered_photos` says.
    """
    unit = photos.made_by
    if unit is None:
        raise ValueError(f"clean photos of {photos.publication} have no key")
    protector, identities = worker.protector(unit.cell), worker.originals(photos).identity
    people = key_rows(protector, unit.chunk, identities)
    return recovered_photos(protector, published.to(worker.device), worker.private(photos), people).cpu()


def key_rows(protector: Protector, chunk: Chunk, identities: Sequence[str]) -> Tensor:
    """For each photo of a chunk, whose people are ``identities``, its row of the keys, long ``[N]``."""
    if protector.scope == "image":
        return torch.arange(len(identities))
    place = {name: number for number, name in enumerate(chunk.identities)}
    return torch.tensor([place[name] for name in identities])
