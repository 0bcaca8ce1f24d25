"""The square crop against independent computations, at and beyond the border."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cloakbench.datasets.box_crop import square_crop


@pytest.fixture
def photo() -> torch.Tensor:
    return torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _reference(photo: torch.Tensor, box: list[float], size: int, enlarge: float) -> np.ndarray:
    """Pixel by pixel, in the words of the rule."""
    x1, y1, x2, y2 = box
    side = max(x2 - x1, y2 - y1) * (1 + 2 * enlarge)
    left, top = (x1 + x2) / 2 - side / 2, (y1 + y2) / 2 - side / 2
    pixels = photo.numpy().astype(float)
    _, height, width = pixels.shape
    crop = np.empty((3, size, size))
    for row in range(size):
        for column in range(size):
            y, x = top + row * side / size, left + column * side / size
            y0, x0 = int(np.floor(y)), int(np.floor(x))
            total = np.zeros(3)
            for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
                weight = (1 - abs(y - y0 - dy)) * (1 - abs(x - x0 - dx))
                total += weight * pixels[:, min(max(y0 + dy, 0), height - 1), min(max(x0 + dx, 0), width - 1)]
            crop[:, row, column] = total
    return crop


@pytest.mark.parametrize("enlarge", [0.0, 0.2])
@pytest.mark.parametrize(
    "box", [[10.3, 8.7, 30.2, 33.1], [20.0, 5.5, 50.0, 20.5], [-12.0, -3.0, 9.0, 30.0], [45.0, 25.0, 80.0, 70.0]]
)
def test_every_pixel_follows_the_rule(photo: torch.Tensor, box: list[float], enlarge: float) -> None:
    crop = square_crop(photo, torch.tensor(box, dtype=torch.float64), 16, enlarge)
    assert crop.dtype == torch.uint8
    assert crop.shape == (3, 16, 16)
    assert np.abs(crop.numpy() - _reference(photo, box, 16, enlarge)).max() <= 0.5 + 1e-9


def test_a_box_of_the_crops_size_is_a_cut(photo: torch.Tensor) -> None:
    assert torch.equal(square_crop(photo, torch.tensor([7.0, 5.0, 39.0, 37.0]), 32), photo[:, 5:37, 7:39])


def test_the_shorter_side_grows_on_both_ends(photo: torch.Tensor) -> None:
    narrow, square = torch.tensor([20.0, 4.0, 30.0, 36.0]), torch.tensor([9.0, 4.0, 41.0, 36.0])
    assert torch.equal(square_crop(photo, narrow, 32), square_crop(photo, square, 32))


def test_enlarging_adds_the_share_on_every_side(photo: torch.Tensor) -> None:
    small, large = torch.tensor([24.0, 14.0, 34.0, 24.0]), torch.tensor([19.0, 9.0, 39.0, 29.0])
    assert torch.equal(square_crop(photo, small, 20, enlarge=0.5), square_crop(photo, large, 20))


@pytest.mark.parametrize("box", [[5.0, 5.0, 5.0, 9.0], [9.0, 5.0, 5.0, 9.0], [float("nan"), 5.0, 9.0, 9.0]])
def test_an_empty_box_is_refused(photo: torch.Tensor, box: list[float]) -> None:
    with pytest.raises(ValueError, match="empty or not finite"):
        square_crop(photo, torch.tensor(box), 16)
