"""`search`: how the mates of probes fare against a gallery, counted without sorting."""

from __future__ import annotations

import torch
from torch import Tensor

from cloakbench.bench.protocols.recognition.responses import Mates

_PROBE_CHUNK = 512
_GALLERY_CHUNK = 8192


def search(
    probes: Tensor,
    photos: Tensor,
    mates: Mates,
    gallery: Tensor,
    *,
    probe_chunk: int = _PROBE_CHUNK,
    gallery_chunk: int = _GALLERY_CHUNK,
) -> tuple[Tensor, Tensor, Tensor]:
    """How each mate fares against the gallery.

    Args:
        probes: who searches, ``[N, D]``.
        photos: clean photos that mates point into, ``[N, D]``.
        mates: ``[N, M]``.
        gallery: distractors, ``[G, D]``.

    Returns:
        rank ``[N, M]``: number of distractors strictly above each mate (0 where padded); best distractor's cosine
        ``[N]``; cosine of each mate ``[N, M]`` (NaN where padded).
    """
    similarity = mates.cosines(probes, photos)
    # Nothing is above +inf, so padding costs a comparison but never counts.
    bars = similarity.nan_to_num(nan=torch.inf)
    rank = torch.zeros(bars.shape, dtype=torch.long)
    best = torch.full((len(probes),), -torch.inf)
    for first in range(0, len(gallery), gallery_chunk):
        chunk = gallery[first : first + gallery_chunk].double().T
        for start in range(0, len(probes), probe_chunk):
            rows = slice(start, start + probe_chunk)
            scores = (probes[rows].double() @ chunk).float()
            best[rows] = best[rows].maximum(scores.amax(dim=1))
            above = torch.empty_like(scores)  # a float comparison adds up far faster than a bool one
            for column in mates.valid[rows].any(dim=0).nonzero()[:, 0].tolist():
                rank[rows, column] += torch.gt(scores, bars[rows, column, None], out=above).sum(dim=1).long()
    return rank, best, similarity
