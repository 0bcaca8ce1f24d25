"""Learnable attention of FaceCloak, equation 8: a map that weighs the mask's values, learnt beside them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cloakbench.methods.parts.item_rng import ItemStreams

AttentionStart = Literal["ones", "uniform"]
"""``ones``: as released. ``uniform``: between 0 and 1, as the text says."""

MOST = 4.0
"""A weight is kept between zero and this."""


def start_attention(start: AttentionStart, masks: Tensor, streams: ItemStreams) -> Tensor:
    """The first map of each mask ``[M, 3, H, W]``."""
    return streams.uniform(*masks.shape[1:]) if start == "uniform" else torch.ones_like(masks)


def update_attention(attention: Tensor, gradient: Tensor, rate: float, offset: float) -> Tensor:
    """Equation 8: ``A - rate * Norm(dL/dA)``."""
    return torch.sub(attention, standardised(gradient, offset), alpha=rate)


def standardised(gradient: Tensor, offset: float) -> Tensor:
    """Norm of equation 8: the gradient of each mask with mean 0 and deviation 1.

    ``offset`` is added to the deviation. Without one the size of the loss does not matter; the released 0.01 is far
    above the deviation, so that a map takes plain steps of the rate over 0.01.
    """
    flat = gradient.flatten(1)
    centred = flat - flat.mean(dim=1, keepdim=True)
    # A third of the time of std(), which would be a tenth of a pass through a small network.
    spread = torch.linalg.vector_norm(centred, dim=1, keepdim=True) / flat.shape[1] ** 0.5 + offset
    return centred.div_(spread.where(spread > 0, 1.0)).view_as(gradient)
