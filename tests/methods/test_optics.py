"""The simulated camera against optics in closed form, and the learnt mask against defocus of equal error."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from cloakbench.methods.optics import Optics
from cloakbench.methods.parts.obfuscation.optics_training import moved_points, similar_views
from cloakbench.methods.parts.obfuscation.phase_mask import imaged, modes, point_spread, zernike
from cloakbench.methods.parts.tiny_world import similarity, tiny_context, tiny_photos, trained_context
from cloakbench.methods.parts.transfer.views import sample

SHORT: dict[str, Any] = {"width": 8, "training_steps": 40}


def waves(order: int, **named: float) -> torch.Tensor:
    found = torch.zeros(len(modes(order)))
    for place, (n, m) in enumerate(modes(order)):
        found[place] = named.get(f"z{n}_{m}", 0.0)
    return found


def test_polynomials_are_orthonormal_and_begin_with_defocus() -> None:
    polynomials, pupil = zernike(5)
    assert modes(5)[0] == (2, 0) and len(modes(5)) == 18
    flat = polynomials.flatten(1)
    torch.testing.assert_close(flat @ flat.T / pupil.sum(), torch.eye(18), atol=0.06, rtol=0)
    places = (2 * torch.arange(64) + 1) / 64 - 1
    radius = places.square().unsqueeze(1) + places.square()
    expected = math.sqrt(3) * (2 * radius - 1) * pupil
    torch.testing.assert_close(polynomials[0], expected, atol=0.02, rtol=0)


def test_an_ideal_lens_hardly_blurs_and_light_is_neither_lost_nor_made() -> None:
    ideal = point_spread(waves(4), *zernike(4))
    torch.testing.assert_close(ideal.sum(dim=(1, 2)), torch.ones(3))
    assert (ideal[:, 32, 32] > 0.4).all() and (ideal.amax(dim=(1, 2)) == ideal[:, 32, 32]).all()
    grey = torch.full((1, 3, 20, 24), 0.3)
    torch.testing.assert_close(imaged(grey, point_spread(waves(4, z2_0=0.5), *zernike(4))), grey)


def test_defocus_spreads_a_point_as_far_as_rays_go_and_shorter_waves_farther() -> None:
    """Rays: a slope of ``dW / d rho`` waves over the pupil's radius of 32 samples, a quarter of the field, lands four
    times as many samples away, which are half as many pixels."""
    rms = 0.6
    spread = point_spread(waves(4, z2_0=rms), *zernike(4))
    places = torch.arange(64) - 32
    distance = (places.square().unsqueeze(1) + places.square()).float().sqrt()
    edge = 4 * math.sqrt(3) * rms * 2
    for colour, wavelength in zip(spread, (610, 550, 470), strict=True):
        own = edge * 550 / wavelength
        assert colour[distance <= 1.15 * own].sum() > 0.93
        assert colour[distance <= 0.6 * own].sum() < 0.5


def test_imaging_is_a_convolution() -> None:
    spread = point_spread(waves(4, z3_1=0.3, z2_2=0.2), *zernike(4))
    scene = torch.zeros(1, 3, 112, 112)
    scene[..., 50, 60] = 1
    found = imaged(scene, spread)[0, :, 50 - 32 : 50 + 32, 60 - 32 : 60 + 32]
    torch.testing.assert_close(found, spread, atol=1e-6, rtol=0)


def test_points_move_as_their_photos_do() -> None:
    places = similar_views(torch.tensor([[0.1, 0.9, 0.2, 0.7], [0.8, 0.2, 0.6, 0.3]]))
    photos, points = torch.zeros(2, 3, 64, 64), torch.tensor([[[-0.2, 0.3]], [[0.25, -0.1]]])
    pixels = ((points + 1) * 64 - 1) / 2
    for photo, ((x, y),) in zip(photos, pixels, strict=True):
        down, across = (torch.arange(64).view(shape) for shape in ((64, 1), (1, 64)))
        photo[:] = (-((across - x).square() + (down - y).square()) / 8).exp()
    seen = sample(photos, places)[:, 0]
    share = seen / seen.sum(dim=(1, 2), keepdim=True)
    axis = (2 * torch.arange(64) + 1) / 64 - 1
    centre = torch.stack([(share.sum(dim=1) * axis).sum(dim=1), (share.sum(dim=2) * axis).sum(dim=1)], dim=1)
    torch.testing.assert_close(moved_points(points, places)[:, 0], centre, atol=0.01, rtol=0)


@pytest.mark.slow
def test_at_equal_error_of_the_wavefront_the_learnt_mask_hides_more_than_defocus() -> None:
    found = {}
    for mask in ("learnt", "defocus"):
        method = Optics(mask, noise_255=0, **SHORT)
        context = trained_context(method)
        camera = method.training.trained(context.trained["optics"]).mask
        assert float(camera.waves().norm()) == pytest.approx(0.8)
        found[mask] = similarity(tiny_photos(), method.protect(tiny_photos(), context).images.float() / 255)
    assert found["learnt"] < found["defocus"] - 0.02


def test_faces_without_landmarks_and_an_order_too_high_are_one_line() -> None:
    context = tiny_context()
    bare = replace(context, auxiliary=replace(context.require_auxiliary(), landmarks=None))
    with pytest.raises(ValueError, match=r"^optics: its camera learns to keep the points of faces, so two auxiliary"):
        Optics(**SHORT).run_training(bare)
    with pytest.raises(ValueError, match=r"^order is 9: it must be one of 2, 3, 4, 5, 6, 7, 8$"):
        Optics(order=9)
