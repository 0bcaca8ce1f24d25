"""Nearest points in the hulls of a person's features, for all people and photos in one batched solve.

``points`` are ``[P, N, D]``: N clean unit features of each of P people. ``queries`` are ``[P, M, D]``: the features to
project. Every solver returns coefficients ``[P, M, N]`` in float64 and carries no gradient; by the envelope theorem
the gradient of ``||y - A w(y)||^2`` in ``y`` is ``2 (y - A w)`` with ``w`` held fixed, so nothing is lost.

The hulls are nested, hence for every query ``d_affine <= d_convex <= d_center``.

Source: OPOM (Zhong and Deng, TPAMI 2022), class centre, affine hull and convex hull. OPOM solves one quadratic program
per photo through a modelling layer; here all of them are one accelerated projected-gradient run (Beck and Teboulle,
FISTA, 2009, restarted as in O'Donoghue and Candes, 2015). The problems are a few numbers per photo, so float64 costs
nothing and duplicate photos do no harm.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

_RANK_TOLERANCE = 1e-12
"""Gram eigenvalues below this share of the largest count as zero: float32 features of duplicate photos differ by about
1e-7, whose square this is just above."""

_FEW_COEFFICIENTS = 10_000
"""Up to so many, a CPU is done before a GPU has started the hundreds of small kernels of a solve: 13 ms for 1,000 on an
H100, where a core takes 6."""


def combine(weights: Tensor, points: Tensor) -> Tensor:
    """The points ``[P, M, D]`` with coefficients ``weights``, in the dtype of ``points``."""
    return weights.to(points.dtype) @ points


@torch.no_grad()
def center_weights(points: Tensor, queries: Tensor) -> Tensor:
    """Equal coefficients: the mean of the features, not re-normalised, whatever the query."""
    people, count = points.shape[:2]
    return torch.full((people, queries.shape[1], count), 1 / count, dtype=torch.float64, device=points.device)


@torch.no_grad()
def affine_weights(points: Tensor, queries: Tensor) -> Tensor:
    """Coefficients that sum to one, of any sign: least squares around the centre, exact for duplicates and any N."""
    gram, correlation = _centred_normal_equations(points, queries)
    return correlation @ torch.linalg.pinv(gram, hermitian=True, rtol=_RANK_TOLERANCE) + 1 / points.shape[1]


@torch.no_grad()
def convex_weights(
    points: Tensor,
    queries: Tensor,
    lower: float = 0.0,
    upper: float = 1.0,
    *,
    gap: float = 1e-10,
    max_iterations: int = 1000,
    check_every: int = 10,
) -> Tensor:
    """Coefficients in ``[lower, upper]`` that sum to one.

    Args:
        points: features ``[P, N, D]``.
        queries: features ``[P, M, D]``.
        lower, upper: bounds of every coefficient; ``lower = upper = 1/N`` is the class centre.
        gap: stop when the duality gap of half the squared distance is below this for every query.
        max_iterations: stop then at the latest.
        check_every: iterations between two looks at the gap; each look makes a GPU wait for the host,
            which solves small problems itself.

    Raises:
        ValueError: no coefficients within the bounds sum to one.
    """
    count = points.shape[1]
    tolerance = 1e-9
    if not (lower <= 1 / count + tolerance and upper >= 1 / count - tolerance):
        raise ValueError(f"bounds [{lower}, {upper}] leave no {count} coefficients that sum to one")
    weights = center_weights(points, queries)
    if count == 1 or upper - lower <= tolerance:
        return weights
    gram, correlation = _centred_normal_equations(points, queries)
    if weights.numel() <= _FEW_COEFFICIENTS:
        gram, correlation, weights = gram.cpu(), correlation.cpu(), weights.cpu()
    # The gap bounds how far the objective can still fall: gradient . (w - best vertex). Vertices of the bounded simplex
    # fill coefficients up to `upper` in order of the gradient.
    fill = _vertex(count, lower, upper).to(weights)
    # All features equal: the gradient is zero and any step will do.
    step = 1 / torch.linalg.eigvalsh(gram)[:, -1].clamp(min=1e-12).view(-1, 1, 1)
    # Small problems are as slow as the number of operations. A step down the slope is one: `ahead @ descent + offset`.
    descent, offset = torch.eye(count).to(gram) - step * gram, step * correlation
    momenta = _momenta(max_iterations).to(weights)
    ahead, since = weights, torch.zeros(*weights.shape[:2], 1, dtype=torch.int64, device=weights.device)
    for iteration in range(1, max_iterations + 1):
        updated = project_to_bounded_simplex(torch.baddbmm(offset, ahead, descent), lower, upper)
        move = updated - weights
        # Restart the momentum of a query whose last move went uphill.
        uphill = (ahead - updated).mul_(move).sum(-1, keepdim=True) > 0
        ahead = torch.addcmul(updated, momenta[since.masked_fill_(uphill, 0)], move)
        weights, since = updated, since.add_(1)
        if iteration % check_every == 0:
            gradient = weights @ gram - correlation
            remaining = (gradient * weights).sum(-1) - (gradient.sort(dim=-1).values * fill).sum(-1)
            if float(remaining.max()) <= gap:
                break
    return weights.to(points.device)


@functools.lru_cache(maxsize=8)
def _momenta(most: int) -> Tensor:
    """What is kept of the last move so many iterations after a restart, float64 ``[most]``; the first is zero."""
    found, momentum = [], 1.0
    for _ in range(most):
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        found.append((momentum - 1) / following)
        momentum = following
    return torch.tensor(found, dtype=torch.float64)


def project_to_bounded_simplex(vectors: Tensor, lower: float, upper: float) -> Tensor:
    """The nearest vectors ``[..., N]`` whose entries lie in ``[lower, upper]`` and sum to one.

    With ``lower=0`` and ``upper >= 1`` that is the simplex itself and the usual sort-and-threshold (Duchi et al., ICML
    2008), half the time. In general they are ``clamp(v - t, lower, upper)`` for the one shift ``t`` where the sum is
    one. The sum falls piecewise linearly in ``t`` with kinks at ``v - upper`` and ``v - lower``: sort the kinks, add
    up, interpolate.
    """
    count = vectors.shape[-1]
    if lower == 0 and upper >= 1:
        ordered = vectors.sort(dim=-1, descending=True).values
        places = torch.arange(1, count + 1, dtype=vectors.dtype, device=vectors.device)
        # The mean excess of the largest k entries grows with k up to the support and falls behind it.
        shift = ordered.cumsum(dim=-1).sub_(1).div_(places).amax(dim=-1, keepdim=True)
        return (vectors - shift).clamp_(min=0)
    kinks, order = torch.cat([vectors - upper, vectors - lower], dim=-1).sort(dim=-1)
    # Past `v - upper` an entry starts to fall with the shift, past `v - lower` it has stopped.
    slopes = torch.where(order < count, -1.0, 1.0).to(vectors).cumsum(dim=-1)
    falls = slopes[..., :-1] * kinks.diff(dim=-1)
    sums = torch.cat([torch.full_like(kinks[..., :1], count * upper), count * upper + falls.cumsum(dim=-1)], dim=-1)
    last = ((sums >= 1).sum(dim=-1, keepdim=True) - 1).clamp(min=0)
    slope = slopes.gather(-1, last).clamp(max=-1)
    shift = kinks.gather(-1, last) - (sums.gather(-1, last) - 1) / slope
    return (vectors - shift).clamp(lower, upper)


def _centred_normal_equations(points: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Gram matrix ``[P, N, N]`` and correlations ``[P, M, N]`` around the centre of the points, in float64.

    Coefficients that sum to one do not notice the shift, and without the large common part of one person's features
    the problems are far better conditioned.
    """
    points, queries = points.double(), queries.double()
    center = points.mean(dim=1, keepdim=True)
    points = points - center
    return points @ points.mT, (queries - center) @ points.mT


def _vertex(count: int, lower: float, upper: float) -> Tensor:
    """The coefficients, largest first, of a vertex of the bounded simplex."""
    spare = 1 - count * lower - (upper - lower) * torch.arange(count, dtype=torch.float64)
    return lower + spare.clamp(min=0, max=upper - lower)
