"""DSSIM against an independent implementation."""

from __future__ import annotations

import pytest
import pytorch_msssim
import torch

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.parts.dssim import DSSIM

CLEAN = torch.rand(3, 3, 40, 24, generator=generator("dssim"))


def test_value_and_gradient_agree_with_the_ssim_package() -> None:
    stream = generator("dssim", "noise")
    photos = (CLEAN + 0.1 * torch.randn(CLEAN.shape, generator=stream)).clamp(0, 1).double().requires_grad_()
    clean = CLEAN.double()
    ours = DSSIM(clean, "left_out")(photos)
    theirs = (1 - pytorch_msssim.ssim(photos, clean, data_range=1, size_average=False, K=(0.01, 0.03))) / 2
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)
    assert (ours > 0.02).all()
    gradients = [torch.autograd.grad(value.sum(), photos, retain_graph=True)[0] for value in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-9)


def test_a_photo_does_not_differ_from_itself_and_the_penalty_has_no_gradient() -> None:
    photos = CLEAN.clone().requires_grad_()
    dssim = DSSIM(CLEAN)(photos)
    assert torch.equal(dssim, torch.zeros(3))
    penalty = 1e6 * (dssim - 0.004).clamp(min=0).square().sum()
    (gradient,) = torch.autograd.grad(penalty, photos)
    assert float(penalty.detach()) == 0 and not gradient.any()


def test_mirrored_borders_are_windows_over_a_mirrored_photo() -> None:
    photos = (CLEAN + 0.1 * torch.randn(CLEAN.shape, generator=generator("dssim", "noise"))).clamp(0, 1).double()
    larger = [torch.nn.functional.pad(images, (5, 5, 5, 5), mode="reflect") for images in (photos, CLEAN.double())]
    torch.testing.assert_close(DSSIM(CLEAN.double())(photos), DSSIM(larger[1], "left_out")(larger[0]))


def test_both_is_the_larger_of_the_two() -> None:
    """One photo changed at its border alone, one inside alone, one everywhere."""
    change = 0.1 * torch.randn(CLEAN.shape, generator=generator("dssim", "noise"))
    inside = torch.zeros_like(CLEAN)
    inside[..., 8:-8, 8:-8] = 1
    change[0] *= 1 - inside[0]
    change[1] *= inside[1]
    photos = (CLEAN + change).clamp(0, 1)
    mirrored, left_out, both = (DSSIM(CLEAN, borders)(photos) for borders in ("mirrored", "left_out", "both"))
    torch.testing.assert_close(both, torch.maximum(mirrored, left_out))
    assert mirrored[0] > left_out[0] and left_out[1] > mirrored[1]


def test_with_mirrored_borders_a_corner_counts_about_as_much_as_the_middle() -> None:
    grey = torch.full((2, 3, 40, 40), 0.5)
    dotted = grey.clone()
    dotted[0, :, 0, 0] += 0.05
    dotted[1, :, 20, 20] += 0.05
    corner, middle = DSSIM(grey)(dotted).tolist()
    assert 0.3 < corner / middle < 3
    corner, middle = DSSIM(grey, "left_out")(dotted).tolist()
    assert corner < 0.01 * middle


def test_a_photo_smaller_than_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="11 pixels"):
        DSSIM(torch.zeros(1, 3, 10, 20))
