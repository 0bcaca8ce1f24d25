"""Points that were given for a photo: sound ones pass, mistakes are that photo's status."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from albums import POINT_COLUMNS, save_photo
from torch import Tensor

from cloakbench.datasets.alignment import ARCFACE_TEMPLATE
from cloakbench.datasets.crops import Cropper
from cloakbench.datasets.given_points import sound_points
from cloakbench.datasets.layouts.csv_table import CsvTable
from cloakbench.datasets.photos import PhotoError

TEMPLATE = torch.tensor(ARCFACE_TEMPLATE, dtype=torch.float64)
POINTS = TEMPLATE + torch.tensor([40.0, 20.0])


def turned(degrees: float) -> Tensor:
    """The template turned in the picture, about its middle, in a photo of 300 pixels."""
    angle = math.radians(degrees)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    return (TEMPLATE - TEMPLATE.mean(0)) @ turn.T + 150


@pytest.mark.parametrize("degrees", [0, 45, 90, 180, 270])
def test_a_face_may_lie_on_its_side_or_head(degrees: float) -> None:
    points = turned(degrees)
    assert sound_points(points, 300, 300) is points


@pytest.mark.parametrize("width", [0.3, 0.0, -0.1])
def test_a_profile_passes(width: float) -> None:
    """Eyes and mouth corners come together and cross a little when a head turns."""
    sound_points((TEMPLATE - TEMPLATE.mean(0)) * torch.tensor([width, 1.0]) + 150, 300, 300)


def test_a_face_at_the_edge_passes() -> None:
    sound_points(TEMPLATE - torch.tensor([45.0, 0.0]), 112, 112)


@pytest.mark.parametrize(
    ("order", "what"),
    [
        ((1, 0, 2, 4, 3), "the eyes and the mouth corners"),
        ((1, 0, 2, 3, 4), "the eyes"),
        ((0, 1, 2, 4, 3), "the mouth corners"),
    ],
)
@pytest.mark.parametrize("degrees", [0, 30, 180])
def test_exchanged_points_are_named(order: tuple[int, ...], what: str, degrees: float) -> None:
    with pytest.raises(PhotoError, match=f"left and right of {what} are exchanged") as caught:
        sound_points(turned(degrees)[list(order)], 300, 300)
    assert caught.value.status == "bad_landmarks"


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (POINTS + 10_000, "outside the photo of 200x150 pixels"),
        (POINTS - 300, "outside the photo"),
        (POINTS * 5, "outside the photo"),
        (POINTS.index_put((torch.tensor(2),), torch.tensor(900.0, dtype=torch.float64)), "outside the photo"),
        (POINTS.index_put((torch.tensor(0), torch.tensor(1)), torch.tensor(math.nan, dtype=torch.float64)), "no"),
        (POINTS * math.inf, "a point is not a number"),
        (POINTS * 1e300, "outside"),
    ],
)
def test_points_that_cannot_be_in_the_photo(points: Tensor, reason: str) -> None:
    with pytest.raises(PhotoError, match=reason):
        sound_points(points, 150, 200)


def test_a_mistake_is_the_status_of_its_photo(tmp_path: Path) -> None:
    save_photo(tmp_path / "a.png", 1)
    cropper = Cropper(None, aligned=False, max_megapixels=1, min_crop_px=1, cache=tmp_path / "cache")
    assert cropper.crop(str(tmp_path / "a.png"), POINTS).status == "ok"
    for wrong in (POINTS[[1, 0, 2, 4, 3]], POINTS + 5000, POINTS * math.nan):
        for _ in range(2):  # made, and from the cache
            crop = cropper.crop(str(tmp_path / "a.png"), wrong)
            assert (crop.status, crop.image) == ("bad_landmarks", None)


def test_a_row_without_a_number_rejects_its_photo_and_no_other(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        save_photo(tmp_path / f"{name}.png", 1)
    numbers = ",".join(f"{value:.1f}" for value in POINTS.flatten().tolist())
    rows = [f"a.png,ann,{numbers}", f"b.png,ann,{numbers.replace('78.3', 'nan')}", f"c.png,bob,{',' * 9}"]
    rows.append(f"d.png,bob,{numbers.replace('78.3', '1e40')}")
    table = "\n".join([f"file,identity,{','.join(POINT_COLUMNS)}", *rows])
    (tmp_path / "photos.csv").write_text(table, encoding="utf-8")
    listing = CsvTable(tmp_path).listing()
    assert list(listing.image_id) == ["a.png", "c.png"]
    assert [(entry.image_id, entry.status) for entry in listing.rejected] == [
        ("b.png", "bad_landmarks"),
        ("d.png", "bad_landmarks"),
    ]
    assert listing.landmarks is not None
    assert math.isnan(listing.landmarks[1, 0, 0])
