"""State of units and cells: what is stored of them, looked up by their keys."""

from __future__ import annotations

from collections.abc import Sequence

from cloakbench.bench.core.status import METHOD_FAILED
from cloakbench.bench.plan.publication import CellPhotos, ChunkPhotos, PlannedUnit, UnitState
from cloakbench.bench.store.store import SHOWN, Store
from cloakbench.datasets.base import FaceSet


def unit_state(store: Store, key: str) -> UnitState:
    """What is stored of a unit; nothing where its photos are there and the pictures that were made beside them are not.

    Keys that are gone were taken away by their owner: the photos stay, and can no longer be recovered.
    """
    about = store.read_about("protected", key)
    if about is not None and (not about.get("shown") or store.has_tensors(SHOWN, key)):
        return UnitState(about=about)
    return UnitState(failure=store.read_json("failures", key) or {})


def chunk_photos(planned: PlannedUnit, state: UnitState, faces: FaceSet) -> ChunkPhotos:
    """The photos of a unit as keys know them; ``faces`` are those of its publication."""
    unit = planned.unit
    rows = unit.chunk.probes
    failed = state.failure.get("status", METHOD_FAILED)
    return ChunkPhotos(
        unit=unit.key,
        publication=unit.publication,
        rows=rows,
        image_id=tuple(faces.image_id[row] for row in rows),
        original=planned.original,
        pixels=state.about["pixels"] if state.about else "",
        status=tuple(state.about["status"]) if state.about else (failed,) * len(rows),
        note="" if state.about else state.failure.get("reason", "not finished"),
        made_by=unit,
    )


def cell_photos(number: int, units: Sequence[PlannedUnit], states: Sequence[UnitState], faces: FaceSet) -> CellPhotos:
    """The photos of a cell as keys know them."""
    chunks = tuple(chunk_photos(planned, state, faces) for planned, state in zip(units, states, strict=True))
    return CellPhotos(units[0].unit.publication, number, chunks)
