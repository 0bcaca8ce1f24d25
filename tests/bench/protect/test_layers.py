"""Layers of a face: every photo pixel under a crop is in one place of one layer, and comes back to where it was."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cloakbench.bench.protect.layers import Layers


def similarity(scale: float, degrees: float, x: float, y: float) -> Tensor:
    """From photo to crop."""
    turn = math.radians(degrees)
    return torch.tensor(
        [
            [scale * math.cos(turn), -scale * math.sin(turn), x],
            [scale * math.sin(turn), scale * math.cos(turn), y],
        ],
        dtype=torch.float64,
    )


@settings(max_examples=25, deadline=None)
@given(
    scale=st.floats(0.2, 2.5),
    degrees=st.floats(-40, 40),
    x=st.floats(-30, 20),
    y=st.floats(-30, 20),
)
def test_every_pixel_under_the_crop_is_written_once_from_where_it_was_read(
    scale: float, degrees: float, x: float, y: float
) -> None:
    height, width, size = 61, 47, 16
    matrix = similarity(scale, degrees, x, y)
    grid = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), -1).flatten(0, 1)
    near = (grid.flip(1).double() @ matrix[:, :2].mT + matrix[:, 2]).round()
    under = ((near >= 0) & (near < size)).all(dim=1)
    if not under.any():
        with pytest.raises(ValueError, match="outside the photo"):
            Layers.under(matrix, height, width, size)
        return
    layers = Layers.under(matrix, height, width, size)
    assert sorted(layers.pixel.tolist()) == under.nonzero()[:, 0].tolist()
    photo = torch.arange(3 * height * width).view(3, height, width)
    crops = layers.read(photo)
    assert torch.equal(layers.write(photo, crops), photo)
    changed = layers.write(photo, -1 - crops)
    assert torch.equal(changed.flatten(1)[:, under], -1 - photo.flatten(1)[:, under])
    assert torch.equal(changed.flatten(1)[:, ~under], photo.flatten(1)[:, ~under])
    row, column = divmod(int(layers.pixel[0]), width)
    place = int(layers.place[0])
    layer, cell = divmod(place, size * size)
    assert crops[layer].flatten(1)[:, cell].tolist() == photo[:, row, column].tolist()
    assert near.view(height, width, 2)[row, column].tolist() == [cell % size, cell // size]


def test_a_photo_of_the_size_of_its_crop_is_one_layer() -> None:
    photo = torch.arange(3 * 16 * 16).view(3, 16, 16)
    layers = Layers.under(similarity(1, 0, 0, 0), 16, 16, 16)
    assert torch.equal(layers.read(photo), photo[None])
