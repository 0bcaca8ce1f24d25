"""The similarity and the warp, against independent computations."""

import math

import numpy as np
import pytest
import torch

from cloakbench.datasets.alignment import (
    ARCFACE_TEMPLATE,
    crop_side,
    resize_crop,
    similarity_transform,
    transform_points,
    warp,
)

TEMPLATE = torch.tensor(ARCFACE_TEMPLATE, dtype=torch.float64)


def similarity(scale: float, degrees: float, x: float, y: float) -> torch.Tensor:
    angle = math.radians(degrees)
    a, b = scale * math.cos(angle), scale * math.sin(angle)
    return torch.tensor([[a, -b, x], [b, a, y]], dtype=torch.float64)


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Eqs. 40 to 43 of the paper, by singular values, one set of points."""
    z, w = source - source.mean(0), target - target.mean(0)
    u, d, vt = np.linalg.svd(w.T @ z / len(z))
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = (d * sign).sum() / z.var(0).sum()
    return np.column_stack([scale * rotation, target.mean(0) - scale * rotation @ source.mean(0)])


def test_known_similarities_are_recovered():
    known = torch.stack([similarity(0.3, 0, 5, -7), similarity(2.5, 90, 0, 0), similarity(1, -173, 300, 40)])
    source = torch.linalg.inv(known[:, :, :2]) @ (TEMPLATE.mT - known[:, :, 2:])
    found = similarity_transform(source.mT, TEMPLATE)
    assert torch.allclose(found, known, atol=1e-9)
    assert torch.allclose(transform_points(source.mT, found), TEMPLATE.expand(3, 5, 2), atol=1e-9)


def test_noisy_and_mirrored_points_match_umeyama():
    noise = torch.randn(40, 5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    source = TEMPLATE * 1.7 + 12 * noise
    source[20:, :, 0] *= -1  # mirrored: the best rotation is asked for, never a reflection
    found = similarity_transform(source, TEMPLATE)
    for points, matrix in zip(source, found, strict=True):
        assert np.abs(matrix.numpy() - umeyama(points.numpy(), TEMPLATE.numpy())).max() < 1e-9
    assert (torch.linalg.det(found[:, :, :2]) > 0).all()


@pytest.mark.parametrize("points", [torch.ones(5, 2), torch.full((5, 2), torch.nan)])
def test_points_without_a_similarity_are_refused(points: torch.Tensor):
    with pytest.raises(ValueError, match="landmarks"):
        similarity_transform(points, TEMPLATE)


def test_identity_and_shift_copy_pixels():
    photo = torch.randint(0, 256, (3, 150, 140), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(warp(photo, similarity(1, 0, 0, 0)), photo[:, :112, :112])
    shifted = warp(photo, similarity(1, 0, -30, -20))
    assert torch.equal(shifted[:, :, :110], photo[:, 20:132, 30:140])
    assert not shifted[:, :, 110:].any()  # outside the photo


def test_quarter_turn():
    photo = torch.randint(0, 256, (3, 112, 112), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    assert torch.equal(warp(photo, similarity(1, 90, 111, 0)), photo.rot90(-1, (1, 2)))


@pytest.mark.parametrize("scale", [0.08, 0.2, 0.34, 0.6, 1.0, 2.3])
def test_a_ramp_stays_where_the_matrix_puts_it(scale: float):
    """A linear image survives averaging and interpolation, so an error of position shows as an error of value."""
    side = int(140 / scale)
    slope = 200 / side
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    photo = torch.stack([x, y, (x + y) / 2]).mul(slope).add(20).round().to(torch.uint8)
    matrix = similarity(scale, 7, 3, -9)
    crop = warp(photo, matrix).double()
    v, u = torch.meshgrid(torch.arange(112.0), torch.arange(112.0), indexing="ij")
    points = (torch.stack([u, v], -1).double() - matrix[:, 2]) @ torch.linalg.inv(matrix[:, :2]).mT
    inside = ((points > 1 / scale) & (points < side - 1 - 1 / scale)).all(-1)
    assert inside.float().mean() > 0.7
    expected = points.movedim(-1, 0) * slope + 20
    assert (crop[:2] - expected)[:, inside].abs().max() <= 1.01  # two roundings
    assert (crop[:2] - expected)[:, inside].mean().abs() < 0.1


def test_shrinking_does_not_alias():
    """A one-pixel checkerboard shrunk eight times is grey; without averaging it keeps black and white pixels."""
    board = ((torch.arange(1000)[:, None] + torch.arange(1000)) % 2 * 255).to(torch.uint8).expand(3, -1, -1)
    crop = warp(board, similarity(0.125, 3, -4, -2))[:, 10:100, 10:100]
    assert crop.float().std() < 2
    assert abs(crop.float().mean() - 127.5) < 2


def test_crop_outside_the_photo_is_refused():
    with pytest.raises(ValueError, match="outside"):
        warp(torch.zeros(3, 50, 50, dtype=torch.uint8), similarity(1, 0, 500, 0))


def test_crop_side_is_measured_in_photo_pixels():
    assert crop_side(similarity(0.5, 30, 1, 2)) == pytest.approx(224)


def test_resize_keeps_crops_of_the_right_size():
    photo = torch.randint(0, 256, (3, 112, 112), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    assert resize_crop(photo) is photo
    flat = resize_crop(torch.full((3, 300, 90), 77, dtype=torch.uint8))
    assert flat.shape == (3, 112, 112)
    assert (flat == 77).all()
