"""The image metrics of the project: how far a published photo is from its original.

SSIM and MS-SSIM use data in [0, 1], K1 = 0.01, K2 = 0.03, a Gaussian window of sigma 1.5 without padding, and the mean
over positions and then channels (Wang et al. 2004; Wang, Simoncelli and Bovik 2003). A 112-pixel photo is too small for
five scales with an 11-pixel window, so MS-SSIM uses 7 and says so in its name. PSNR of two equal images is infinite and
therefore a gap: it would make every mean infinite. LPIPS (Zhang et al. 2018, v0.1) needs the AlexNet trunk from a local
file and is a gap without it; nothing is downloaded and no random weights stand in.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.redaction import without_secrets
from cloakbench.bench.protocols.quality.image_metric import ALL_PAIRS, ImageMetric, image_mean
from cloakbench.models.perceptual import ALEXNET_SHA256_PREFIX, FeatureDistance, LpipsAlex

_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW_SIGMA = 1.5
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
    """Structural similarity with an 11-pixel window, in [-1, 1]; 1 for equal images."""
    return _structure(left, right, 11)[0].mean(dim=1)


def ms_ssim_w7(left: Tensor, right: Tensor) -> Tensor:
    """Multi-scale structural similarity over five scales with a 7-pixel window, in [0, 1].

    Raises:
        ValueError: a side is under 97 pixels, too small for the window at the coarsest scale.
    """
    if min(left.shape[-2:]) < 97:
        raise ValueError(f"ms_ssim_w7 needs at least 97 pixels a side, got {list(left.shape[-2:])}")
    scales = []
    for scale in range(len(_SCALE_WEIGHTS)):
        if scale:
            padding = [side % 2 for side in left.shape[-2:]]
            left, right = F.avg_pool2d(left, 2, padding=padding), F.avg_pool2d(right, 2, padding=padding)
        structure, contrast = _structure(left, right, 7)
        scales.append(contrast if scale < len(_SCALE_WEIGHTS) - 1 else structure)
    powers = left.new_tensor(_SCALE_WEIGHTS).view(-1, 1, 1)
    return torch.stack(scales).clamp(min=0).pow(powers).prod(dim=0).mean(dim=1)


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


def _structure(left: Tensor, right: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure factor per channel, ``[N, 3]`` each.

    Only the sum of both second moments enters the formula, so four maps are blurred and not five.
    """
    maps = torch.stack([left, right, left * left + right * right, left * right])
    mean_left, mean_right, squares, product = _blur(maps, window)
    mean_product, mean_squares = mean_left * mean_right, mean_left.square() + mean_right.square()
    contrast = (2 * (product - mean_product) + 0.03**2) / (squares - mean_squares + 0.03**2)
    luminance = (2 * mean_product + 0.01**2) / (mean_squares + 0.01**2)
    return (luminance * contrast).mean(dim=(-2, -1)), contrast.mean(dim=(-2, -1))


def _blur(maps: Tensor, window: int) -> Tensor:
    """Separable Gaussian window over the last two axes without padding.

    Weighted sums of shifted views: several times as fast on a CPU as the depthwise convolutions of the usual packages.
    """
    offsets = range(window)
    bell = [math.exp(-((i - window // 2) ** 2) / (2 * _WINDOW_SIGMA**2)) for i in offsets]
    weights = [value / sum(bell) for value in bell]
    for axis in (-1, -2):
        size = maps.shape[axis] - window + 1
        blurred = maps.narrow(axis, 0, size) * weights[0]
        for offset in offsets[1:]:
            blurred.add_(maps.narrow(axis, offset, size), alpha=weights[offset])
        maps = blurred
    return maps
