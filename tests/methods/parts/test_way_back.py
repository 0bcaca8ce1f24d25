"""Views that lead through the saved photo: JPEG files against Pillow's, and what resampling leaves."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos
from cloakbench.methods.parts.transfer.ensemble import Transfer
from cloakbench.methods.parts.transfer.jpeg import through_jpeg
from cloakbench.methods.parts.transfer.views import AffineViews
from cloakbench.methods.parts.transfer.way_back import WayBack
from cloakbench.methods.pgd import PGD


def smooth_photos(count: int, side: int = 64) -> Tensor:
    coarse = torch.rand(count, 3, 8, 8, generator=generator("way back"))
    return (F.interpolate(coarse, size=side, mode="bicubic").clamp(0, 1) * 255).round() / 255


def by_pillow(photo: Tensor, quality: int) -> Tensor:
    file = io.BytesIO()
    pixels = (photo * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize("side", [64, 59])
def test_a_jpeg_file_is_that_of_pillow_but_for_rounding(side: int) -> None:
    photos = smooth_photos(3, side)
    photos = (photos + 0.02 * torch.randn(photos.shape, generator=generator("grain"))).clamp(0, 1)
    photos = (photos * 255).round() / 255
    for quality in (30, 60, 90):
        seen = through_jpeg(photos, torch.full((3,), float(quality)))
        for photo, ours in zip(photos, seen, strict=True):
            theirs = by_pillow(photo, quality)
            assert (ours - theirs).abs().mean() < 0.35 * (photo - theirs).abs().mean()
            assert (ours - theirs).abs().mean() < 1.5 / 255


def test_each_photo_has_its_own_quality_and_gradients_pass_straight_through() -> None:
    photos = smooth_photos(2).mul(0.8).add(0.1).mean(dim=1, keepdim=True).expand(-1, 3, -1, -1).contiguous()
    both = through_jpeg(photos, torch.tensor([20.0, 95.0]))
    assert torch.equal(both[1], through_jpeg(photos[1:], torch.tensor([95.0]))[0])
    assert (both - photos).abs().mean(dim=(1, 2, 3))[0] > 2 * (both - photos).abs().mean(dim=(1, 2, 3))[1]
    leaf, weights = photos.clone().requires_grad_(), torch.rand(2, 1, 64, 64, generator=generator("grey"))
    (slope,) = torch.autograd.grad((through_jpeg(leaf, torch.tensor([20.0, 95.0])) * weights).sum(), leaf)
    # What a change of grey does: colour is not in it.
    torch.testing.assert_close(slope.sum(dim=1, keepdim=True), 3 * weights, rtol=0, atol=1e-3)


@pytest.mark.parametrize("views", [None, AffineViews(1, 1, 0, 0, 0)])
def test_a_way_without_strength_changes_nothing(views: Any) -> None:
    way = WayBack(views, 1, 1, 0, 0)
    photos = smooth_photos(2)
    assert torch.equal(way.see(photos, torch.rand(2, way.numbers, generator=generator("draws"))), photos)

    def images(method: PGD) -> Tensor:
        return method.protect(tiny_photos(), tiny_context()).images

    assert torch.equal(images(PGD(steps=3, transfer=Transfer(way))), images(PGD(steps=3)))


def test_photos_come_back_to_their_places_without_what_is_finer_than_the_file() -> None:
    photos = smooth_photos(2)
    grain = 0.1 * torch.randn(photos.shape, generator=generator("grain")).sign()
    draws = torch.tensor([[0.0, 1.0, 0.2, 1.0, 0.5], [1.0, 0.0, 0.9, 1.0, 0.5]])
    way = WayBack(None, 0.6, 1.0, 0.5, 0.0)
    assert (way.see(photos, draws) - photos).abs().mean() < 0.01
    left = way.see(photos + grain, draws) - way.see(photos, draws)
    assert left.abs().mean() < 0.6 * grain.abs().mean()


def test_other_views_come_after_the_way_and_have_numbers_of_their_own() -> None:
    photos, views = smooth_photos(2), AffineViews(1, 1, 0, 0, mirror_probability=0.5)
    way = WayBack(views)
    assert way.numbers == 10 and way.for_each_network and WayBack(AffineViews(for_each_network=False)).numbers == 10
    assert not WayBack(AffineViews(for_each_network=False)).for_each_network
    draws = torch.rand(2, 10, generator=generator("draws"))
    draws[:, 9] = torch.tensor([0.1, 0.9])
    seen, back = way.see(photos, draws), WayBack().see(photos, draws[:, :5])
    assert torch.equal(seen[0], back[0].flip(-1)) and torch.equal(seen[1], back[1])


def test_gradients_come_back_from_every_pixel() -> None:
    leaf = smooth_photos(1).requires_grad_()
    WayBack().see(leaf, torch.rand(1, 5, generator=generator("draws"))).sum().backward()
    assert leaf.grad is not None and (leaf.grad != 0).float().mean() > 0.99


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale_low": 0},
        {"scale_low": 1.2},
        {"shift_px": -1},
        {"jpeg_probability": 2},
        {"quality_low": 0},
        {"quality_high": 10},
    ],
)
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r" is .*: it must be "):
        WayBack(**wrong)
