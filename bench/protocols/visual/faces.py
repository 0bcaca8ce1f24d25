"""Faces of `visual`: whose photos are protected, and which of them a veil was made from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import torch

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.plan.planning import Planning
from cloakbench.datasets.base import Dataset, FaceSet, Role


def visual_faces(
    dataset: Dataset, roles: Sequence[Role], identities: int | None, references: int | None = None
) -> FaceSet:
    """Photos of the first people that have some in every role, person by person, roles in turn.

    In turn, so that a limit of photos of each person leaves as many of each role. Of references there are those that
    a veil is made from: ``references`` of everybody, or as many as the one who has fewest (`build_chunks`).

    Raises:
        ConfigError: the data set has not all of these roles, or nobody has photos in all of them.
    """
    if missing := [role for role in roles if role not in dataset.roles()]:
        raise ConfigError(f"data set {dataset.name} has no {missing[0]} photos, which visual is to protect")
    of_role = {role: dataset.faces(role) for role in roles}
    rows = {role: faces.rows_by_identity() for role, faces in of_role.items()}
    if references is not None and "reference" in rows:
        given = min(references, *map(len, rows["reference"].values()))
        rows["reference"] = {name: own[:given] for name, own in rows["reference"].items()}
    names = [name for name in rows[roles[0]] if all(name in own for own in rows.values())][:identities]
    if not names:
        raise ConfigError(f"nobody of data set {dataset.name} has photos in all of the roles {', '.join(roles)}")
    if len(roles) == 1:
        return of_role[roles[0]].select([row for name in names for row in rows[roles[0]][name]])
    start, offsets = 0, {}
    for role, faces in of_role.items():
        offsets[role], start = start, start + len(faces)
    everything = _joined(list(of_role.values()))
    order = []
    for name in names:
        for turn in zip_longest(*([offsets[role] + row for row in own[name]] for role, own in rows.items())):
            order += [row for row in turn if row is not None]
    return everything.select(order)


def add_faces(planning: Planning, roles: Sequence[Role], identities: int | None, references: int | None = None) -> str:
    """Store the photos that are protected, and those of the roles that they are searched and made with.

    Returns:
        The name of the former: of their role where they are all the photos of one.
    """
    dataset = planning.dataset
    for role in ("reference", "distractor"):
        if role in dataset.roles() and role not in planning.faces:
            planning.add_faces(role, dataset.faces(role))
    faces = visual_faces(dataset, roles, identities, references)
    [first, *others] = roles
    if not others and faces.image_id == dataset.faces(first).image_id:
        if first not in planning.faces:
            planning.add_faces(first, faces)
        return first
    label = f"{' and '.join(roles)} of {len(faces.identities())} people"
    if "reference" in roles and references is not None:
        label += f", {references} references"
    planning.add_faces("visual", faces, label)
    return "visual"


def roles_of(faces: FaceSet, roles: Sequence[Role], references: FaceSet | None) -> list[Role]:
    """The role of each photo."""
    if len(roles) == 1:
        return [roles[0]] * len(faces)
    seen = set() if references is None else set(references.image_id)
    return ["reference" if name in seen else "probe" for name in faces.image_id]


def first_photos(faces: FaceSet, of: Sequence[Role], roles: Sequence[Role], people: int) -> tuple[int, ...]:
    """Rows of the first photo of each of the first people, in one role after the other; ``of`` are those of photos."""
    named = faces.identities()[:people]
    places = list(zip(faces.identity, of, strict=True))
    return tuple(places.index((name, role)) for role in roles for name in named)


def _joined(parts: Sequence[FaceSet]) -> FaceSet:
    points = [one.landmarks for one in parts]
    known = [one for one in points if one is not None]
    return FaceSet(
        torch.cat([one.images for one in parts]),
        tuple(name for one in parts for name in one.image_id),
        tuple(name for one in parts for name in one.identity),
        torch.cat(known) if len(known) == len(points) else None,
    )
