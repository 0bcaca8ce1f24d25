"""Hull projections against closed forms and an independent exact solver."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.parts.hulls import (
    affine_weights,
    center_weights,
    combine,
    convex_weights,
    project_to_bounded_simplex,
)

Solver = Callable[..., Tensor]


def cluster(people: int = 6, count: int = 10, size: int = 64, spread: float = 0.6) -> tuple[Tensor, Tensor]:
    """Unit features of a person's photos, and the same a little moved."""
    stream = generator("hulls", people, count, size, spread)
    common = torch.randn(people, 1, size, generator=stream)
    points = F.normalize(common + spread * torch.randn(people, count, size, generator=stream), dim=-1)
    return points, F.normalize(points + 0.1 * torch.randn(points.shape, generator=stream), dim=-1)


def squared(weights: Tensor, points: Tensor, queries: Tensor) -> Tensor:
    return (weights @ points.double() - queries.double()).square().sum(-1)


def exact_convex(points: Tensor, query: Tensor) -> float:
    """Nonnegative least squares with a heavy row for the sum, then the affine solve on the support it found."""
    matrix = points.double().numpy().T
    heavy = np.vstack([matrix, 1e3 * np.ones((1, matrix.shape[1]))])
    weights, _ = nnls(heavy, np.append(query.double().numpy(), 1e3))
    support = points[torch.from_numpy(weights > 1e-10)]
    return float(squared(affine_weights(support[None], query[None, None]), support[None], query[None, None]))


@pytest.mark.parametrize(("count", "spread"), [(2, 0.6), (10, 0.3), (10, 1.5), (40, 0.6)])
def test_convex_agrees_with_nnls(count: int, spread: float) -> None:
    points, queries = cluster(4, count, 64, spread)
    queries = queries[:, :5]
    weights = convex_weights(points, queries)
    assert weights.min() >= 0
    assert (weights.sum(-1) - 1).abs().max() <= 1e-12
    exact = [[exact_convex(points[p], query) for query in queries[p]] for p in range(len(points))]
    assert (squared(weights, points, queries) - torch.tensor(exact, dtype=torch.float64)).abs().max() < 1e-9


def test_affine_is_orthogonal_and_sums_to_one() -> None:
    points, queries = cluster()
    weights = affine_weights(points, queries)
    assert (weights.sum(-1) - 1).abs().max() <= 1e-8
    residual = queries.double() - weights @ points.double()
    directions = points[:, 1:].double() - points[:, :1].double()
    assert (residual @ directions.mT).abs().max() < 1e-10


def test_hulls_are_nested() -> None:
    points, queries = cluster()
    distances = [
        squared(solve(points, queries), points, queries) for solve in (affine_weights, convex_weights, center_weights)
    ]
    for inner, outer in zip(distances[1:], distances, strict=False):
        assert (outer <= inner + 1e-9).all()
    to_photos = torch.cdist(queries.double(), points.double()).square().amin(-1)
    assert (distances[1] <= to_photos + 1e-9).all()
    assert (distances[2] > distances[1] + 1e-4).any() and (distances[1] > distances[0] + 1e-4).any()


def test_points_of_a_hull_are_their_own_projection() -> None:
    points, _ = cluster()
    shares = torch.rand(6, 10, 10, generator=generator("shares")).double()
    shares /= shares.sum(-1, keepdim=True)
    inside = shares @ points.double()
    assert squared(convex_weights(points, inside), points, inside).sqrt().max() < 1e-5
    on_plane = (shares + torch.tensor([1.0, -1.0] + [0.0] * 8)) @ points.double()
    assert squared(affine_weights(points, on_plane), points, on_plane).sqrt().max() < 1e-6
    for solve in (affine_weights, convex_weights):
        assert squared(solve(points, points), points, points).sqrt().max() < 1e-5
    assert squared(center_weights(points, points), points, points).max() > 1e-2


@pytest.mark.parametrize("solve", [center_weights, affine_weights, convex_weights])
def test_duplicates_change_no_projection(solve: Solver) -> None:
    points, queries = cluster()
    doubled = points.repeat(1, 2, 1)
    once, twice = combine(solve(points, queries), points), combine(solve(doubled, queries), doubled)
    assert (once - twice).abs().max() < 1e-5


def test_more_points_than_dimensions() -> None:
    points, queries = cluster(2, 12, 5)
    assert squared(affine_weights(points, queries), points, queries).max() < 1e-10
    assert convex_weights(points, queries).min() >= 0


def test_bounds() -> None:
    points, queries = cluster()
    assert torch.equal(convex_weights(points, queries, 0.1, 0.1), center_weights(points, queries))
    weights = convex_weights(points, queries, 0.05, 0.2)
    assert weights.min() >= 0.05 and weights.max() <= 0.2
    assert (weights.sum(-1) - 1).abs().max() < 1e-12
    # Optimal: no feasible exchange of weight between two photos lowers the distance.
    gradient = (weights @ points.double() - queries.double()) @ points.double().mT
    receives = gradient.where(weights < 0.2 - 1e-4, torch.inf).amin(-1)
    gives = gradient.where(weights > 0.05 + 1e-4, -torch.inf).amax(-1)
    assert (gives - receives).max() < 1e-4
    with pytest.raises(ValueError, match="sum to one"):
        convex_weights(points, queries, 0.2, 1.0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=12),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_simplex_projection_is_the_nearest_point(values: list[float], low: float, high: float) -> None:
    vector = torch.tensor(values, dtype=torch.float64)
    lower, upper = low / len(values), 1 / len(values) + high
    projected = project_to_bounded_simplex(vector, lower, upper)
    assert abs(float(projected.sum()) - 1) < 1e-9
    assert projected.min() >= lower and projected.max() <= upper
    # Independent: bisect the shift.
    left, right = vector.min() - upper - 1, vector.max() - lower + 1
    for _ in range(80):
        middle = (left + right) / 2
        left, right = (middle, right) if (vector - middle).clamp(lower, upper).sum() > 1 else (left, middle)
    assert (projected - (vector - right).clamp(lower, upper)).abs().max() < 1e-9


@pytest.mark.parametrize("solve", [affine_weights, convex_weights])
def test_gradient_with_fixed_weights_is_the_gradient(solve: Solver) -> None:
    points, queries = (tensor[:1].double() for tensor in cluster())
    query = queries[:, :1]

    def distance(moved: Tensor) -> Tensor:
        weights = solve(points, moved, gap=1e-14) if solve is convex_weights else solve(points, moved)
        return squared(weights, points, moved).sum()

    gradient = 2 * (query - combine(solve(points, query), points)).flatten()
    for axis in range(0, query.numel(), 7):
        step = torch.zeros_like(query).view(-1)
        step[axis] = 1e-5
        numeric = (distance(query + step.view_as(query)) - distance(query - step.view_as(query))) / 2e-5
        assert abs(float(numeric - gradient[axis])) < 1e-5


def test_the_plain_simplex_is_the_bounded_one_without_its_bounds():
    """The short way for [0, 1] gives what the general way gives for bounds a hair wider."""
    vectors = torch.randn(50, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    short = project_to_bounded_simplex(vectors, 0.0, 1.0)
    general = project_to_bounded_simplex(vectors, -1e-15, 1.0)
    torch.testing.assert_close(short, general, atol=1e-12, rtol=0)
