"""Networks of purifiers: shapes, and what makes each of them what it is."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from cloakbench.bench.core.random_streams import generator, layers_draw_from
from cloakbench.bench.core.ranges import SettingError
from cloakbench.models.base import Purifier
from cloakbench.models.purifiers.design import Network, PurifierDesign
from cloakbench.models.purifiers.networks import Inpainter

NETWORKS = get_args(Network)


def photos(count: int = 2, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=generator("purifiers"))


def made(network: Network) -> torch.nn.Module:
    with layers_draw_from("purifier test", network):
        return PurifierDesign(network, 8, 3).make()


@pytest.mark.parametrize("network", NETWORKS)
def test_photos_come_back_in_their_shape_and_range_and_gradients_flow(network: Network) -> None:
    purifier = Purifier(made(network)).train()
    leaf = photos().requires_grad_()
    cleaned = purifier.purify(leaf)
    assert cleaned.shape == leaf.shape and cleaned.min() >= 0 and cleaned.max() <= 1
    assert torch.autograd.grad(cleaned.sum(), leaf)[0].abs().sum() > 0
    assert not purifier.network.training and not any(weight.requires_grad for weight in purifier.parameters())


@pytest.mark.parametrize("network", NETWORKS)
def test_a_photo_is_cleaned_alike_alone_and_in_company(network: Network) -> None:
    purifier, given = Purifier(made(network)), photos(3)
    torch.testing.assert_close(purifier.purify(given)[1:2], purifier.purify(given[1:2]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
def test_photos_of_112_pixels_fit(network: Network) -> None:
    assert Purifier(made(network)).purify(photos(1, 112)).shape == (1, 3, 112, 112)


def test_the_inpainter_never_sees_what_it_answers() -> None:
    network = made("inpainter").eval()
    given = photos(1)
    changed = given.clone()
    changed[..., :8, :8] = 1 - changed[..., :8, :8]  # one block
    assert isinstance(network, Inpainter)
    difference = (network(changed) - network(given)).abs().sum(dim=(0, 1))
    assert difference[:8, :8].max() < 1e-6 < difference[:8, 8:16].max()


@pytest.mark.parametrize("wrong", [{"network": "gan"}, {"width": 0}, {"depth": 2}])
def test_a_setting_out_of_range_is_named(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        PurifierDesign(**{"network": "dncnn", "width": 8, "depth": 3, **wrong})  # type: ignore[arg-type]
