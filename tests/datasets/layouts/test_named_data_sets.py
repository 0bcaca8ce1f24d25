"""Every named data set, from its YAML over a planted copy to faces in roles and a manifest of digests."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest
from hydra.utils import instantiate

from cloakbench.bench.config.compose import WITHOUT_EXPERIMENT, compose_config
from cloakbench.datasets.photo_set import PhotoSet

from .planted import PLANTED

FEW = ["references_per_identity=0", "probes_per_identity=2", "auxiliary_identities=0", "impostor_identities=0"]
"""Roles that fit into 20 photos; the planted photos hold no face, so they are taken for crops."""
SETTINGS = {
    "celeba_hq_impersonation": [f"layout.impersonation.{word}" for word in ("people=3", "groups=1", "impostors=1")],
    "privacy_commons": [],
    "privacy_celebrities": [],
    "utkface": [],
}
ROLES = {
    "celeba_hq_impersonation": {"probe", "distractor", "auxiliary", "impostor"},
    "utkface": {"train", "validation", "test"},
}


def data_set(name: str, root: Path) -> PhotoSet:
    PLANTED[name](root)
    chosen = SETTINGS.get(name, FEW)
    words = [
        WITHOUT_EXPERIMENT,
        f"dataset={name}",
        f"dataset.root={root}",
        "dataset.aligned=true",
        "dataset.cache=null",
        "dataset.workers=0",
    ]
    return instantiate(compose_config([*words, *(f"dataset.{word}" for word in chosen)]).dataset, _convert_="all")


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_copy_loads_with_roles_and_digests(tmp_path: Path, name: str) -> None:
    data = data_set(name, tmp_path)
    expected = ROLES.get(name)
    assert expected is None or set(data.roles()) == expected
    assert {"probe"} <= set(data.roles()) or name == "utkface"
    entries = [entry for entry in data.manifest().entries if entry.role]
    assert len(entries) == len({entry.image_id for entry in entries})
    for role in data.roles():
        faces = data.faces(role)
        rows = [entry for entry in entries if entry.role == role]
        assert [entry.image_id for entry in rows] == list(faces.image_id)
        assert [entry.identity for entry in rows] == list(faces.identity)
        for entry, image in zip(rows, faces.images, strict=True):
            assert entry.sha256 == hashlib.sha256(image.numpy().tobytes()).hexdigest()
    by_role = {role: set(data.faces(role).identity) for role in data.roles()}
    if "reference" in by_role:
        assert by_role["reference"] == by_role["probe"]
    for role in by_role.keys() & {"auxiliary", "impostor", "distractor"}:
        others = set().union(*(people for name, people in by_role.items() if name != role))
        assert not by_role[role] & others


def test_the_published_roles_of_opom_are_kept(tmp_path: Path) -> None:
    data = data_set("privacy_commons", tmp_path)
    for role, photos in (("reference", 10), ("probe", 5)):
        assert set(Counter(data.faces(role).identity).values()) == {photos}


def test_everybody_of_the_impersonation_list_has_somebody_to_be_mistaken_for(tmp_path: Path) -> None:
    data = data_set("celeba_hq_impersonation", tmp_path)
    aims = data.aims()
    assert set(aims) == set(data.faces("probe").identity)
    assert set(aims.values()) == set(data.faces("auxiliary").identity)


def test_labels_come_with_the_faces(tmp_path: Path) -> None:
    data = data_set("utkface", tmp_path)
    assert {"age", "gender", "race"} == set(data.faces("train").attributes)
    assert len(data.faces("train")) > len(data.faces("test")) > 0
    assert not set(data.faces("train").identity) & set(data.faces("test").identity)
