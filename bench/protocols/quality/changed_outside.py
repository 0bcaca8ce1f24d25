"""`ChangedOutside`: whether a method changes the whole photo, or the face alone.

The survey's Table I asks so of each method. Faces are aligned, so that a face's place is that of the template: an
ellipse about it, from the brows' upper edge to the chin. What is outside is hair, ears, neck and background.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cloakbench.bench.core.ranges import grey_levels
from cloakbench.bench.protocols.quality.image_metric import ImageMetric, image_mean

_CENTRE, _HALVES = (0.62, 0.5), (0.40, 0.36)
"""Row and column of the ellipse's centre, and its half axes down and across, in sides of the aligned photo."""


class ChangedOutside(ImageMetric):
    """Share in per cent of the pixels outside the face of which a channel changed by more than a threshold.

    Args:
        threshold_255: grey levels that a pixel may change by and count as unchanged.
    """

    described = image_mean("changed_outside", "Changed outside the face", 1, "%", protects=None)

    def __init__(self, threshold_255: float = 2) -> None:
        self._threshold = grey_levels("threshold_255", threshold_255)

    def values(self, original: Tensor, protected: Tensor) -> Tensor:
        changed = ((original - protected).abs() * 255).round().amax(dim=1) > self._threshold
        outside = outside_the_face(*original.shape[-2:]).to(original.device)
        return 100 * changed[:, outside].double().mean(dim=1)


def outside_the_face(height: int, width: int) -> Tensor:
    """Which pixels of an aligned photo are outside the face, bool ``[H, W]``."""
    rows = ((torch.arange(height) + 0.5) / height - _CENTRE[0]) / _HALVES[0]
    columns = ((torch.arange(width) + 0.5) / width - _CENTRE[1]) / _HALVES[1]
    return rows.square().unsqueeze(1) + columns.square() > 1
