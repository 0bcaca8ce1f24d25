"""Several roots as one table."""

import numpy as np
import pytest
import torch

from cloakbench.datasets.listing import Listing
from cloakbench.datasets.photo_index import build_catalogue
from cloakbench.datasets.photos import DatasetError


def listing(*photos: str, **columns: object) -> Listing:
    """Photos named ``<identity>/<file>``."""
    names = [photo.split("/")[0] for photo in photos]
    return Listing(photos, names, [f"root/{photo}" for photo in photos], **columns)  # type: ignore[arg-type]


def test_people_of_an_earlier_root_are_left_out_with_one_line_each():
    main, more, last = listing("ann/0", "bob/0"), listing("ann/1", "ann/2", "cid/0"), listing("cid/1", "dan/0")
    found = build_catalogue(main, {"distractor": more, "auxiliary": last})
    assert found.image_id == ["ann/0", "bob/0", "cid/0", "dan/0"]
    assert found.role == [None, None, "distractor", "auxiliary"]
    assert [(entry.image_id, entry.status) for entry in found.rejected] == [
        ("ann/", "identity_clash"),
        ("cid/", "identity_clash"),
    ]
    assert "(2 photos not used)" in found.rejected[0].note


def test_a_name_that_is_taken():
    main = Listing(["cid/0"], ["ann"], ["a"])
    found = build_catalogue(main, {"impostor": listing("cid/0", "cid/1")})
    assert found.image_id == ["cid/0", "cid/1"]
    assert [(entry.image_id, entry.status) for entry in found.rejected] == [("cid/0", "duplicate")]


def test_people_have_their_rows_in_listed_order():
    main = listing("bob/0", "ann/0", "bob/1", "ann/1", role=[None, "probe", None, "reference"])
    [bob, ann] = build_catalogue(main, {}).people
    assert (bob.name, list(bob.free), dict(bob.fixed)) == ("bob", [0, 2], {})
    assert (ann.name, list(ann.free), dict(ann.fixed)) == ("ann", [], {"probe": [1], "reference": [3]})
    contradictory = listing("ann/0", "ann/1", role=["impostor", "train"])
    with pytest.raises(DatasetError, match="gives ann the roles impostor, train"):
        _ = build_catalogue(contradictory, {}).people


def test_points_and_labels_are_those_of_the_main_root():
    points = np.ones((2, 5, 2), dtype=np.float32)
    points[1, 3, 0] = np.nan
    main = listing("ann/0", "ann/1", landmarks=points, attributes={"age": np.array([30, -1], dtype=np.int16)})
    found = build_catalogue(main, {"distractor": listing("bob/0")})
    first = found.landmarks(0)
    assert first is not None
    assert torch.equal(first, torch.ones(5, 2, dtype=torch.float64))
    assert found.landmarks(1) is None
    assert found.landmarks(2) is None
    assert found.attributes([2, 0])["age"].tolist() == [-1, 30]
