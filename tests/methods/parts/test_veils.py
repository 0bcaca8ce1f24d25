"""Blends, block variance and subspaces of veils against closed forms, other code and the printed equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.parts.veils.blend import blend, smoothed, unblend
from cloakbench.methods.parts.veils.block_variance import BlockVariance, between_blocks
from cloakbench.methods.parts.veils.subspace import Hull, nearest_in, span_weights


def pictures(count: int, side: int = 48, name: str = "photos") -> Tensor:
    """Of whole grey levels, both ends among them."""
    levels = torch.randint(0, 256, (count, 3, side, side), generator=generator("veils", name))
    return levels.float() / 255


def published(photos: Tensor, veils: Tensor, alpha: float) -> Tensor:
    return (255 * blend(photos, veils, alpha)).round() / 255


def off_255(recovered: Tensor, photos: Tensor) -> float:
    return float(255 * (recovered - photos).abs().max())


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.4, 0.6, 0.8])
def test_photos_come_back_exactly_without_rounding_and_within_its_error_with_it(alpha: float) -> None:
    photos = pictures(4)
    veil = torch.rand(1, 3, 48, 48, generator=generator("veil"))
    assert off_255(unblend(blend(photos, veil, alpha), veil, alpha), photos) < 1e-3
    rounded = unblend(published(photos, veil, alpha), veil, alpha)
    assert 0.4 / alpha < off_255(rounded, photos) <= 0.5 / alpha + 1e-3
    error = 255 * (rounded - photos)[(photos > 0.05) & (photos < 0.95)]  # where nothing is clipped
    expected = 10 * np.log10(255**2 / (1 / 12 / alpha**2))
    assert 10 * torch.log10(255**2 / error.square().mean()).item() == pytest.approx(expected, abs=0.1)


def test_a_veil_of_whole_grey_levels_gives_photos_back_within_two_at_a_fifth() -> None:
    photos, veil = pictures(4), pictures(1, name="veil")
    recovered = unblend(published(photos, veil, 0.2), veil, 0.2)
    assert off_255(recovered, photos) == pytest.approx(2, abs=1e-3)
    assert 10 * torch.log10(1 / (recovered - photos).square().mean()).item() > 45


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.8])
def test_equation_14_as_printed_gives_another_photo_back_but_at_one_half(alpha: float) -> None:
    photos, veil = pictures(2), pictures(1, name="veil")
    printed = (blend(photos, veil, alpha) - (1 - alpha) * veil) / (1 - alpha)
    assert torch.allclose(printed, alpha / (1 - alpha) * photos, atol=1e-5)
    assert (off_255(printed, photos) < 1e-3) is (alpha == 0.5)


def test_two_published_photos_show_their_difference_and_one_known_pair_the_veil() -> None:
    photos, veil = pictures(2), torch.rand(1, 3, 48, 48, generator=generator("veil"))
    hidden = blend(photos, veil, 0.2)
    assert torch.allclose(hidden[0] - hidden[1], 0.2 * (photos[0] - photos[1]), atol=1e-6)
    assert torch.allclose((hidden[0] - 0.2 * photos[0]) / 0.8, veil[0], atol=1e-6)


def test_blends_stay_in_range_and_end_at_photo_and_veil() -> None:
    photos, veil = pictures(3), pictures(1, name="veil").expand(3, -1, -1, -1)
    for alpha in (0.05, 0.2, 0.5, 0.95):
        low, high = blend(photos, veil, alpha).aminmax()
        assert low >= 0 and high <= 1
    assert torch.equal(blend(photos, veil, 1), photos)
    assert torch.equal(blend(photos, veil, 0), veil)


@pytest.mark.parametrize("sigma", [0.5, 1.2])
def test_smoothing_agrees_with_scipy_and_takes_the_error_of_rounding_away(sigma: float) -> None:
    photos = F.interpolate(pictures(2, 6), size=48, mode="bicubic").clamp(0, 1)
    radius = int(np.ceil(4 * sigma))
    expected = gaussian_filter(photos.double().numpy(), (0, 0, sigma, sigma), mode="mirror", truncate=radius / sigma)
    assert np.abs(smoothed(photos, sigma).numpy() - expected).max() < 1e-5
    veil = pictures(1, name="veil")
    back = unblend(published(photos, veil, 0.2), veil, 0.2)
    assert (smoothed(back) - photos).square().mean() < (back - photos).square().mean()


def block_sums(photo: Tensor, side: int, stride: int) -> Tensor:
    """Sums of every block ``[3, b]`` by a plain loop."""
    places = range(0, photo.shape[-1] - side + 1, stride)
    return torch.stack(
        [photo[:, y : y + side, x : x + side].sum(dim=(1, 2)) for y in places for x in places], dim=1
    )  # fmt: skip


def value(variance: BlockVariance, photos: Tensor) -> Tensor:
    """Of a quadratic form, from its slope, ``[N]``."""
    return (photos * variance.slope(photos)).sum(dim=(1, 2, 3)) / 2


@pytest.mark.parametrize("reading", ["corrected", "eq9_only", "literal"])
@pytest.mark.parametrize("stride", [1, 3])
def test_the_slope_of_the_variance_is_that_of_its_value(reading: str, stride: int) -> None:
    variance = BlockVariance(reading, stride, between=0.7, within=0.3)  # type: ignore[arg-type]
    photos = pictures(2, 14).double().requires_grad_()
    (slope,) = torch.autograd.grad(value(variance, photos).sum(), photos)
    assert torch.allclose(variance.slope(photos), slope)


@pytest.mark.parametrize("stride", [1, 3])
def test_the_readings_of_equations_9_and_10_agree_with_loops_over_blocks(stride: int) -> None:
    photos = pictures(2, 14).double()
    for reading in ("eq9_only", "literal"):
        expected = []
        for photo in photos:
            sums = block_sums(photo, 3, stride)
            ninth = sums.var(dim=1, correction=0).sum()
            tenth = (sums / 9 - sums.mean(dim=1, keepdim=True)).square().mean(dim=1).sum()
            expected.append(ninth + (tenth if reading == "literal" else 0))
        found = value(BlockVariance(reading, stride), photos)  # type: ignore[arg-type]
        assert torch.allclose(found, torch.stack(expected))
    means = torch.stack([(block_sums(photo, 3, stride) / 9).var(dim=1, correction=0).sum() for photo in photos])
    assert torch.allclose(value(BlockVariance(stride=stride, within=0), photos), means)
    assert torch.allclose(between_blocks(photos, stride=stride), means)
    blocks = photos.unfold(2, 3, stride).unfold(3, 3, stride).flatten(4)
    within = blocks.var(dim=4, correction=0).mean(dim=(2, 3)).sum(dim=1)
    assert torch.allclose(value(BlockVariance(stride=stride, between=0), photos), within)


def test_within_and_between_add_up_to_the_pixel_variance_of_blocks_that_do_not_overlap() -> None:
    photos = pictures(2, 111).double()
    total = photos.flatten(2).var(dim=2, correction=0).sum(dim=1)
    parts = [BlockVariance(stride=3, between=share, within=1 - share) for share in (0, 1)]
    assert torch.allclose(value(parts[0], photos) + value(parts[1], photos), total)
    assert torch.allclose(value(BlockVariance(stride=3), photos), total)


@pytest.mark.parametrize(("reading", "unmoved"), [("corrected", True), ("eq9_only", True), ("literal", False)])
@pytest.mark.parametrize("stride", [1, 3])
def test_brightness_is_no_variance_but_in_the_printed_equation(reading: str, unmoved: bool, stride: int) -> None:
    variance = BlockVariance(reading, stride)  # type: ignore[arg-type]
    flat = torch.full((1, 3, 30, 30), 0.4, dtype=torch.float64)
    assert (abs(float(value(variance, flat))) < 1e-12) is unmoved
    photos = 0.5 * pictures(2, 30).double()
    assert torch.allclose(value(variance, photos + 0.3), value(variance, photos)) is unmoved
    assert torch.allclose(value(variance, 2 * photos), 4 * value(variance, photos))


def features(people: int, count: int, name: str) -> Tensor:
    stream = generator("veils", name)
    common = torch.randn(people, 1, 48, generator=generator("veils", "common"))
    return F.normalize(common + 0.6 * torch.randn(people, count, 48, generator=stream), dim=-1)


def test_subspaces_are_nested_and_the_span_is_least_squares() -> None:
    points, queries = features(3, 6, "points"), features(3, 5, "queries")
    hulls: tuple[Hull, ...] = ("span", "convex", "center")
    gaps = [(queries - nearest_in(hull, points, queries)).norm(dim=-1) for hull in hulls]
    assert bool((gaps[0] <= gaps[1] + 1e-6).all() and (gaps[1] <= gaps[2] + 1e-6).all())
    each = (queries.unsqueeze(2) - points.unsqueeze(1)).norm(dim=-1)
    assert bool((gaps[1] <= each.amin(dim=-1) + 1e-6).all())
    expected = torch.linalg.lstsq(points.double().mT, queries.double().mT).solution.mT
    assert torch.allclose(span_weights(points, queries), expected)
    doubled = torch.cat([points, points], dim=1)
    assert torch.allclose(nearest_in("span", doubled, queries), nearest_in("span", points, queries), atol=1e-5)


@pytest.mark.parametrize("hull", ["span", "convex", "center"])
def test_the_distance_to_a_subspace_has_its_gradient_with_the_nearest_point_held_fixed(hull: Hull) -> None:
    points = features(1, 4, "points").double()
    query = F.normalize(features(1, 1, "far") + 1.0, dim=-1).double().requires_grad_()
    (query - nearest_in(hull, points, query)).square().sum().backward()
    assert query.grad is not None
    direction = torch.randn(query.shape, generator=generator("direction"), dtype=torch.float64)

    def distance(step: float) -> float:
        moved = query.detach() + step * direction
        return float((moved - nearest_in(hull, points, moved)).square().sum())

    slope = (distance(1e-3) - distance(-1e-3)) / 2e-3
    assert float((query.grad * direction).sum()) == pytest.approx(slope, rel=1e-2, abs=1e-3)
