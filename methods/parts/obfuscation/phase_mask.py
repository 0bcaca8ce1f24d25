"""A camera with a phase mask in its pupil: Zernike polynomials, the point spread function, incoherent imaging.

Sources: Noll, "Zernike polynomials and atmospheric turbulence", JOSA 1976, for polynomials with a mean square of 1;
Goodman, "Introduction to Fourier Optics", for incoherent imaging: the image is the scene convolved with the squared
size of the pupil's Fourier transform. Everything is differentiable in the coefficients.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

PUPIL = 64
"""Samples across the pupil, in a field of twice as many, so that the point spread function is sampled finely enough;
a pixel of the sensor is two of its samples wide, and the function ends at 64 pixels."""
_RED_GREEN_BLUE_NM = (610.0, 550.0, 470.0)
_DESIGN_NM = 550.0
_REACH_PX = PUPIL // 2


def modes(order: int) -> list[tuple[int, int]]:
    """Radial and angular degree of every polynomial up to a radial degree that does more than shift the picture.

    The first is defocus, (2, 0). Piston and the two tilts are left out.
    """
    found = [(n, m) for n in range(2, order + 1) for m in range(-n, n + 1, 2)]
    return sorted(found, key=lambda mode: (mode[0], abs(mode[1]), mode[1]))


def zernike(order: int) -> tuple[Tensor, Tensor]:
    """The polynomials of `modes` over the pupil, ``[Q, 64, 64]`` with a mean square of 1, and the pupil, ``[64, 64]``
    of ones and zeros."""
    places = (2 * torch.arange(PUPIL, dtype=torch.float64) + 1) / PUPIL - 1
    down, across = torch.meshgrid(places, places, indexing="ij")
    radius, angle = (down.square() + across.square()).sqrt(), torch.atan2(down, across)
    pupil = (radius <= 1).double()
    found = torch.stack([_polynomial(n, m, radius, angle) * pupil for n, m in modes(order)])
    size = (found.square().sum(dim=(1, 2), keepdim=True) / pupil.sum()).sqrt()
    return (found / size).float(), pupil.float()


def _polynomial(n: int, m: int, radius: Tensor, angle: Tensor) -> Tensor:
    radial = torch.zeros_like(radius)
    for k in range((n - abs(m)) // 2 + 1):
        bottom = math.factorial(k) * math.factorial((n + abs(m)) // 2 - k) * math.factorial((n - abs(m)) // 2 - k)
        radial += (-1) ** k * math.factorial(n - k) / bottom * radius ** (n - 2 * k)
    return radial * (angle * m).cos() if m >= 0 else radial * (angle * -m).sin()


def point_spread(waves: Tensor, polynomials: Tensor, pupil: Tensor) -> Tensor:
    """The picture of a point in each colour, ``[3, 64, 64]`` with a sum of 1, its middle at (32, 32).

    Args:
        waves: coefficients ``[Q]`` in wavelengths of 550 nm. Their Euclidean length is the root mean square of the
            wavefront's error; other colours see it in their own wavelengths.
        polynomials, pupil: see `zernike`.
    """
    path = 2 * math.pi * torch.tensordot(waves, polynomials, dims=1)
    phase = torch.stack([path * (_DESIGN_NM / own) for own in _RED_GREEN_BLUE_NM])
    field = torch.fft.fft2(torch.polar(pupil.expand_as(phase), phase), s=(2 * PUPIL, 2 * PUPIL))
    samples = torch.fft.fftshift(field.real.square() + field.imag.square(), dim=(-2, -1)).unsqueeze(1)
    half = torch.tensor([0.5, 1.0, 0.5]).to(samples)  # a pixel is centred on a sample and ends on the two beside it
    seen = F.conv2d(samples, torch.outer(half, half)[None, None], stride=2, padding=1).squeeze(1)
    return seen / seen.sum(dim=(-2, -1), keepdim=True)


def imaged(scene: Tensor, spread: Tensor) -> Tensor:
    """What the sensor receives of scenes ``[N, 3, H, W]``, which go on at their borders as they end there.

    Args:
        scene: light of every pixel, in [0, 1].
        spread: see `point_spread`.
    """
    height, width = scene.shape[-2:]
    wide = F.pad(scene, [_REACH_PX] * 4, mode="replicate")
    size = wide.shape[-2:]
    kernel = F.pad(spread, [0, size[1] - 2 * _REACH_PX, 0, size[0] - 2 * _REACH_PX])
    kernel = kernel.roll((-_REACH_PX, -_REACH_PX), dims=(-2, -1))
    light = torch.fft.irfft2(torch.fft.rfft2(wide) * torch.fft.rfft2(kernel), s=size)
    return light[..., _REACH_PX : _REACH_PX + height, _REACH_PX : _REACH_PX + width]
