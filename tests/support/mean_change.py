"""`MeanChange`: an image metric of a user's own package, for tests."""

from __future__ import annotations

from torch import Tensor

from cloakbench.bench.protocols.quality.image_metric import ImageMetric
from cloakbench.bench.report.metric import Metric


class MeanChange(ImageMetric):
    """Mean absolute difference.

    Args:
        ruler: whether there is something to measure with.
    """

    described = Metric("mean_change_255", "Mean change", "photos", kind="mean", unit="grey levels", decimals=2)

    def __init__(self, ruler: bool = True) -> None:
        if not ruler:
            self.missing, self.remedy = "no ruler", "image_metrics.mean_change.ruler=true"

    def values(self, original: Tensor, protected: Tensor) -> Tensor:
        return 255 * (original - protected).abs().mean(dim=(1, 2, 3))
