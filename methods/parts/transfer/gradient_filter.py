"""Filters over gradients: what is left of them when neighbouring pixels have to agree.

Source: Dong et al., "Evading Defenses to Transferable Adversarial Examples by Translation-Invariant Attacks",
CVPR 2019, equation 8: gradients of a photo at all shifts are about the gradient at none, convolved with a kernel, which
may be uniform, linear or Gaussian.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.ranges import odd, one_of

Kernel = Literal["gaussian", "linear", "uniform"]
"""Weights along each axis. ``gaussian``: a normal density on [-3, 3], so sigma is (size - 1) / 6 pixels, 1 for size 7.
``linear``: falling evenly to zero just outside. ``uniform``: equal."""


class GradientFilter:
    """A convolution of each channel with the outer product of a kernel with itself, zeros outside.

    Args:
        kernel: see `Kernel`.
        size_px: side of the kernel; 1 changes nothing.

    Raises:
        SettingError: a parameter is out of range.
    """

    def __init__(self, kernel: Kernel = "gaussian", size_px: int = 7) -> None:
        self.kernel: Kernel = one_of("kernel", kernel, get_args(Kernel))
        self.size_px = odd("size_px", size_px)
        self.weights = kernel_weights(self.kernel, self.size_px)

    def __call__(self, gradients: Tensor) -> Tensor:
        """Gradients ``[N, C, H, W]``, filtered."""
        return smooth(gradients, self.weights)


def kernel_weights(kernel: Kernel, size: int) -> Tensor:
    """Weights ``[size]`` that sum to one."""
    if kernel == "gaussian":
        weights = torch.linspace(-3, 3, size, dtype=torch.float64).square().mul(-0.5).exp()
    elif kernel == "linear":
        half = size // 2
        weights = 1 - torch.arange(-half, half + 1, dtype=torch.float64).abs() / (half + 1)
    else:
        weights = torch.ones(size, dtype=torch.float64)
    return (weights / weights.sum()).float()


def smooth(images: Tensor, weights: Tensor) -> Tensor:
    """``images`` ``[N, C, H, W]`` convolved with the outer product of ``weights`` with itself, zeros outside.

    Sums of moved copies, down columns and then along rows. Planes lie one after the other with zeros between them, so
    that every sum is one pass over the whole batch: on a CPU some 0.6 of the time of two products with banded matrices.
    """
    reach, shares = len(weights) // 2, weights.tolist()
    framed = F.pad(images, (reach, reach, reach, reach + 1))  # a row to spare, so that no sum ends among pixels
    sums = framed.flatten()
    for stride in (framed.shape[-1], 1):
        count = sums.numel() - (len(shares) - 1) * stride
        total = sums[:count] * shares[0]
        for place, share in enumerate(shares[1:], start=1):
            total.add_(sums[place * stride :][:count], alpha=share)
        sums = total
    return sums.as_strided(images.shape, framed.stride())
