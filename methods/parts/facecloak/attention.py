"""Learnable attention of FaceCloak, equation 8: a map that weighs the mask's values, learnt beside them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cloakbench.methods.parts.item_rng import ItemStreams

AttentionStart = Literal["ones", "uniform"]
"""``ones``: as released. ``uniform``: between 0 and 1, as the text says."""

_ROW = (-1, 1, 1, 1)

MOST = 4.0
"""A weight is kept between zero and this."""


def start_attention(start: AttentionStart, masks: Tensor, streams: ItemStreams) -> Tensor:
    """The first map of each mask ``[M, 3, H, W]``."""
    return streams.uniform(*masks.shape[1:]) if start == "uniform" else torch.ones_like(masks)


def as_picture(attention: Tensor) -> Tensor:
    """Maps from their smallest weight, black, to their largest, white, each by itself."""
    low, high = attention.flatten(1).aminmax(dim=1)
    return (attention - low.view(_ROW)) / (high - low).clamp(min=1e-6).view(_ROW)


def update_attention_(attention: Tensor, gradient: Tensor, rate: float, offset: float) -> Tensor:
    """Equation 8, in place: ``A - rate * Norm(dL/dA)``, where Norm gives each mask's gradient mean 0 and deviation 1.

    ``offset`` is added to the deviation. Without one the size of the loss does not matter; the released 0.01 is far
    above the deviation, so that a map takes plain steps of the rate over 0.01. The gradient is used up.
    """
    values = gradient[0].numel()
    centred = gradient.sub_(gradient.mean(dim=(1, 2, 3), keepdim=True))
    # A third of the time of std(), which would be a tenth of a pass through a small network.
    spread = torch.linalg.vector_norm(centred, dim=(1, 2, 3), keepdim=True) / values**0.5 + offset
    return attention.addcdiv_(centred, spread.where(spread > 0, 1.0), value=-rate)
