"""Impersonation lists: drawn once, kept, checked, and taken from elsewhere in the same format."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cloakbench.bench.config.compose import compose_config
from cloakbench.datasets.layouts.celeba import CelebA
from cloakbench.datasets.layouts.celeba_hq import CelebAHq
from cloakbench.datasets.layouts.impersonation import Impersonation
from cloakbench.datasets.listing import Listing
from cloakbench.datasets.photos import DatasetError

from . import planted

SMALL = Impersonation(people=4, groups=2, target_photos=2, impostors=0)
FILE = "impersonation_4x2x2_seed0.csv"


def crowd(people: int, photos: int = 2) -> Listing:
    names = [f"{person:05d}/{n}" for person in range(people) for n in range(photos)]
    identity = [name.split("/")[0] for name in names]
    return Listing(names, identity, names, attributes={"row": np.arange(len(names), dtype=np.int16)})


def ids(listing: Listing, role: str) -> set[str]:
    return {name for name, given in zip(listing.image_id, listing.role, strict=True) if given == role}


def test_the_protocol_at_full_size(tmp_path: Path) -> None:
    source = crowd(1200)
    listing = Impersonation().applied(source, tmp_path)
    roles = Counter(listing.role)
    assert roles == {"probe": 1000, "auxiliary": 10, "distractor": 2 * 98, "impostor": 2 * 97}, "half of 195 people"
    assert Counter(Counter(listing.aims.values()).values()) == {200: 5}
    people = {role: {name.split("/")[0] for name in ids(listing, role)} for role in roles}
    assert len(people["probe"]) == 1000
    assert people["auxiliary"] == set(listing.aims.values())
    assert set(listing.aims) == people["probe"]
    assert not people["probe"] & people["auxiliary"]
    assert not people["distractor"] & (people["probe"] | people["auxiliary"])
    assert not people["impostor"] & (people["probe"] | people["auxiliary"] | people["distractor"])
    assert listing.ignored == 1000, "the second photos of the protected people"
    kept = listing.attributes["row"].tolist()
    assert [source.image_id[row] for row in kept] == listing.image_id
    assert [path.name for path in tmp_path.iterdir()] == ["impersonation_1000x5x2_seed0.csv"]


def test_the_kept_list_wins_and_seeds_differ(tmp_path: Path) -> None:
    first = SMALL.applied(crowd(20), tmp_path)
    assert SMALL.applied(crowd(20), tmp_path / "other").image_id == first.image_id
    grown = SMALL.applied(crowd(40), tmp_path)
    assert ids(grown, "probe") == ids(first, "probe")
    assert grown.aims == first.aims
    assert ids(replace(SMALL, seed=1).applied(crowd(20), tmp_path), "probe") != ids(first, "probe")


def test_a_list_from_elsewhere_is_taken(tmp_path: Path) -> None:
    own = SMALL.applied(crowd(20), tmp_path / "a")
    published = tmp_path / "published.csv"
    (tmp_path / "a" / FILE).rename(published)
    taken = replace(SMALL, seed=99, file=str(published)).applied(crowd(20), tmp_path)
    assert (taken.image_id, taken.role, taken.aims) == (own.image_id, own.role, own.aims)


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as stream:
        return list(csv.reader(stream))


@pytest.mark.parametrize(
    ("place", "column", "value", "message"),
    [
        (0, 3, "set", "line 1: the columns must be image_id,identity,role,group"),
        (7, 2, "victim", "line 8: expected image, person, probe or auxiliary, group"),
        (5, 0, "00099/0", "line 6: 00099/0 shows nobody: there is no such photo"),
        (5, 1, "00019x", "line 6: .* the list belongs to other data"),
        (5, 3, "1", "1 people in the smallest group, dataset.layout.impersonation asks for 2"),
        (1, 3, "7", "3 groups with a target, dataset.layout.impersonation asks for 2"),
        (6, 2, "auxiliary", "3 protected people, dataset.layout.impersonation asks for 4"),
    ],
)
def test_a_list_that_does_not_fit(tmp_path: Path, place: int, column: int, value: str, message: str) -> None:
    SMALL.applied(crowd(20), tmp_path)
    content = rows(tmp_path / FILE)
    content[place][column] = value
    planted.write(tmp_path / FILE, *(",".join(row) for row in content))
    with pytest.raises(DatasetError, match=message):
        SMALL.applied(crowd(20), tmp_path)


def test_a_list_that_is_cut_off(tmp_path: Path) -> None:
    SMALL.applied(crowd(20), tmp_path)
    content = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(content[: content.rindex("probe")])
    with pytest.raises(DatasetError, match="line 9: 4 values are needed, one per column, and there are 3"):
        SMALL.applied(crowd(20), tmp_path)


def test_too_few_people_and_numbers_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="needs 2 people with 2 photos and 4 more; there are 2 and 3"):
        SMALL.applied(crowd(5), tmp_path)
    with pytest.raises(DatasetError, match="needs 2 people with 2 photos and 4 more; there are 0 and 4"):
        SMALL.applied(crowd(20, photos=1), tmp_path)
    with pytest.raises(DatasetError, match="people a multiple of groups"):
        Impersonation(people=7, groups=2)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kept = replace(SMALL, file=str(tmp_path / "file" / "list.csv"))
    with pytest.raises(DatasetError, match=r"cannot keep the impersonation list .* set .*impersonation.file"):
        kept.applied(crowd(20), tmp_path)


def test_celeba_layouts_pass_it_on(tmp_path: Path) -> None:
    planted.celeba(tmp_path / "celeba")
    celeba = CelebA(tmp_path / "celeba", impersonation=Impersonation(people=2, groups=1, impostors=0)).listing()
    assert Counter(celeba.role) == {"probe": 2, "auxiliary": 2, "distractor": 8}
    assert celeba.landmarks is not None
    assert len(celeba.landmarks) == len(celeba)
    planted.celeba_hq(tmp_path / "hq")
    hq = CelebAHq(tmp_path / "hq", impersonation=SMALL).listing()
    assert Counter(hq.role) == {"probe": 4, "auxiliary": 4, "distractor": 8}
    with pytest.raises(DatasetError, match=r"needs dataset\.layout\.identities=true"):
        CelebA(tmp_path, identities=False, impersonation=SMALL)


def test_preset_asks_for_the_papers_sizes() -> None:
    config = compose_config(["experiment=smoke", "dataset=celeba_hq_impersonation"]).dataset.layout
    assert config._target_.endswith("CelebAHq")
    assert (config.impersonation.people, config.impersonation.groups, config.impersonation.target_photos) == (
        1000,
        5,
        2,
    )
