"""`EmbeddedDistance`: the recipe of LPIPS on a recogniser of the embedded zoo, under a name of its own.

It needs no file of others, so a run without AlexNet's weights has a distance of features all the same. It is no LPIPS
(`cloakbench.models.perceptual.EmbeddedFeatures` says why) and stands in for none.
"""

from __future__ import annotations

from torch import Tensor

from cloakbench.bench.protocols.quality.image_metric import ImageMetric, image_mean
from cloakbench.models.perceptual import EmbeddedFeatures, FeatureDistance


class EmbeddedDistance(ImageMetric):
    """0 for equal photos, smaller for more alike; each layer adds at most 4.

    Args:
        features: the network and its layers.
    """

    described = image_mean("embedded_lpips", "Embedded LPIPS recipe", 3, protects=False)

    def __init__(self, features: EmbeddedFeatures) -> None:
        self._features = features
        self._distance: FeatureDistance | None = None

    @property
    def network(self) -> str:
        return self._features.fingerprint()

    def values(self, original: Tensor, protected: Tensor) -> Tensor:
        if self._distance is None:
            self._distance = self._features.load(original.device)
        return self._distance.to(original)(protected)
