"""The faces of an experiment in its store: written once by the parent, mapped from disk by every worker.

Photos are copied a few megabytes at a time, so that a role may be larger than memory.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cloakbench.bench.core.hashing import content_key, tensor_digest
from cloakbench.bench.store.errors import EntryGoneError
from cloakbench.bench.store.store import Store
from cloakbench.datasets.base import FaceSet

_LABELS = "face_labels"
"""Kind of the entries beside the photos: names, landmarks, attributes."""


def faces_key(manifest_digest: str, role: str, faces: FaceSet) -> tuple[str, dict[str, Any]]:
    """Key and inputs of the stored faces of a role: the photos by the manifest, and what stands beside them."""
    labels = {name: tensor_digest(values) for name, values in _labels(faces).items()}
    inputs = {"manifest": manifest_digest, "role": role, "labels": labels}
    return content_key("faces", inputs), inputs


def _labels(faces: FaceSet) -> dict[str, Tensor]:
    labels = {f"attribute {name}": values for name, values in faces.attributes.items()}
    return labels | ({} if faces.landmarks is None else {"landmarks": faces.landmarks})


def write_faces(store: Store, manifest_digest: str, role: str, faces: FaceSet) -> str:
    """Store faces for the workers, unless they are there already; returns their key."""
    key, inputs = faces_key(manifest_digest, role, faces)
    if not store.has_array("faces", key):
        store.write_array("faces", key, faces.images)
    if not store.has_tensors(_LABELS, key):
        note = {"id": faces.image_id, "identity": faces.identity}
        store.write_tensors(_LABELS, key, _labels(faces), inputs, note)
    return key


def read_faces(store: Store, key: str) -> FaceSet:
    """Faces stored by `write_faces`, mapped from disk.

    Raises:
        EntryGoneError: they are gone or damaged; `write_faces` makes them again.
    """
    images, stored = store.map_array("faces", key), store.read_tensors(_LABELS, key)
    if images is None or stored is None:
        raise EntryGoneError(f"stored faces {key} are gone from {store.root}; run the same command again")
    tensors, note = stored
    attributes = {
        name.removeprefix("attribute "): values for name, values in tensors.items() if name.startswith("attribute ")
    }
    return FaceSet(images, tuple(note["id"]), tuple(note["identity"]), tensors.get("landmarks"), attributes)
