"""Putting a changed crop back: where it lands, how much it may change, and what it must leave alone."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cloakbench.datasets import paste as paste_module
from cloakbench.datasets.alignment import ARCFACE_TEMPLATE, similarity_transform, warp
from cloakbench.datasets.paste import FEATHER_PX, crop_box, paste

SIZE = 112


def similarity(scale: float, degrees: float, x: float, y: float) -> Tensor:
    angle = math.radians(degrees)
    a, b = scale * math.cos(angle), scale * math.sin(angle)
    return torch.tensor([[a, -b, x], [b, a, y]], dtype=torch.float64)


def centred(scale: float, degrees: float, height: int, width: int) -> Tensor:
    """The crop's centre on the photo's centre."""
    matrix = similarity(scale, degrees, 0, 0)
    middle = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float64)
    matrix[:, 2] = (SIZE - 1) / 2 - matrix[:, :2] @ middle
    return matrix


def random_photo(height: int, width: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=draw)


def crop_coordinates(matrix: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    points = torch.stack([x, y], -1) @ matrix[:, :2].mT + matrix[:, 2]
    return points[..., 0], points[..., 1]


def inside_crop(matrix: Tensor, height: int, width: int, margin: float = 0.0) -> Tensor:
    u, v = crop_coordinates(matrix, height, width)
    low, high = -0.5 + margin, SIZE - 0.5 - margin
    return (u > low) & (u < high) & (v > low) & (v < high)


def smooth_difference(amplitude: float = 20) -> Tensor:
    """Slow waves, which survive both interpolations."""
    v, u = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    waves = [torch.sin(u / 17 + channel) * torch.cos(v / 13 - channel) for channel in range(3)]
    return (amplitude * torch.stack(waves)).round()


matrices = st.builds(
    lambda log_scale, degrees, x, y: similarity(math.exp(log_scale), degrees, x, y),
    st.floats(math.log(0.3), math.log(8)),
    st.floats(-180, 180),
    st.floats(-60, 160),
    st.floats(-60, 160),
)


@settings(max_examples=60, deadline=None)
@given(
    matrix=matrices, budget=st.integers(0, 16), seed=st.integers(0, 2**20), feather=st.sampled_from([0.5, FEATHER_PX])
)
def test_no_pixel_leaves_the_budget_and_none_outside_the_crop_changes(
    matrix: Tensor, budget: int, seed: int, feather: float
) -> None:
    photo = random_photo(90, 130, seed)
    draw = torch.Generator().manual_seed(seed)
    difference = torch.randint(-budget, budget + 1, (1, 3, SIZE, SIZE), generator=draw)
    pasted = paste(photo, difference, matrix[None], feather)
    change = (pasted.short() - photo.short()).abs()
    assert change.max() <= budget
    assert not change[:, ~inside_crop(matrix, 90, 130)].any()
    left, top, right, bottom = crop_box(matrix, 90, 130)
    change[:, top:bottom, left:right] = 0
    assert not change.any()


@settings(max_examples=25, deadline=None)
@given(first=matrices, second=matrices, budget=st.integers(1, 12), seed=st.integers(0, 2**20))
def test_overlapping_crops_stay_within_the_budget_together(
    first: Tensor, second: Tensor, budget: int, seed: int
) -> None:
    photo = random_photo(80, 100, seed)
    draw = torch.Generator().manual_seed(seed)
    differences = torch.randint(-budget, budget + 1, (2, 3, SIZE, SIZE), generator=draw)
    pasted = paste(photo, differences, torch.stack([first, second]))
    assert (pasted.short() - photo.short()).abs().max() <= budget
    alone = inside_crop(first, 80, 100) & ~inside_crop(second, 80, 100, -1e-6)
    assert torch.equal(pasted[:, alone], paste(photo, differences[:1], first[None])[:, alone])
    assert torch.equal(pasted, paste(photo, differences.flip(0), torch.stack([second, first])))


def test_overlapping_changes_add_up_to_the_limit() -> None:
    photo = torch.full((3, 60, 60), 100, dtype=torch.uint8)
    matrix = centred(1, 0, 60, 60)
    twice = paste(photo, torch.full((2, 3, SIZE, SIZE), 5), torch.stack([matrix, matrix]))
    assert (twice == 105).all()
    against = torch.stack([torch.full((3, SIZE, SIZE), 5), torch.full((3, SIZE, SIZE), -3)])
    assert (paste(photo, against, torch.stack([matrix, matrix])) == 102).all()


def test_zero_differences_and_no_crops_change_nothing() -> None:
    photo = random_photo(70, 90)
    matrix = centred(1.3, 25, 70, 90)
    assert torch.equal(paste(photo, torch.zeros(1, 3, SIZE, SIZE), matrix[None]), photo)
    assert torch.equal(paste(photo, torch.zeros(0, 3, SIZE, SIZE), torch.zeros(0, 2, 3)), photo)


def test_the_photo_given_is_not_touched() -> None:
    photo = random_photo(70, 90)
    before = photo.clone()
    assert not torch.equal(paste(photo, torch.full((1, 3, SIZE, SIZE), 8), centred(1, 0, 70, 90)[None]), before)
    assert torch.equal(photo, before)


def mirrored_landmarks_matrix() -> Tensor:
    """The similarity of a face in a mirrored photo: eyes and mouth corners are named from left to right again."""
    points = torch.tensor(ARCFACE_TEMPLATE) * 1.8 + torch.tensor([30.0, 20.0])
    points[:, 0] = 299 - points[:, 0]
    return similarity_transform(points[[1, 0, 2, 4, 3]], torch.tensor(ARCFACE_TEMPLATE))


@pytest.mark.parametrize(
    "matrix",
    [
        centred(0.5, 0, 300, 300),
        centred(0.5, 33, 300, 300),
        centred(0.45, 180, 300, 300),
        centred(1.0, -90, 300, 300),
        centred(1.7, 10, 300, 300),
        mirrored_landmarks_matrix(),
        similarity(0.4, 5, 40, 30),  # a third of the crop lies outside the photo
    ],
    ids=["twice", "rotated", "upside down", "quarter turn", "small", "mirrored", "partly outside"],
)
def test_who_cuts_the_crop_out_again_finds_the_difference(matrix: Tensor) -> None:
    """An error of position by one crop pixel would be an error of more than one grey level here."""
    photo = torch.full((3, 300, 300), 120, dtype=torch.uint8)
    difference = smooth_difference()
    found = warp(paste(photo, difference[None], matrix[None]), matrix).float() - warp(photo, matrix).float()
    margin = int(FEATHER_PX) + 2
    whole = warp(torch.full((3, 300, 300), 255, dtype=torch.uint8), matrix)[0] == 255
    whole[:margin] = whole[-margin:] = whole[:, :margin] = whole[:, -margin:] = False
    assert whole.float().mean() > 0.3
    assert (found - difference)[:, whole].abs().max() <= 1.5
    assert (found - difference)[:, whole].mean().abs() < 0.1


def test_a_shift_of_one_pixel_would_be_noticed() -> None:
    difference = smooth_difference()
    assert (difference[:, :, 1:] - difference[:, :, :-1]).abs().max() >= 1


@pytest.mark.parametrize("scale", [2.0, 4.0, 7.3])
def test_a_coarse_photo_gets_the_average(scale: float) -> None:
    """One-pixel stripes cancel where a photo pixel covers several of them; a constant stays what it is."""
    photo = torch.full((3, 60, 60), 100, dtype=torch.uint8)
    matrix = centred(scale, 0, 60, 60)
    middle = inside_crop(matrix, 60, 60, 12)
    assert middle.any()
    stripes = (16 * (torch.arange(SIZE) % 2) - 8).float().expand(1, 3, SIZE, SIZE)
    average = (paste(photo, stripes, matrix[None]).float() - 100)[:, middle].abs().max()
    assert average <= 8 * (1 / int(scale) if int(scale) % 2 else 0) + 0.5
    constant = paste(photo, torch.full((1, 3, SIZE, SIZE), 8), matrix[None])
    assert (constant[:, middle] == 108).all()


def test_the_border_fades_to_zero() -> None:
    photo = torch.full((3, 200, 200), 100, dtype=torch.uint8)
    matrix = similarity(1, 0, -20, -30)
    change = paste(photo, torch.full((1, 3, SIZE, SIZE), 8), matrix[None], feather_px=4)[0, 86].short() - 100
    assert change[20:26].tolist() == [1, 3, 5, 7, 8, 8]
    assert change[19] == 0
    assert change[126:133].tolist() == [8, 8, 7, 5, 3, 1, 0]


def test_black_and_white_stay_valid() -> None:
    matrix = centred(1, 0, 50, 50)
    for level, step in ((0, -8), (255, 8)):
        photo = torch.full((3, 50, 50), level, dtype=torch.uint8)
        assert torch.equal(paste(photo, torch.full((1, 3, SIZE, SIZE), step), matrix[None]), photo)


def test_a_large_face_is_pasted_in_bands_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = random_photo(700, 500)
    matrix, difference = centred(0.18, 12, 700, 500), smooth_difference(8)
    banded = paste(photo, difference[None], matrix[None])
    monkeypatch.setattr(paste_module, "_BAND_ROWS", 10_000)
    assert torch.equal(paste(photo, difference[None], matrix[None]), banded)


def test_a_crop_outside_the_photo_changes_nothing() -> None:
    photo = random_photo(40, 40)
    assert torch.equal(paste(photo, torch.full((1, 3, SIZE, SIZE), 8), similarity(1, 0, 500, 0)[None]), photo)
