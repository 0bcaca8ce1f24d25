"""Frozen layers against torch's own: values, the way back, and where they step aside."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.models.frozen.layers import ChannelAffine, FrozenPReLU, PairMean, StridedStem, prelu


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()


def agree(found: nn.Module, expected: nn.Module, x: Tensor) -> None:
    outputs = [layer.double().requires_grad_(False)(x) for layer in (found, expected)]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-10, atol=1e-12)
    slopes = [torch.autograd.grad(output.sin().sum(), x)[0] for output in outputs]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 6, 5, 7), (4, 6), (4, 6, 3)])
@pytest.mark.parametrize("slopes", [1, 6])
def test_prelu_is_torchs(shape: tuple[int, ...], slopes: int) -> None:
    layer = nn.PReLU(slopes)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-0.5, 1.5, slopes))  # also slopes below zero and above one
    agree(FrozenPReLU(layer), layer, drawn(*shape))


def test_prelu_bends_where_torchs_does() -> None:
    x = torch.zeros(3, 2, requires_grad=True)
    layer = nn.PReLU(2).requires_grad_(False)
    slopes = [torch.autograd.grad(each(x).sum(), x)[0] for each in (FrozenPReLU(layer), layer)]
    assert torch.equal(slopes[0], slopes[1])


@pytest.mark.parametrize("shape", [(), (7,), (5, 1), (6, 5, 7), (4, 1, 1, 1)])
def test_prelu_takes_slopes_of_any_shape_that_broadcasts(shape: tuple[int, ...]) -> None:
    x = drawn(4, 6, 5, 7)
    slope = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found, expected = prelu(x, slope), torch.where(x > 0, x, slope * x)
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(each.sin().sum(), x)[0] for each in (found, expected)]
    torch.testing.assert_close(slopes[0], slopes[1])


@pytest.mark.parametrize("shape", [(4, 6, 5, 7), (4, 6), (4, 6, 3)])
@pytest.mark.parametrize("affine", [True, False])
def test_channel_affine_is_the_norm(shape: tuple[int, ...], affine: bool) -> None:
    norm = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(6, affine=affine).double().eval()
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.normal_(generator=torch.Generator().manual_seed(1))
    norm.running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(2))
    agree(ChannelAffine(norm), norm, drawn(*shape))


STEMS = [
    # outputs, kernel, stride, padding, height, width
    (5, 7, 4, 3, 32, 24),
    (5, 3, 2, 1, 32, 32),
    (5, 3, 2, 0, 32, 32),
    (5, 7, 2, 3, 20, 32),
    (5, 4, 4, 0, 32, 32),
    (5, 3, 4, 0, 32, 32),  # steps over pixels
    (5, 8, 8, 0, 32, 32),
    (5, 5, 3, 4, 30, 33),
    (5, 2, 2, 3, 32, 32),  # more padding than kernel
]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("case", STEMS)
def test_stem_goes_back_as_torchs(case: tuple[int, ...], bias: bool) -> None:
    outputs, kernel, stride, padding, height, width = case
    layer = nn.Conv2d(3, outputs, kernel, stride, padding, bias=bias)
    assert StridedStem.suits(layer)
    agree(StridedStem(layer), layer, drawn(2, 3, height, width))
    last = nn.Conv2d(3, outputs, kernel, stride, padding, bias=bias).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    agree(StridedStem(last), last, drawn(2, 3, height, width))


def test_sizes_that_the_stride_does_not_divide_go_the_usual_way() -> None:
    layer = nn.Conv2d(3, 4, 7, 4, 3)
    agree(StridedStem(layer), layer, drawn(2, 3, 33, 30))


@pytest.mark.parametrize("shape", [(2, 3, 12, 8), (2, 3, 11, 8), (2, 5, 12, 8), (3, 12, 8)])
def test_pair_mean_is_torchs_pooling(shape: tuple[int, ...]) -> None:
    layer = nn.AvgPool2d(2)
    assert PairMean.suits(layer)
    agree(PairMean(layer), layer, drawn(*shape))


def test_pair_mean_takes_images_and_slopes_of_any_layout() -> None:
    x = drawn(2, 3, 12, 8).detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.rand(2, 3, 6, 4, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    slopes = [
        torch.autograd.grad((each(x) * weight).sum(), x)[0] for each in (PairMean(nn.AvgPool2d(2)), nn.AvgPool2d(2))
    ]
    torch.testing.assert_close(slopes[0], slopes[1])


@pytest.mark.parametrize(
    "settings",
    [{"kernel_size": 3}, {"stride": 1}, {"padding": 1}, {"divisor_override": 3}, {"kernel_size": (2, 4)}],
)
def test_other_poolings_are_left_alone(settings: dict[str, Any]) -> None:
    assert not PairMean.suits(nn.AvgPool2d(**({"kernel_size": 2} | settings)))


@pytest.mark.parametrize(
    ("frozen", "layer"),
    [
        (StridedStem, nn.Conv2d(3, 4, 7, 4, 3)),
        (PairMean, nn.AvgPool2d(2)),
        (FrozenPReLU, nn.PReLU(3)),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_second_derivatives_and_vmap_pass_through(frozen: Any, layer: nn.Module) -> None:
    layer = layer.double().requires_grad_(False)
    stem, x = frozen(layer), drawn(2, 3, 16, 16)
    curved = []
    for each in (stem, layer):
        (slope,) = torch.autograd.grad(each(x).sin().sum(), x, create_graph=True)
        curved.append(torch.autograd.grad(slope.square().sum(), x)[0])
    torch.testing.assert_close(curved[0], curved[1])
    torch.testing.assert_close(torch.vmap(lambda image: stem(image[None])[0])(x), layer(x))


@pytest.mark.parametrize(
    "settings",
    [
        {"in_channels": 8},
        {"stride": 1},
        {"stride": (4, 2)},
        {"dilation": 2},
        {"padding_mode": "reflect"},
        {"padding": (3, 1)},
        {"padding": "valid"},
        {"kernel_size": (7, 3)},
    ],
)
def test_other_convolutions_are_left_alone(settings: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"in_channels": 3, "out_channels": 4, "kernel_size": 7, "stride": 4, "padding": 3}
    assert StridedStem.suits(nn.Conv2d(**usual))
    assert not StridedStem.suits(nn.Conv2d(**(usual | settings)))


def test_a_subclass_of_a_convolution_is_left_alone() -> None:
    class Standardised(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            return F.conv2d(input, self.weight - self.weight.mean(), None, self.stride)

    assert not StridedStem.suits(Standardised(3, 4, 3, 2))
