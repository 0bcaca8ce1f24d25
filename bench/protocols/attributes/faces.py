"""Faces of `attributes`: whose photos are protected, where these are not the probes of the experiment."""

from __future__ import annotations

from collections.abc import Sequence

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.plan.chunks import build_chunks
from cloakbench.bench.plan.plan import Cell
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import Publication
from cloakbench.datasets.base import Role

OWN = "attributes"
"""Name of the publication, and of faces that are not all of a role."""


def publish(planning: Planning, cells: Sequence[Cell], role: Role, identities: int | None) -> Publication:
    """The photos of a role, or of its first people, in the chunks that the experiment's own methods would have. Figures
    show a photo of each of the first people, unless they show the probes.

    Raises:
        ConfigError: the data set has no such photos.
    """
    dataset, config = planning.dataset, planning.config
    if role not in dataset.roles():
        raise ConfigError(
            f"data set {dataset.name} has no {role} photos, which attributes is to protect: set "
            "protocols.attributes.photos, or use another data set"
        )
    for one in (role, "reference"):
        if one in dataset.roles() and one not in planning.faces:
            planning.add_faces(one, dataset.faces(one))
    name, faces = str(role), planning.faces[role]
    people = faces.identities()[:identities]
    if len(people) < len(faces.identities()):
        rows_of = faces.rows_by_identity()
        faces = faces.select([row for person in people for row in rows_of[person]])
        name = OWN
        planning.add_faces(name, faces, f"{role} of {len(people)} people")
    chunks = build_chunks(
        faces,
        planning.faces.get("reference"),
        planning.faces.get("auxiliary"),
        people=config.plan.chunk_identities,
        seed=config.seed,
        aims=dataset.aims(),
    )
    shown = () if role == "probe" else tuple(faces.identity.index(one) for one in people[: config.report.examples])
    return planning.publish(OWN, name, "reference", cells, lambda _: chunks, shown=shown)
