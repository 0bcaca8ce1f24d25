"""Crops become pictures that services take."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from emulators.fleet import face_pixels
from PIL import Image

from cloakbench.bench.core.ranges import SettingError
from cloakbench.bench.services.preparing import upsampled

CROP = face_pixels(1, side_px=112)


def test_a_crop_of_the_wanted_side_keeps_every_pixel() -> None:
    picture = upsampled(CROP, 112)
    found = torch.from_numpy(np.array(Image.open(io.BytesIO(picture.content)))).permute(2, 0, 1)
    assert torch.equal(found, CROP) and picture.face_px == 112


def test_a_larger_picture_shows_the_same() -> None:
    picture = upsampled(CROP, 448)
    found = torch.from_numpy(np.array(Image.open(io.BytesIO(picture.content)))).permute(2, 0, 1).float()
    assert (picture.width_px, picture.height_px, picture.face_px) == (448, 448, 448)
    assert (found.unfold(1, 4, 4).unfold(2, 4, 4).mean(dim=(3, 4)) - CROP).abs().mean() < 2


def test_a_smaller_picture_is_refused() -> None:
    with pytest.raises(SettingError, match="side_px is 100: it must be a whole number of at least 112"):
        upsampled(CROP, 100)
