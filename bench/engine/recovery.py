"""`recovered`: photos of a stored unit as the owners of its keys get them back, from the store alone."""

from __future__ import annotations

import torch
from torch import Tensor

from cloakbench.bench.engine.worker import Worker
from cloakbench.bench.plan.publication import ChunkPhotos
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
    protector, chunk = worker.protector(unit.cell), unit.chunk
    faces = worker.originals(photos)
    if protector.scope == "image":
        people = torch.arange(len(photos.rows))
    else:
        place = {name: number for number, name in enumerate(chunk.identities)}
        people = torch.tensor([place[name] for name in faces.identity])
    return recovered_photos(protector, published.to(worker.device), worker.private(photos), people).cpu()
