"""The networks of the embedded generator."""

from __future__ import annotations

import pytest
import torch

from cloakbench.bench.core.random_streams import generator, layers_draw_from
from cloakbench.models.generation.view_network import Changes, CodeReader, ViewNetwork, apply_changes


def photos(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 112, 112, generator=generator("photos"))


def codes(count: int, size: int = 16) -> torch.Tensor:
    return torch.randn(count, size, generator=generator("codes"))


@pytest.fixture(scope="module")
def network() -> ViewNetwork:
    """One that changes much, as its last layer is drawn wide."""
    with layers_draw_from("network"):
        made = ViewNetwork(16, (4, 6, 8, 8), reach=0.4, gain=1.5)
        torch.nn.init.normal_(made.out.weight, std=0.5)
    return made.eval().requires_grad_(False)


def no_changes(count: int) -> Changes:
    empty = torch.zeros(count, 9, 56, 56).split([2, 3, 3, 1], 1)
    return Changes(*empty)


def test_no_changes_leave_the_photo() -> None:
    assert torch.allclose(apply_changes(photos(2), no_changes(2)), photos(2), atol=1e-5)


def test_a_flow_takes_pixels_from_where_it_points() -> None:
    flow = torch.zeros(1, 2, 56, 56)
    flow[:, 0] = 2 * 10 / 112
    moved = apply_changes(photos(1), no_changes(1)._replace(flow=flow))
    assert torch.allclose(moved[..., :100], photos(1)[..., 10:110], atol=1e-5)


def test_gain_multiplies_and_cover_paints_over() -> None:
    brighter = apply_changes(photos(1), no_changes(1)._replace(gain=torch.full((1, 3, 56, 56), 0.5)))
    assert torch.allclose(brighter, photos(1) * torch.tensor(0.5).exp(), atol=1e-5)
    paint = no_changes(1)._replace(colour=torch.full((1, 3, 56, 56), 0.25), cover=torch.ones(1, 1, 56, 56))
    assert torch.allclose(apply_changes(photos(1), paint), torch.full((1, 3, 112, 112), 0.25))


def test_views_are_pictures_and_other_codes_give_other_ones(network: ViewNetwork) -> None:
    made = network(photos(1).expand(4, -1, -1, -1), codes(4))
    assert made.shape == (4, 3, 112, 112)
    assert 0 <= float(made.min()) <= float(made.max()) <= 1
    assert all(float((made[0] - made[other]).abs().mean()) > 1e-3 for other in range(1, 4))


def test_a_view_does_not_depend_on_its_neighbours_to_the_last_bit(network: ViewNetwork) -> None:
    together = network(photos(5), codes(5))
    alone = torch.cat([network(photos(5)[row : row + 1], codes(5)[row : row + 1]) for row in range(5)])
    assert torch.equal(together, alone)


def test_photos_of_another_size_are_refused(network: ViewNetwork) -> None:
    with pytest.raises(ValueError, match=r"takes crops of 112 x 112 only"):
        network(torch.rand(1, 3, 96, 96, generator=generator("small")), codes(1))


def test_the_reader_gives_a_distribution_for_each_pair() -> None:
    with layers_draw_from("reader"):
        reader = CodeReader(16, (4, 6, 8, 8))
    means, variances = reader(photos(3), photos(3).flip(0))
    assert means.shape == variances.shape == (3, 16)
    assert bool(((variances >= -8) & (variances <= 4)).all())
