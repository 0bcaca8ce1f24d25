"""Image metrics on pairs (original, protected), both as they would be published: how much a photo was changed.

Images are uint8 RGB ``[N, 3, H, W]``; every metric gives one float64 per pair. SSIM and MS-SSIM use data in [0, 1],
K1 = 0.01, K2 = 0.03, a Gaussian window of sigma 1.5 without padding, and the mean over positions and then channels
(Wang et al. 2004; Wang, Simoncelli and Bovik 2003). A 112-pixel photo is too small for five scales with an 11-pixel
window, so MS-SSIM uses 7 and says so in its name. PSNR of two equal images is infinite and therefore a gap: it would
make every mean infinite. LPIPS (Zhang et al. 2018, v0.1) needs the AlexNet trunk from a local file and is a gap
without it; nothing is downloaded and no random weights stand in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.redaction import without_secrets
from cloakbench.bench.core.status import OK, UNAVAILABLE
from cloakbench.bench.engine.rates import MEASUREMENT_FIELDS
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.statistics.intervals import mean_intervals
from cloakbench.models.perceptual import ALEXNET_SHA256_PREFIX, FeatureDistance, LpipsAlex

_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW_SIGMA = 1.5
_PAIRS_AT_ONCE = 4  # small enough to stay in the cache: 1.7 times as fast as 32
_ALL_PAIRS = "photos that were protected, one pair (original, protected) each"


@dataclass(frozen=True)
class QualityMetric:
    """One image metric.

    Attributes:
        described: name, unit, direction, and what the mean is taken over.
        function: two float32 batches ``[N, 3, H, W]`` in [0, 1] to one value per pair; NaN where undefined.
        undefined: what NaN means, for the note of a measurement.
        missing: why the metric cannot be computed at all; empty when it can.
    """

    described: Metric
    function: Callable[[Tensor, Tensor], Tensor]
    undefined: str = ""
    missing: str = ""

    @property
    def name(self) -> str:
        """Column and metric name."""
        return self.described.name


def quality_metrics(
    lpips_alex_path: str | Path | None = None, lpips_sha256_prefix: str = ALEXNET_SHA256_PREFIX
) -> tuple[QualityMetric, ...]:
    """All image metrics in table order.

    Args:
        lpips_alex_path: torchvision's AlexNet state dict; read when the first pair is measured.
        lpips_sha256_prefix: how the digest of that file starts.
    """
    return (
        QualityMetric(_mean("ssim", "SSIM", 3), ssim),
        QualityMetric(_mean("ms_ssim_w7", "MS-SSIM", 3), ms_ssim_w7),
        QualityMetric(_mean("psnr", "PSNR", 2, "dB", pairs=_ALL_PAIRS + ", equal pairs apart"), psnr, "identical"),
        _lpips_metric(lpips_alex_path, lpips_sha256_prefix),
        QualityMetric(_mean("l2_255", "L2", 1, "grey levels", better=None), l2_255),
        QualityMetric(_mean("linf_255", "Linf", 1, "grey levels", better=None), linf_255),
    )


def _mean(
    name: str, title: str, decimals: int, unit: str = "", *, better: bool | None = True, pairs: str = _ALL_PAIRS
) -> Metric:
    return Metric(name, title, pairs, "mean", unit, decimals, better)


def quality_records(
    metrics: Sequence[QualityMetric],
    original: Tensor,
    protected: Tensor,
    *,
    image_id: Sequence[str],
    identity: Sequence[object],
    status: Sequence[str] | None = None,
) -> pd.DataFrame:
    """One row per pair: image_id, identity, status, and a column per metric.

    A metric is NaN where the photo's ``status`` is not ``ok``, where it is undefined, and where it is missing.

    Raises:
        ValueError: the images are not two uint8 batches of one shape, or a column has another length.
    """
    states = list(status) if status is not None else [OK] * len(original)
    if not len(image_id) == len(identity) == len(states) == len(original):
        raise ValueError(f"image_id, identity and status must have {len(original)} entries, one per photo")
    records = pd.DataFrame({"image_id": list(image_id), "identity": list(identity), "status": states})
    columns = quality_values(metrics, original, protected, states)
    return records.assign(**{name: values.numpy() for name, values in columns.items()})


@torch.no_grad()
def quality_values(
    metrics: Sequence[QualityMetric], original: Tensor, protected: Tensor, status: Sequence[str]
) -> dict[str, Tensor]:
    """Every metric by name, float64 ``[N]``; NaN where ``status`` is not ``ok``, it is undefined, or it is missing.

    Raises:
        ValueError: the images are not two uint8 batches of one shape.
    """
    for images in (original, protected):
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape != original.shape:
            raise ValueError(f"both must be uint8 {list(original.shape)}, got {images.dtype} {list(images.shape)}")
    rows = torch.tensor([state == OK for state in status], dtype=torch.bool).nonzero()[:, 0]
    columns = {metric.name: torch.full((len(original),), torch.nan, dtype=torch.float64) for metric in metrics}
    for part in rows.split(_PAIRS_AT_ONCE) if len(rows) else ():
        left, right = original[part].float() / 255, protected[part].float() / 255
        for metric in metrics:
            if not metric.missing:
                columns[metric.name][part] = metric.function(left, right).double()
    return columns


def quality_measurements(
    metrics: Sequence[QualityMetric], records: pd.DataFrame, resamples: int, seed: int
) -> pd.DataFrame:
    """Mean of every metric with its identity bootstrap interval, in the columns a protocol's measurements have."""
    ok = (records["status"] == OK).to_numpy()
    values = records[[metric.name for metric in metrics]].to_numpy(dtype=np.float64)
    intervals = mean_intervals(values, records["identity"].to_numpy(), resamples, seed)
    rows = []
    for metric, column, interval in zip(metrics, values.T, intervals, strict=True):
        n, undefined, lost = int((~np.isnan(column)).sum()), int((np.isnan(column) & ok).sum()), int((~ok).sum())
        state, notes = OK, [f"{lost} of {len(ok)} photos failed"] * bool(lost)
        if metric.missing:
            state, notes = UNAVAILABLE, [metric.missing]
        else:
            notes += [f"{undefined} of {len(ok)} pairs {metric.undefined}, not in n"] * bool(undefined)
            if n == 0:
                state = UNAVAILABLE if ok.any() or not len(ok) else records["status"].mode().iloc[0]
        rows.append((metric.name, interval.value, interval.low, interval.high, n, lost, interval.n_identities))
        rows[-1] += (state, "; ".join(notes))
    return pd.DataFrame(rows, columns=list(MEASUREMENT_FIELDS))


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


def _lpips_metric(path: str | Path | None, sha256_prefix: str) -> QualityMetric:
    described = _mean("lpips", "LPIPS", 3, better=False)
    if path is None:
        missing = "LPIPS needs torchvision's AlexNet weights; name the local file in lpips_alex_path"
    elif not Path(path).is_file():
        place = without_secrets(str(path))
        missing = f"LPIPS weights not found at {place}; set lpips_alex_path to torchvision's AlexNet file"
    else:
        return QualityMetric(described, _Lpips(Path(path), sha256_prefix))
    return QualityMetric(described, _never, missing=missing)


def _never(left: Tensor, right: Tensor) -> Tensor:
    raise RuntimeError("a metric that is missing has no values")


class _Lpips:
    """LPIPS v0.1 with the AlexNet trunk of a local file, loaded at the first call; raises `WeightError`."""

    def __init__(self, path: Path, sha256_prefix: str) -> None:
        self._source = LpipsAlex(path, sha256_prefix)
        self._distance: FeatureDistance | None = None

    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        if self._distance is None:
            self._distance = self._source.load(left.device)
        return self._distance.to(left)(right)
