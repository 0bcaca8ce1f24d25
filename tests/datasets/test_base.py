"""FaceSet checks its columns; manifests identify the data."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cloakbench.datasets.base import FaceSet, Manifest, ManifestEntry


def faces() -> FaceSet:
    images = torch.arange(3 * 3 * 4 * 4, dtype=torch.uint8).view(3, 3, 4, 4)
    return FaceSet(images, ("a", "b", "c"), ("x", "y", "x"), torch.zeros(3, 5, 2), {"age": torch.tensor([0, 1, 2])})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(3, 3, 4, 4)}, "uint8"),
        ({"images": torch.zeros(3, 1, 4, 4, dtype=torch.uint8)}, "uint8"),
        ({"images": torch.zeros(2, 3, 4, 4, dtype=torch.uint8)}, "3 entries"),
        ({"identity": ("x", "y")}, "3 entries"),
        ({"landmarks": torch.zeros(2, 5, 2)}, "3 entries"),
        ({"attributes": {"age": torch.zeros(4)}}, "3 entries"),
        ({"image_id": ("a", "b", "a")}, "not unique"),
    ],
)
def test_faces_that_do_not_fit_together_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(faces(), **change)


def test_select_keeps_columns_together() -> None:
    chosen = faces().select([2, 0])
    assert chosen.image_id == ("c", "a") and chosen.identity == ("x", "x")
    assert chosen.attributes["age"].tolist() == [2, 0]
    assert torch.equal(chosen.images, faces().images[[2, 0]])
    assert faces().identities() == ("x", "y")


def test_rows_and_labels_follow_the_first_appearance_of_an_identity() -> None:
    mixed = replace(faces(), identity=("y", "x", "y"))
    assert list(mixed.rows_by_identity().items()) == [("y", [0, 2]), ("x", [1])]
    assert mixed.labels().tolist() == [0, 1, 0] and mixed.labels().dtype == torch.long
    nobody = mixed.select([])
    assert nobody.rows_by_identity() == {} and nobody.labels().shape == (0,)


def test_digests_follow_pixels() -> None:
    other = faces()
    other.images[1, 0, 0, 0] += 1
    same = [a == b for a, b in zip(faces().digests(), other.digests(), strict=True)]
    assert same == [True, False, True]


@pytest.mark.parametrize(
    "change", [{"sha256": "1"}, {"role": "probe"}, {"identity": "y"}, {"image_id": "b"}, {"status": "no_face"}]
)
def test_manifest_digest_covers_every_column_but_the_note(change: dict[str, str]) -> None:
    entry = ManifestEntry("a", "x", "reference", "0")
    digest = Manifest("world", "1", (entry,)).digest()
    assert Manifest("world", "1", (replace(entry, **change),)).digest() != digest
    assert Manifest("world", "1", (replace(entry, note="n"),)).digest() == digest
    assert Manifest("world", "2", (entry,)).digest() != digest
