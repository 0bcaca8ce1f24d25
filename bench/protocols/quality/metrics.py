"""The image metrics that are formulas: how far a published photo is from its original.

SSIM and MS-SSIM are those of ``pytorch-msssim``: data in [0, 1], K1 = 0.01, K2 = 0.03, a Gaussian window of sigma 1.5
without padding, so that no border is made up, and the mean over positions and then channels (Wang et al. 2004; Wang,
Simoncelli and Bovik 2003). Five scales halve a side four times, and the window must still fit: with the usual 11 pixels
a side of 161 is the least, so MS-SSIM of 112-pixel photos uses 7 (97 is the least) and says so in its name. The package
rounds its window to float32 and nothing else: against float64 its values are off by up to 3e-6 (SSIM) and 6e-6
(MS-SSIM). PSNR of two equal images is infinite and therefore a gap: it would make every mean infinite.
"""

from __future__ import annotations

import pytorch_msssim
import torch
from torch import Tensor

from cloakbench.bench.protocols.quality.image_metric import ALL_PAIRS, ImageMetric, image_mean


class Ssim(ImageMetric):
    """`ssim`."""

    described = image_mean("ssim", "SSIM", 3)

    def values(self, original: Tensor, protected: Tensor) -> Tensor:
        return ssim(original, protected)


class MsSsim(ImageMetric):
    """`ms_ssim_w7`."""

    described = image_mean("ms_ssim_w7", "MS-SSIM", 3)

    def values(self, original: Tensor, protected: Tensor) -> Tensor:
        return ms_ssim_w7(original, protected)


class Psnr(ImageMetric):
    """`psnr`."""

    described = image_mean("psnr", "PSNR", 2, "dB", pairs=f"{ALL_PAIRS}, equal pairs apart")
    undefined = "identical"

    def values(self, original: Tensor, protected: Tensor) -> Tensor:
        return psnr(original, protected)


class L2(ImageMetric):
    """`l2_255`."""

    described = image_mean("l2_255", "L2", 1, "grey levels", protects=None)

    def values(self, original: Tensor, protected: Tensor) -> Tensor:
        return l2_255(original, protected)


class Linf(ImageMetric):
    """`linf_255`."""

    described = image_mean("linf_255", "Linf", 1, "grey levels", protects=None)

    def values(self, original: Tensor, protected: Tensor) -> Tensor:
        return linf_255(original, protected)


def ssim(left: Tensor, right: Tensor) -> Tensor:
    """Structural similarity with an 11-pixel window, in [-1, 1]; 1 for equal images.

    Raises:
        ValueError: a side is under 11 pixels.
    """
    _check_side("ssim", left, 11)
    return pytorch_msssim.ssim(*_channels_last(left, right), data_range=1, size_average=False)


def ms_ssim_w7(left: Tensor, right: Tensor) -> Tensor:
    """Multi-scale structural similarity over five scales with a 7-pixel window, in [0, 1].

    Raises:
        ValueError: a side is under 97 pixels, too small for the window at the coarsest scale.
    """
    _check_side("ms_ssim_w7", left, 97)
    return pytorch_msssim.ms_ssim(*_channels_last(left, right), data_range=1, size_average=False, win_size=7)


def psnr(left: Tensor, right: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB for a peak of 1; NaN for equal images, whose ratio is infinite."""
    mse = (left.double() - right.double()).square().flatten(1).mean(dim=1)
    return torch.where(mse > 0, -10 * mse.log10(), torch.nan)


def l2_255(left: Tensor, right: Tensor) -> Tensor:
    """Euclidean norm of the difference in grey levels, over all 3 x H x W values."""
    return 255 * (left.double() - right.double()).flatten(1).norm(dim=1)


def linf_255(left: Tensor, right: Tensor) -> Tensor:
    """Largest difference in grey levels; whole for 8-bit images."""
    return (255 * (left.double() - right.double()).abs().flatten(1).amax(dim=1)).round()


def _channels_last(*images: Tensor) -> tuple[Tensor, ...]:
    """Images in the layout in which the windows of each channel take a third of the time on a CPU."""
    return tuple(each.contiguous(memory_format=torch.channels_last) for each in images)


def _check_side(metric: str, images: Tensor, least: int) -> None:
    if min(images.shape[-2:]) < least:
        raise ValueError(f"{metric} needs at least {least} pixels a side, got {list(images.shape[-2:])}")
