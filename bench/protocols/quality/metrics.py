"""The image metrics of the project: how far a published photo is from its original.

SSIM and MS-SSIM are those of ``pytorch-msssim``: data in [0, 1], K1 = 0.01, K2 = 0.03, a Gaussian window of sigma 1.5
without padding, so that no border is made up, and the mean over positions and then channels (Wang et al. 2004; Wang,
Simoncelli and Bovik 2003). Five scales halve a side four times, and the window must still fit: with the usual 11 pixels
a side of 161 is the least, so MS-SSIM of 112-pixel photos uses 7 (97 is the least) and says so in its name. The package
rounds its window to float32 and nothing else: against float64 its values are off by up to 3e-6 (SSIM) and 6e-6
(MS-SSIM). PSNR of two equal images is infinite and
therefore a gap: it would make every mean infinite. LPIPS (Zhang et al. 2018, v0.1) needs the AlexNet trunk from a local
file and is a gap without it; nothing is downloaded and no random weights stand in.
"""

from __future__ import annotations

from pathlib import Path

import pytorch_msssim
import torch
from torch import Tensor

from cloakbench.bench.core.redaction import without_secrets
from cloakbench.bench.protocols.quality.image_metric import ALL_PAIRS, ImageMetric, image_mean
from cloakbench.models.perceptual import ALEXNET_SHA256_PREFIX, FeatureDistance, LpipsAlex

_LPIPS_FILE = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
"""torchvision's AlexNet (``AlexNet_Weights.IMAGENET1K_V1.url``), 233 MB."""


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


class Lpips(ImageMetric):
    """LPIPS v0.1 with the AlexNet trunk of a local file, loaded at the first call.

    Args:
        path: torchvision's AlexNet state dict; a gap without it.
        sha256_prefix: how the digest of that file starts.

    A file that is not what it claims to be is a `WeightError` at the first call.
    """

    described = image_mean("lpips", "LPIPS", 3, protects=False)
    reads = ("path",)
    remedy = f"protocols.quality.image_metrics.lpips.path=FILE, from {_LPIPS_FILE} (233 MB)"

    def __init__(self, path: str | None = None, sha256_prefix: str = ALEXNET_SHA256_PREFIX) -> None:
        if path is None:
            self.missing = "LPIPS needs torchvision's AlexNet weights; name the local file in image_metrics.lpips.path"
        elif not Path(path).is_file():
            place = without_secrets(path)
            self.missing = f"no LPIPS weights at {place}; set image_metrics.lpips.path to torchvision's AlexNet file"
        self._source = LpipsAlex(path or "", sha256_prefix)
        self._distance: FeatureDistance | None = None

    def values(self, original: Tensor, protected: Tensor) -> Tensor:
        if self._distance is None:
            self._distance = self._source.load(original.device)
        return self._distance.to(original)(protected)


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
