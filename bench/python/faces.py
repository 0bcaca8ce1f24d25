"""`GivenFaces`: face sets that somebody has in memory, as a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from cloakbench.bench.core.errors import ConfigError
from cloakbench.datasets.base import ROLES, Dataset, FaceSet, Role


class GivenFaces(Dataset):
    """Faces by role.

    Args:
        faces: role to faces; roles are held apart as `cloakbench.datasets.base.Dataset` says.
        name: what reports call them.

    Raises:
        ConfigError: a role does not exist, or photos play two roles.
    """

    version = "1"

    def __init__(self, faces: Mapping[str, FaceSet], name: str = "given_faces") -> None:
        if unknown := [role for role in faces if role not in ROLES]:
            raise ConfigError(f"there is no role {unknown[0]!r} of faces; there are: {', '.join(ROLES)}")
        self.name = name
        self._faces: dict[Role, FaceSet] = {role: faces[role] for role in get_args(Role) if role in faces}
        owner: dict[str, str] = {}
        for role, some in self._faces.items():
            for digest in some.digests():
                if owner.setdefault(digest, role) != role:
                    raise ConfigError(f"a photo is both {owner[digest]} and {role}: give it one role")

    def faces(self, role: Role) -> FaceSet:
        return self._faces[role]

    def roles(self) -> tuple[Role, ...]:
        return tuple(self._faces)
