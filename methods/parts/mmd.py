"""Maximum mean discrepancy between protected and clean photos, the naturalness term of TIP-IM.

Pixels are grey levels 0 to 255 and kernels ``exp(-|a - b|^2 / (2 s))``, as in the released code.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

ComparedSets = Literal["patches", "photos", "pair"]
"""What two sets the discrepancy is between.

``patches``: the 4 x 4 patches of a photo and those of its original. A photo's result stays its own.
``photos``: all photos of the chunk and their originals, as the paper has it; at least 16. The photos of a chunk then
depend on one another, and which share a chunk is part of the plan.
``pair``: a photo and its original, one element each, with the released code's 19 bandwidths. The code runs with batch
size 1, where this is what its term comes to: 0 at the original, saturated from a root mean square of one grey level on.
"""

CODE_BANDWIDTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 5, 10, 15, 20, 25, 30, 35, 100, 1e3, 1e4, 1e5, 1e6)
"""Of ``pair``; the largest possible value is twice their number."""

MIN_PHOTOS = 16
_GRID = 4


class Naturalness:
    """The discrepancy from fixed clean photos.

    Bandwidths of ``patches`` and ``photos`` are the median squared distance between two elements of the clean set.

    Args:
        sets: what is compared.
        clean: ``[N, 3, H, W]`` in [0, 1].

    Raises:
        ValueError: ``photos`` of fewer than 16 photos.
    """

    def __init__(self, sets: ComparedSets, clean: Tensor) -> None:
        if sets == "photos" and len(clean) < MIN_PHOTOS:
            raise ValueError(
                f"naturalness_sets=photos compares sets of at least {MIN_PHOTOS}, this chunk has {len(clean)}: raise "
                "plan.chunk_identities or take naturalness_sets=patches"
            )
        self._sets: ComparedSets = sets
        self._clean = self._elements(clean)
        if sets == "pair":
            self._bandwidths = clean.new_tensor([CODE_BANDWIDTHS])
        else:
            self._bandwidths = median_squared_distance(self._clean).unsqueeze(1)

    def gradient(self, photos: Tensor) -> Tensor:
        """Gradient in the photos, in the units of their pixels; zero at the clean photos."""
        leaf = photos.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self(leaf).sum(), leaf)
        return gradient

    def __call__(self, photos: Tensor) -> Tensor:
        """The discrepancy: one value per photo, or one in all for ``photos``."""
        return mmd(self._elements(photos), self._clean, self._bandwidths)

    def _elements(self, photos: Tensor) -> Tensor:
        """Grey levels as sets ``[B, n, d]``."""
        photos = 255 * photos
        if self._sets == "photos":
            return photos.flatten(1).unsqueeze(0)
        if self._sets == "pair":
            return photos.flatten(1).unsqueeze(1)
        side = (photos.shape[-2] // _GRID, photos.shape[-1] // _GRID)
        return F.unfold(photos, kernel_size=side, stride=side).mT


def mmd(ours: Tensor, theirs: Tensor, bandwidths: Tensor) -> Tensor:
    """Biased squared discrepancy ``[B]`` of two stacks of sets ``[B, n, d]``, summed over kernels.

    Args:
        ours, theirs: the sets.
        bandwidths: s of each kernel, ``[B, K]`` or ``[1, K]``.
    """
    within = _kernel_mean(ours, ours, bandwidths) + _kernel_mean(theirs, theirs, bandwidths)
    return within - 2 * _kernel_mean(ours, theirs, bandwidths)


def median_squared_distance(elements: Tensor) -> Tensor:
    """Median over pairs of different elements, per set ``[B]``; at least one squared grey level."""
    size = elements.shape[1]
    above = torch.ones(size, size, dtype=torch.bool, device=elements.device).triu(diagonal=1)
    return _squared_distances(elements, elements)[:, above].median(dim=1).values.clamp_(min=1)


def _kernel_mean(one: Tensor, other: Tensor, bandwidths: Tensor) -> Tensor:
    scaled = _squared_distances(one, other).unsqueeze(1) / (2 * bandwidths[:, :, None, None])
    return scaled.neg().exp().mean(dim=(-2, -1)).sum(dim=1)


def _squared_distances(one: Tensor, other: Tensor) -> Tensor:
    # Without the matrix product: it would give equal elements a distance of many grey levels.
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist").square()
