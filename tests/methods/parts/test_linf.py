"""The Linf ball in its two forms, against a search over whole grey levels and a sum in exact numbers."""

from __future__ import annotations

import torch

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.parts.linf import LinfBall, project_noise_


def test_the_projection_is_the_nearest_valid_photo_within_the_budget() -> None:
    draws = generator("linf")
    images = torch.randint(0, 256, (40,), generator=draws) / 255
    photos = 3 * torch.rand(40, generator=draws) - 1
    levels = torch.arange(0, 256) / 255
    projected = LinfBall.around(images, 8 / 255).project_(photos.clone())
    for image, photo, found in zip(images, photos, projected, strict=True):
        allowed = levels[((levels - image).abs() <= 8.001 / 255)]
        best = min(max(float(photo), float(allowed.min())), float(allowed.max()))
        assert abs(float(found) - best) < 1e-6


def test_the_order_of_the_two_bounds_does_not_matter() -> None:
    draws = generator("linf order")
    images = torch.rand(1000, generator=draws)
    photos = 3 * torch.rand(1000, generator=draws) - 1
    one_by_one = photos.clamp(images - 0.1, images + 0.1).clamp(0, 1)
    assert torch.equal(LinfBall.around(images, 0.1).project_(photos.clone()), one_by_one)


def test_noise_is_cut_in_place_and_what_is_not_a_number_stays() -> None:
    noise = torch.tensor([-1.0, 0.02, 1.0, torch.nan])
    assert project_noise_(noise, 0.05) is noise
    assert torch.equal(noise[:3], torch.tensor([-0.05, 0.02, 0.05])) and noise[3].isnan()
    assert LinfBall.around(torch.zeros(1), 0.1).project_(torch.tensor([torch.nan])).isnan()
