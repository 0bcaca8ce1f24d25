"""What is folded, what stays a multiply-add, and what is not touched because it is not understood."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrizations

from cloakbench.bench.core.code_digests import code_digest
from cloakbench.models.frozen.layers import ChannelAffine
from cloakbench.models.frozen.network import freeze, with_channels_last


class Net(nn.Module):
    """Convolution and norm, used as ``how`` says."""

    def __init__(self, how: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.how = how
        self.conv, self.bn = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.again, self.idle = nn.Conv2d(4, 4, 3, padding=1), nn.Dropout(0.5)
        self.fc, self.bn1 = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.how(self, x)


def lived_in(network: nn.Module) -> nn.Module:
    stream = torch.Generator().manual_seed(0)
    for part in network.modules():
        if isinstance(part, _BatchNorm) and part.running_mean is not None and part.running_var is not None:
            part.running_mean.normal_(0, 0.3, generator=stream)
            part.running_var.uniform_(0.5, 2, generator=stream)
            if part.affine:
                part.weight.data.normal_(generator=stream)
                part.bias.data.normal_(generator=stream)
    return network.eval().double()


def kept(network: nn.Module, size: int = 8) -> tuple[int, int]:
    """Freezes a copy, holds it against the network, and counts the norms and multiply-adds that it has left."""
    frozen = freeze(copy.deepcopy(network))
    x = torch.rand(2, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(frozen(x), network(x), rtol=1e-9, atol=1e-12)
    kinds = [type(part) for part in frozen.modules()]
    return sum(issubclass(kind, _BatchNorm) for kind in kinds), kinds.count(ChannelAffine)


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def _branches(net: Any, x: Tensor) -> Tensor:
    raw = net.conv(x)
    return _mean(raw + net.bn(raw))


FOLDED: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "straight": lambda net, x: _mean(net.bn(net.conv(x))),
    "behind dropout": lambda net, x: _mean(net.bn(net.idle(net.conv(x)))),
    "behind flatten and linear": lambda net, x: net.bn1(net.fc(net.conv(x).mean((2, 3), keepdim=True).flatten(1))),
    "behind torch.flatten": lambda net, x: net.bn1(net.fc(torch.flatten(net.conv(x).mean((2, 3), True), 1))),
    "behind view": lambda net, x: net.bn1(net.fc(net.conv(x).mean((2, 3), True).view(x.shape[0], -1))),
}


@pytest.mark.parametrize("how", FOLDED.values(), ids=FOLDED)
def test_a_norm_behind_a_layer_is_folded(how: Callable[[Any, Tensor], Tensor]) -> None:
    unused = 1  # the norm that this network does not run
    assert kept(lived_in(Net(how))) == (unused, 0)


MULTIPLY_ADD: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "before a padded convolution": lambda net, x: _mean(net.again(net.bn(net.conv(x).relu()))),
    "output read twice": _branches,
    "unknown axes behind a linear layer": lambda net, x: (
        _mean(net.bn(net.conv(x).relu())) + net.bn1(net.fc(net.conv.weight.new_ones(2, 4, 4))).sum(1)
    ),
}


@pytest.mark.parametrize("name", MULTIPLY_ADD)
def test_a_norm_that_no_layer_can_take_is_one_multiply_add(name: str) -> None:
    norms, affine = kept(lived_in(Net(MULTIPLY_ADD[name])))
    assert affine >= 1
    assert norms + affine == 2 and norms <= 1


UNTOUCHED: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "convolution used twice": lambda net, x: _mean(net.bn(net.conv(x)) + net.conv(x.flip(3))),
    "norm used twice": lambda net, x: _mean(net.bn(net.again(net.bn(net.conv(x))))),
    "weights read elsewhere": lambda net, x: _mean(net.bn(net.conv(x))) * net.conv.weight.sum(),
    "flow that depends on the photo": lambda net, x: _mean(net.bn(net.conv(x))) if x.sum() > 0 else _mean(x),
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_what_is_used_in_unusual_ways_says_the_same(name: str) -> None:
    network = lived_in(Net(UNTOUCHED[name]))
    before = set(vars(network))
    kept(network)
    assert set(vars(freeze(network))) == before  # a trace lays no constants there


def test_layers_under_two_names_hooks_and_parametrised_weights_say_the_same() -> None:
    shared = nn.BatchNorm2d(4)
    tied = nn.Conv2d(4, 4, 3)
    two_names = nn.Sequential(nn.Conv2d(3, 4, 3), shared, nn.ReLU(), tied, shared, nn.ReLU(), tied, nn.Flatten())
    same_weight = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 3), nn.Flatten())
    same_weight[3].weight = same_weight[0].weight
    hooked = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Flatten())
    for place in (0, 2):
        hooked[place].register_forward_hook(lambda *call: 2 * call[-1])
    normed = nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4), nn.Flatten())
    for network in (two_names, same_weight, hooked, normed):
        kept(lived_in(network))


def test_norms_without_weights_or_statistics() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.Flatten())
    assert kept(lived_in(plain)) == (0, 0)
    vector = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.BatchNorm1d(4, affine=False))
    assert kept(lived_in(vector)) == (0, 1)
    of_the_batch = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten())
    assert kept(lived_in(of_the_batch)) == (1, 0)


@pytest.mark.parametrize("architecture", ["resnet18", "efficientnet_b0", "regnety_002", "mobilenetv3_small_050"])
def test_networks_of_timm_lose_all_norms(architecture: str) -> None:
    timm = pytest.importorskip("timm")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = lived_in(timm.create_model(architecture, num_classes=16))
    assert kept(network, 64) == (0, 0)


def test_a_network_that_needs_the_usual_layout_keeps_it() -> None:
    class Viewing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).view(-1, 4 * 6 * 6)

    images = torch.rand(2, 3, 8, 8)
    usual, free = with_channels_last(Viewing(), images), with_channels_last(nn.Sequential(nn.Conv2d(3, 4, 3)), images)
    assert usual(images).shape == (2, 144)
    assert next(usual.parameters()).is_contiguous()
    assert next(free.parameters()).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("loader", ["zoo", "loading", "frbench", "mxnet_network", "attribute_loading"])
def test_the_code_that_folds_is_in_the_key_of_every_loaded_network(loader: str) -> None:
    """So answers and photos of networks that were not folded, or folded otherwise, are never read for these."""
    whole = code_digest(f"cloakbench.models.{loader}")
    for part in ("network", "norms", "layers") if loader == "zoo" else ("network", "norms", "layers", "steps"):
        assert code_digest(f"cloakbench.models.{loader}", without={f"cloakbench.models.frozen.{part}"}) != whole, part
