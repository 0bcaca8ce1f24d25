"""`Responses`: what one recogniser says about one set of protected photos, and the mates in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloakbench.bench.core.status import OK, TARGET_FAILED

_CHUNK_ELEMENTS = 4_000_000
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Responses:
    """What one target says about one set of protected photos. Embeddings are unit vectors, float ``[., D]``.

    Attributes:
        protected: embeddings of the protected probes, ``[N, D]``.
        clean: embeddings of the same probes before protection, ``[N, D]``.
        identity: the person of each probe, integers ``[N]``.
        image_id: N names.
        gallery: embeddings of the distractors, ``[G, D]``; people who are not among the probes.
        target_embeddings: for each probe another photo of the person it should be taken for, ``[N, D]``.
        thresholds: false accept rate to cosine threshold (``calibration.calibrate``); NaN where it is a gap.
        legacy_thresholds: the same with the constants of the target's card.
        status: what became of each photo before it reached the target; ``ok`` for all when left out.
        references: embeddings of the people's other clean photos, ``[R, D]``, where a gallery holds them.
        reference_identity: the person of each, as in ``identity``; -1 for somebody who is not among the probes.

    A row of an embedding that is not finite, or zero, is a failure of the target and never becomes a number.

    Raises:
        ValueError: shapes disagree, or answered embeddings are not unit vectors.
    """

    protected: Tensor
    clean: Tensor
    identity: Tensor
    image_id: Sequence[str]
    gallery: Tensor | None = None
    target_embeddings: Tensor | None = None
    thresholds: Mapping[float, float] = field(default_factory=dict)
    legacy_thresholds: Mapping[float, float] = field(default_factory=dict)
    status: Sequence[str] | None = None
    references: Tensor | None = None
    reference_identity: Tensor | None = None

    def __post_init__(self) -> None:
        count, size = self.protected.shape
        given = {"clean": self.clean, "target_embeddings": self.target_embeddings}
        for name, value in given.items():
            if value is not None and tuple(value.shape) != (count, size):
                raise ValueError(f"{name} must be [{count}, {size}] like protected, got {list(value.shape)}")
        if self.gallery is not None and (self.gallery.ndim != 2 or self.gallery.shape[1] != size):
            raise ValueError(f"gallery must be [G, {size}], got {list(self.gallery.shape)}")
        for name, column in {"identity": self.identity, "image_id": self.image_id, "status": self.status}.items():
            if column is not None and len(column) != count:
                raise ValueError(f"{name} has {len(column)} entries for {count} probes")

    def row_status(self) -> NDArray[np.object_]:
        """Status of each probe: the given one, or ``target_failed`` where the target did not answer."""
        status = np.array(list(self.status) if self.status is not None else [OK] * len(self.image_id), dtype=object)
        answered_both = (answered(self.protected) & answered(self.clean)).numpy()
        status[(status == OK) & ~answered_both] = TARGET_FAILED
        return status


def answered(embeddings: Tensor) -> Tensor:
    """Which rows hold an embedding, bool ``[N]``: finite and not zero.

    Raises:
        ValueError: a row that does is not a unit vector (within 1 %).
    """
    norms = torch.cat([part.double().norm(dim=1) for part in embeddings.split(_ROWS_AT_ONCE)])
    valid = torch.isfinite(norms) & (norms > 0)
    if bool(((norms[valid] - 1).abs() > 0.01).any()):
        raise ValueError("embeddings must be unit vectors; take them from Recogniser.embed")
    return valid


def cosine(left: Tensor, right: Tensor) -> Tensor:
    """Cosines of the last axis, rounded from float64 to float32.

    Rounding once at the end makes a score independent of the order in which a library adds up its products, so two
    equal photos tie in every chunk and on every machine.
    """
    return (left.double() * right.double()).sum(-1).float()


@dataclass(frozen=True)
class Mates:
    """Other photos of each probe's person, padded to ``[N, M]``: row numbers, and which of them count."""

    index: Tensor
    valid: Tensor

    @classmethod
    def of(cls, identity: Tensor, usable: Tensor) -> Mates:
        """The other probes by identity ``[N]``; photos that are not ``usable`` (bool ``[N]``) are nobody's mate."""
        found = cls.among(identity, identity, usable)
        return cls(found.index, found.valid & (found.index != torch.arange(len(identity))[:, None]))

    @classmethod
    def among(cls, identity: Tensor, others: Tensor, usable: Tensor) -> Mates:
        """The photos ``[R]`` of people ``others`` that show the person of each probe, ``identity`` ``[N]``; photos that
        are not ``usable`` (bool ``[R]``) are nobody's mate."""
        people, person = others.unique(return_inverse=True)
        sizes = person.bincount(minlength=len(people))
        members = torch.full((len(people) + 1, int(sizes.max()) if len(sizes) else 1), -1)
        order = person.argsort(stable=True)
        starts = sizes.cumsum(0) - sizes
        members[person[order], torch.arange(len(order)) - starts[person[order]]] = order
        place = torch.searchsorted(people, identity)
        known = people[place.clamp(max=max(len(people) - 1, 0))] == identity if len(people) else place < 0
        index = members[place.where(known, torch.full_like(place, len(people)))]
        valid = index >= 0
        index = index.clamp(min=0)
        return cls(index, valid & usable[index] if len(usable) else valid)

    def cosines(self, probes: Tensor, photos: Tensor) -> Tensor:
        """Cosine of each probe ``[N, D]`` with each of its mates among ``photos`` ``[N, D]``; NaN where padded."""
        rows = max(1, _CHUNK_ELEMENTS // max(1, self.index.shape[1] * probes.shape[1]))
        parts = [
            cosine(probe[:, None, :], photos[index])
            for probe, index in zip(probes.split(rows), self.index.split(rows), strict=True)
        ]
        return torch.cat(parts).masked_fill(~self.valid, torch.nan)


def count_rows(flags: Tensor) -> NDArray[np.float64]:
    """Number of true entries in each row of ``[N, M]``, as the float64 that tables of nullable numbers start from."""
    return flags.sum(dim=1).double().numpy()
