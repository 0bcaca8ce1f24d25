"""Crops without their background."""

from __future__ import annotations

import pytest
import torch

from cloakbench.bench.core.ranges import SettingError
from cloakbench.bench.engine.cleaning.background import WithoutBackground, face_ellipse
from cloakbench.datasets.alignment import ARCFACE_TEMPLATE

PHOTOS = torch.randint(0, 256, (3, 3, 112, 112), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
NAMES = ("ada", "ben", "cleo")


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


def test_a_setting_out_of_range_is_named() -> None:
    with pytest.raises(SettingError, match="half_width"):
        WithoutBackground(0)
