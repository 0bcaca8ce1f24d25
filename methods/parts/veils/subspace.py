"""Subspaces: what the features of veiled photos stay near: a point of the person's subspace for each of them.

Source: the veils (2024), equations 4 to 6. Equation 5 is the closed form of least squares without bounds, equation 6
asks for convex weights; solvers are those of `cloakbench.methods.parts.hulls`, in one batch for all people and photos.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cloakbench.methods.parts.hulls import center_weights, combine, convex_weights

Hull = Literal["convex", "span", "center"]
"""``convex``: weights of equation 6, at least 0 and of sum 1. ``span``: any, equation 5. ``center``: equal ones."""

_GAP = 1e-5
"""Duality gap of the convex hull: nearest points then agree with the exact ones to about 1e-4, in half the time."""
_RANK_TOLERANCE = 1e-12
"""Gram eigenvalues below this share of the largest count as zero, as those of duplicate photos."""


def nearest_in(hull: Hull, points: Tensor, queries: Tensor) -> Tensor:
    """The point of each person's subspace that is nearest to each query, without a graph.

    By the envelope theorem the gradient of the squared distance is exact with the point held fixed.

    Args:
        hull: see `Hull`.
        points: unit features ``[P, N, D]`` of clean photos.
        queries: features ``[P, M, D]``.
    """
    if hull == "convex":
        weights = convex_weights(points, queries.detach(), gap=_GAP)
    else:
        weights = (span_weights if hull == "span" else center_weights)(points, queries.detach())
    return combine(weights, points)


@torch.no_grad()
def span_weights(points: Tensor, queries: Tensor) -> Tensor:
    """Coefficients ``[P, M, N]`` of any sign and sum, in float64: equation 5, exact for duplicates and any N."""
    points, queries = points.double(), queries.double()
    return queries @ points.mT @ torch.linalg.pinv(points @ points.mT, hermitian=True, rtol=_RANK_TOLERANCE)
