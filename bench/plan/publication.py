"""`Publication`: which photos are protected, by which cells, in which chunks; and what is stored of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.core.status import METHOD_FAILED, NOT_PLANNED, OK
from cloakbench.bench.plan.chunks import Chunk
from cloakbench.bench.plan.plan import Cell, Unit
from cloakbench.datasets.base import FaceSet

PROBES = "probes"
"""Name of the publication that most protocols ask about: the probes, protected with the references of their people."""


@dataclass(frozen=True)
class PlannedUnit:
    """A unit of work, with the inputs of its key and the digest of the originals of its photos."""

    unit: Unit
    inputs: Inputs
    original: str


@dataclass(frozen=True)
class Publication:
    """One set of photos and everything that is done to protect them.

    Attributes:
        name: unique in an experiment; `PROBES`, or the protocol's whose photos they are.
        photos: name of the stored faces that are protected.
        references: name of the stored faces that masks are made from; empty for none.
        faces: the photos themselves.
        cells: methods at budgets on surrogates, controls first.
        chunks: the people of the photos, split as the plan has it where nothing limits a method.
        units: of every cell, in the order of `cells`.
        image_metrics: names of the image metrics to be taken of them; None for all of the experiment.
        shown: rows of the faces that figures show, where there are no probes; empty for none.
        pictures: what figures show beside the published photos ``[N, 3, H, W]`` of a chunk: by name, one for each
            photo or None; such as what somebody else makes of them.
    """

    name: str
    photos: str
    references: str
    faces: FaceSet
    cells: tuple[Cell, ...]
    chunks: tuple[Chunk, ...]
    units: tuple[tuple[PlannedUnit, ...], ...]
    image_metrics: tuple[str, ...] | None = None
    shown: tuple[int, ...] = ()
    pictures: Callable[[ChunkPhotos, Tensor], Mapping[str, Sequence[Tensor | None]]] | None = None


@dataclass(frozen=True)
class ChunkPhotos:
    """The stored photos of a unit, as keys know them.

    Attributes:
        unit: key of the unit.
        publication: name of its publication.
        rows: of the publication's faces.
        image_id: their names.
        original: digest of the originals.
        pixels: digest of the protected photos; empty where the unit failed as a whole.
        status: one for each photo.
        note: why the unit failed.
        made_by: the unit itself; None for clean photos. What it decides, its key says.
    """

    unit: str
    publication: str
    rows: tuple[int, ...]
    image_id: tuple[str, ...]
    original: str
    pixels: str
    status: tuple[str, ...]
    note: str = ""
    made_by: Unit | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class CellPhotos:
    """The stored photos of a cell, chunk by chunk; without chunks, of a cell that nobody is asked about."""

    publication: str
    cell: int
    chunks: tuple[ChunkPhotos, ...]

    @property
    def rows(self) -> list[int]:
        """Rows of the publication's faces that the plan protects, in the order of the data set."""
        return sorted(row for chunk in self.chunks for row in chunk.rows)

    @property
    def failure(self) -> tuple[str, str]:
        """Status and reason of a cell that lost photos, for protocols that need all of them; ``ok`` otherwise."""
        if not self.chunks:
            return NOT_PLANNED, ""
        for chunk in self.chunks:
            if not chunk.pixels:
                return chunk.status[0] if chunk.status else METHOD_FAILED, chunk.note
            if lost := sum(status != OK for status in chunk.status):
                return METHOD_FAILED, f"{lost} of {len(chunk.status)} photos of a chunk failed"
        return OK, ""


@dataclass(frozen=True)
class UnitState:
    """What is stored of a unit: ``about`` its photos, or its ``failure`` with ``status`` and ``reason``, or neither."""

    about: Mapping[str, Any] = field(default_factory=dict)
    failure: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        """Whether the unit was worked on to its end."""
        return bool(self.about or self.failure)
