"""Keys of units: everything that can change a protected photo, as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloakbench.bench.config.node_keys import node_code, node_settings
from cloakbench.bench.core.hashing import content_key, tensor_digest
from cloakbench.bench.core.machine import FULL_PRECISION
from cloakbench.bench.plan.chunks import Chunk
from cloakbench.bench.plan.plan import Cell
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.base import Protector
from cloakbench.methods.context import Need


@dataclass(frozen=True)
class UnitDigests:
    """What the rows of a chunk stand for.

    Attributes:
        photos, references, auxiliary: digest of each photo, by row of its faces.
        networks: model key to fingerprint.
        auxiliary_faces: key of the stored auxiliary faces; empty for none.
        reference_faces: what the rows of references belong to, or None.
        generator: gives the fingerprint of the generator; asked only where a method needs one.
        pixels: gives the digest of a reference photo's pixels, by row.
    """

    photos: Sequence[str]
    references: Sequence[str]
    auxiliary: Sequence[str]
    networks: Mapping[str, str]
    auxiliary_faces: str
    reference_faces: FaceSet | None
    generator: Callable[[], str]
    pixels: Callable[[int], str]


def unit_key(
    cell: Cell,
    chunk: Chunk,
    photos: FaceSet,
    digests: UnitDigests,
    seed: int,
    precision: str = FULL_PRECISION,
) -> tuple[str, dict[str, Any]]:
    """Key and inputs of a unit: the method and its code, the surrogates, and the photos of the chunk.

    In another precision than float32 that, too, since a method may compute with networks that are no surrogates.
    """
    protector = cell.protector
    sees_references = Need.REFERENCES in protector.needs
    inputs: dict[str, Any] = {
        "method": node_settings(cell.config),
        "code": node_code(cell.config, base=("cloakbench.methods.base", type(protector).__module__)),
        "surrogates": [digests.networks[key] for key in cell.surrogates],
        "seed": seed,
        "people": list(chunk.identities),
        "probes": [(photos.image_id[row], digests.photos[row]) for row in chunk.probes],
        "references": [[digests.references[row] for row in rows] for rows in chunk.references]
        if sees_references
        else [],
        "aims": [digests.auxiliary[row] for row in chunk.aims] if Need.AIM in protector.needs else [],
        "files": dict(protector.files_read([photos.image_id[row] for row in chunk.probes])),
        "auxiliary": digests.auxiliary_faces if Need.AUXILIARY in protector.needs else "",
        "landmarks": _landmarks_digest(photos, chunk.probes) if Need.LANDMARKS in protector.needs else "",
    }
    inputs |= _made_of_references(protector, chunk, digests)
    if precision != FULL_PRECISION:
        inputs["precision"] = precision
    return content_key("protected", inputs), inputs


def _made_of_references(protector: Protector, chunk: Chunk, digests: UnitDigests) -> dict[str, Any]:
    """What a method sees of references beside the photos themselves: pictures made of the first, points on each."""
    inputs: dict[str, Any] = {}
    if Need.GENERATOR in protector.needs:
        first = [digests.pixels(rows[0]) if rows else "" for rows in chunk.references]
        inputs["views"] = {"generator": digests.generator(), "count": protector.view_count, "photos": first}
    faces = digests.reference_faces
    if Need.REFERENCE_LANDMARKS in protector.needs and faces is not None:
        inputs["reference_landmarks"] = [_landmarks_digest(faces, rows) for rows in chunk.references]
    return inputs


def _landmarks_digest(faces: FaceSet, rows: Sequence[int]) -> str:
    return "" if faces.landmarks is None else tensor_digest(faces.landmarks[list(rows)])
