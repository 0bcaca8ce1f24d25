"""Photos become pictures that services take: crops enlarged, or full photos with the change pasted back."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from emulators.fleet import face_pixels
from PIL import Image
from torch import Tensor

from cloakbench.bench.core.ranges import SettingError
from cloakbench.bench.services.preparing import PictureRule, upsampled
from cloakbench.datasets.alignment import warp
from cloakbench.datasets.base import FullPhoto
from cloakbench.datasets.paste import paste
from cloakbench.models.pictures import JPEG, Picture

CROP = face_pixels(1, side_px=112)
PHOTO = FullPhoto(face_pixels(3, side_px=400)[:, :300], torch.tensor([[0.5, 0.0, -20.0], [0.0, 0.5, -10.0]]))
CLEAN = warp(PHOTO.pixels, torch.as_tensor(PHOTO.matrix))
PROTECTED = (CLEAN.int() + torch.randint(-8, 9, CLEAN.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 255)


def pixels(picture: Picture) -> Tensor:
    return torch.from_numpy(np.array(Image.open(io.BytesIO(picture.content)))).permute(2, 0, 1)


def test_a_crop_of_the_wanted_side_keeps_every_pixel() -> None:
    picture = upsampled(CROP, 112)
    assert torch.equal(pixels(picture), CROP) and picture.face_px == 112


def test_a_larger_picture_shows_the_same() -> None:
    picture = upsampled(CROP, 448)
    assert (picture.width_px, picture.height_px, picture.face_px) == (448, 448, 448)
    assert (pixels(picture).float().unfold(1, 4, 4).unfold(2, 4, 4).mean(dim=(3, 4)) - CROP).abs().mean() < 2


def test_a_smaller_picture_is_refused() -> None:
    with pytest.raises(SettingError, match="side_px is 100: it must be a whole number of at least 112"):
        upsampled(CROP, 100)


def test_pasting_a_clean_crop_back_changes_no_pixel_of_the_photo() -> None:
    picture = PictureRule("paste_back", 1000).of(CLEAN, CLEAN, PHOTO)
    assert torch.equal(pixels(picture), PHOTO.pixels)
    assert (picture.width_px, picture.height_px, picture.face_px) == (400, 300, 224)


def test_what_protection_did_is_in_the_full_photo_and_nowhere_else() -> None:
    protected = PROTECTED.to(torch.uint8)
    picture = PictureRule("paste_back", 1000).of(protected, CLEAN, PHOTO)
    change = (protected.float() - CLEAN.float())[None]
    assert torch.equal(pixels(picture), paste(PHOTO.pixels, change, torch.as_tensor(PHOTO.matrix)[None]))
    moved = (pixels(picture).int() - PHOTO.pixels.int()).abs()
    assert 0 < moved.max() <= 8 and moved[:, :, 270:].max() == 0 and moved[:, :20, :].max() == 0


def test_larger_photos_are_made_smaller_and_the_face_with_them() -> None:
    for published in (CLEAN, PROTECTED.to(torch.uint8)):
        picture = PictureRule("paste_back", 200).of(published, CLEAN, PHOTO)
        assert (picture.width_px, picture.height_px, picture.face_px) == (200, 150, 112)


def test_enlarging_looks_at_the_published_crop_alone() -> None:
    rule = PictureRule("upsample", 224)
    assert rule.of(CROP, CLEAN).digest == upsampled(CROP, 224).digest
    assert PictureRule("upsample", 224, JPEG).of(CROP, CROP).kind == JPEG


def test_the_rule_is_told_in_words() -> None:
    assert PictureRule().words == "crops enlarged to 448 px, PNG"
    assert PictureRule("paste_back", 900, JPEG).words == (
        "full photos of at most 900 px with the change pasted back, JPEG"
    )


def test_wrong_settings_and_missing_photos_are_named() -> None:
    for wrong in ({"picture": "crop"}, {"side_px": 0}, {"file": "gif"}):
        with pytest.raises(SettingError, match=f"^{next(iter(wrong))} is "):
            PictureRule(**wrong)  # type: ignore[arg-type]
    for photo in (None, FullPhoto(PHOTO.pixels)):
        with pytest.raises(
            SettingError, match="picture is paste_back: it must be upsample for a data set that has crops"
        ):
            PictureRule("paste_back").of(CROP, CROP, photo)
