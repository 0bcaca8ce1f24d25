"""`sight_of` and `opened`: what onlookers see of a chunk of published photos, and the pictures that they make of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cloakbench.bench.protocols.visual.onlookers.base import Opener, Sight
from cloakbench.methods.base import Protector


def blend_share(protector: Protector) -> float:
    """Share of the photo in what a method publishes: ``alpha`` of one that blends, 1 of all others.

    A blend of nothing but the veil leaves nothing to open, and is treated as if it left everything.
    """
    share = getattr(protector, "alpha", 1.0)
    return float(share) if isinstance(share, int | float) and 0 < share <= 1 else 1.0


def mean_photo(images: Tensor) -> Tensor:
    """In [0, 1], float32 ``[3, H, W]``, of uint8 photos; grey where there are none."""
    if not len(images):
        return torch.full(images.shape[1:], 0.5)
    # torch would first copy all photos into wide integers: thirty times as long for 2000, and eight times their memory.
    total = images.cpu().numpy().sum(axis=0, dtype=np.uint32)  # enough for 16 million photos
    return torch.from_numpy(total / (255 * len(images))).float()


def sight_of(published: Tensor, originals: Tensor, strangers: Tensor, protector: Protector | None) -> Sight:
    """What is seen of uint8 photos ``[N, 3, H, W]``; ``strangers`` are other people's, uint8."""
    share = 1.0 if protector is None else blend_share(protector)
    return Sight(published.float() / 255, originals.float() / 255, mean_photo(strangers), share)


def opened(opener: Opener, sight: Sight, held: Sequence[Sequence[int]]) -> Tensor:
    """The pictures of all photos, rounded as a file would hold them, uint8 ``[N, 3, H, W]``; black where nothing is
    held."""
    pictures = torch.zeros_like(sight.published)
    for row, rows in enumerate(held):
        if rows:
            pictures[row] = opener.open(sight, row, rows[1:])
    return (255 * pictures).round_().clamp_(0, 255).to(torch.uint8)
