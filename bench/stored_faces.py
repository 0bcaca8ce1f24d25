"""The faces of an experiment in its store: written once by the parent, mapped from disk by every worker."""

from __future__ import annotations

from typing import Any

from cloakbench.bench.keys import content_key
from cloakbench.bench.store import Store, StoreError
from cloakbench.datasets.base import FaceSet


def faces_key(manifest_digest: str, role: str) -> tuple[str, dict[str, Any]]:
    """Key and inputs of the stored faces of a role."""
    inputs = {"manifest": manifest_digest, "role": role}
    return content_key("faces", inputs), inputs


def write_faces(store: Store, manifest_digest: str, role: str, faces: FaceSet) -> str:
    """Store faces for the workers, unless they are there already; returns their key."""
    key, inputs = faces_key(manifest_digest, role)
    if not store.has_tensors("faces", key):
        tensors = {"images": faces.images} | ({} if faces.landmarks is None else {"landmarks": faces.landmarks})
        store.write_tensors("faces", key, tensors, inputs, {"id": faces.image_id, "identity": faces.identity})
    return key


def read_faces(store: Store, key: str) -> FaceSet:
    """Faces stored by `write_faces`, mapped from disk."""
    stored = store.read_tensors("faces", key, verify=False)
    if stored is None:
        raise StoreError(f"stored faces {key} are gone from {store.root}; run the same command again")
    tensors, note = stored
    return FaceSet(tensors["images"], tuple(note["id"]), tuple(note["identity"]), tensors.get("landmarks"))
