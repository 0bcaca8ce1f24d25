"""Transforms that clean without learning, against Pillow and against geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from cloakbench.bench.core.ranges import SettingError
from cloakbench.bench.engine.cleaning import Median, WithoutBackground, face_ellipse
from cloakbench.datasets.alignment import ARCFACE_TEMPLATE

PHOTOS = torch.randint(0, 256, (3, 3, 112, 112), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
NAMES = ("ada", "ben", "cleo")


@pytest.mark.parametrize("window", [3, 5])
def test_the_median_is_pillows_away_from_the_border(window: int) -> None:
    found = Median(window)(PHOTOS, NAMES)
    for photo, seen in zip(PHOTOS, found, strict=True):
        expected = np.asarray(Image.fromarray(photo.permute(1, 2, 0).numpy()).filter(ImageFilter.MedianFilter(window)))
        inner = slice(window, -window)
        assert np.array_equal(seen.permute(1, 2, 0).numpy()[inner, inner], expected[inner, inner])
    assert Median(window).label == f"median_{window}"


def test_the_face_stays_and_the_corners_go() -> None:
    found = WithoutBackground()(PHOTOS, NAMES)
    inside = face_ellipse(112, 112, 1.2, 1.45)
    assert all(inside[round(y), round(x)] for x, y in ARCFACE_TEMPLATE)
    assert not inside[[0, 0], [0, -1]].any() and 0.3 < float(inside.float().mean()) < 0.8
    assert torch.equal(found[..., inside], PHOTOS[..., inside]) and not found[..., ~inside].any()
    grey = WithoutBackground(fill="mean")(PHOTOS, NAMES)
    expected = PHOTOS[0].double().mean(dim=(1, 2)).round().to(torch.uint8)
    assert torch.equal(grey[0, :, 0, 0], expected)


def test_the_ellipse_is_wider_with_its_setting_and_follows_the_size_of_the_crop() -> None:
    shares = [float(face_ellipse(112, 112, wide, 1.45).float().mean()) for wide in (0.8, 1.2, 1.6)]
    assert shares == sorted(shares)
    assert float(face_ellipse(224, 224, 1.2, 1.45).float().mean()) == pytest.approx(shares[1], abs=0.01)


@pytest.mark.parametrize(
    ("make", "name"), [(lambda: Median(4), "window_px"), (lambda: WithoutBackground(0), "half_width")]
)
def test_a_setting_out_of_range_is_named(make: object, name: str) -> None:
    with pytest.raises(SettingError, match=name):
        make()  # type: ignore[operator]
