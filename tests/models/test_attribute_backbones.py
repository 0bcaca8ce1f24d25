"""VGG and GoogLeNet: the bodies are those of torchvision, whose weights they load, and slim ones are small."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.models.backbones.googlenet import MODULES, GoogLeNet
from cloakbench.models.backbones.vgg import VGG


def without_draws(build: Callable[[], nn.Module]) -> nn.Module:
    """A network with seeded weights and batch statistics that are not those of a new one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build()
    stream = generator("statistics")
    for name, value in network.state_dict().items():
        if "running_var" in name:
            value.copy_(1 + torch.rand(value.shape, generator=stream))
        elif "running_mean" in name:
            value.copy_(torch.randn(value.shape, generator=stream) / 10)
    return network.eval()


def photos(side: int) -> Tensor:
    return torch.rand(2, 3, side, side, generator=generator("photos"))


@torch.no_grad()
def test_the_body_of_vgg_16_is_torchvisions() -> None:
    from torchvision.models import vgg16_bn

    theirs = without_draws(lambda: vgg16_bn().features)
    with torch.device("meta"):
        ours = VGG(input_size=(64, 64))
    ours.features.load_state_dict(theirs.state_dict(), strict=True, assign=True)
    torch.testing.assert_close(ours.features.eval()(photos(64)), theirs(photos(64)))


@torch.no_grad()
def test_the_body_of_googlenet_is_torchvisions() -> None:
    from torchvision.models import googlenet

    theirs = without_draws(lambda: googlenet(weights=None, aux_logits=False, init_weights=False))
    with torch.device("meta"):
        ours = GoogLeNet(input_size=(64, 64))
    theirs.fc = nn.Identity()  # type: ignore[assignment]
    state = theirs.state_dict()
    found = ours.load_state_dict(state, strict=False, assign=True)
    assert not found.unexpected_keys and all(name.startswith("neck.") for name in found.missing_keys)
    ours.eval()
    ours.neck = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())  # type: ignore[assignment]
    torch.testing.assert_close(ours(photos(64)), theirs(photos(64)))
    assert len(MODULES) == 9


@pytest.mark.parametrize("side", [112, 97])
def test_necks_fit_the_last_map_whatever_the_side(side: int) -> None:
    for network in (
        VGG(channels=(2, 2, 3, 3, 4), embedding_size=5, input_size=(side, side), pool=2),
        GoogLeNet(width=0.05, stem=(3, 1), pool=2, embedding_size=5, input_size=(side, side)),
        GoogLeNet(width=0.05, embedding_size=5, input_size=(side, side), neck="fc"),
    ):
        assert network.eval()(photos(side)).shape == (2, 5)
