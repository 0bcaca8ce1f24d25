"""Frozen layers: what trained layers say, with a shorter way back to the pixels.

None of them gives a gradient to its weights. torch's own layers compute some of it all the same, or take a general
way back where there is a special one; how much was measured is in each docstring (CPU, one thread, 50 photos).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FEW_CHANNELS = 4
"""Up to so many input channels a strided convolution is slow backwards: those of images."""


def along_channels(values: Tensor, x: Tensor) -> Tensor:
    """Values ``[C]`` so that they meet the channels of ``x``, ``[N, C, ...]``."""
    return values.view(-1, *[1] * max(x.ndim - 2, 0))


def channel_affine(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """``x * scale + shift`` for ``x`` ``[N, C, ...]`` and two ``[C]``: what is left of a batch norm."""
    return torch.addcmul(along_channels(shift, x), x, along_channels(scale, x))


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """``x`` where it is positive, ``slope * x`` elsewhere; ``slope`` must broadcast to ``x``.

    torch's PReLU always computes the gradient of its slopes, which are as many numbers as ``x`` before they are
    summed: 6.1 ms forward and back on 600,000 values, where this takes 0.8 ms.
    """
    result: Any = _PReLU.apply(x, slope.to(x.dtype))
    return result


class _PReLU(torch.autograd.Function):
    """`prelu` with a gradient to ``x`` alone."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, slope: Tensor) -> Tensor:
        by_channel = x.ndim > 1 and slope.shape == along_channels(slope, x).shape
        return F.prelu(x, slope.flatten()) if by_channel else torch.lerp(torch.relu(x), x, slope)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        x, slope = ctx.saved_tensors
        of_positive = torch.ops.aten.threshold_backward(slopes[0], x, 0)
        return torch.lerp(of_positive, slopes[0], slope), None


def norm_as_affine(
    mean: Tensor, variance: Tensor, epsilon: float, scale: Tensor | None, shift: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Scale and shift ``[C]`` of a batch norm in eval mode, from its statistics and weights."""
    whole = (variance + epsilon).rsqrt()
    whole = whole if scale is None else whole * scale
    return whole, -mean * whole if shift is None else shift - mean * whole


class ChannelAffine(nn.Module):
    """A batch norm that no layer before it can take up, as one multiply-add."""

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__()
        assert norm.running_mean is not None and norm.running_var is not None
        pair = norm_as_affine(norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
        for name, values in zip(("scale", "shift"), pair, strict=True):
            self.register_buffer(name, values.detach())

    def forward(self, x: Tensor) -> Tensor:
        return channel_affine(x, self.get_buffer("scale"), self.get_buffer("shift"))


class FrozenPReLU(nn.PReLU):
    """`prelu` with the slopes of a trained layer; other devices than CPUs, where nothing was measured, keep torch's."""

    def __init__(self, layer: nn.PReLU) -> None:
        nn.Module.__init__(self)
        self.num_parameters, self.weight = layer.num_parameters, layer.weight

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu":
            return super().forward(input)
        return prelu(input, along_channels(self.weight, input))


class PairMean(nn.AvgPool2d):
    """Average pooling of images by two, forward as two sums of neighbours and backward as copies of each pixel.

    torch's own takes 6.7 ms for 100 photos of 112x112 and 7.5 ms back; this one takes 1.6 and 2.8.
    """

    def __init__(self, layer: nn.AvgPool2d) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(layer.__dict__)

    @staticmethod
    def suits(layer: nn.Module) -> bool:
        """Whether a layer is such a pooling, of blocks that neither overlap nor leave gaps."""
        return (
            type(layer) is nn.AvgPool2d
            and _pair(layer.kernel_size) == _pair(layer.stride) == (2, 2)
            and _pair(layer.padding) == (0, 0)
            and layer.divisor_override is None
        )

    def forward(self, input: Tensor) -> Tensor:
        odd = input.ndim != 4 or any(side % 2 for side in input.shape[-2:])
        if odd or input.device.type != "cpu" or input.shape[1] > _FEW_CHANNELS:
            return super().forward(input)
        result: Any = _PairMean.apply(input)
        return result


class _PairMean(torch.autograd.Function):
    """`torch.nn.functional.avg_pool2d` of images ``[N, C, H, W]`` by two."""

    generate_vmap_rule = True

    @staticmethod
    def forward(images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        rows = images.unflatten(-2, (height // 2, 2))
        columns = (rows[..., 0, :] + rows[..., 1, :]).unflatten(-1, (width // 2, 2))
        return (columns[..., 0] + columns[..., 1]).mul_(0.25)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        (slope,) = slopes
        return F.interpolate(slope.contiguous() * 0.25, scale_factor=2, mode="nearest")


def _pair(sides: int | tuple[int, ...]) -> tuple[int, ...]:
    return (sides, sides) if isinstance(sides, int) else tuple(sides)


class StridedStem(nn.Conv2d):
    """A strided convolution of an image whose gradient to the image is taken block by block.

    Where ``stride`` divides the image's sides, each block of stride x stride pixels is as good as one pixel with
    ``stride**2`` times the channels, and the kernel steps over blocks by one: a shape that convolutions are fast at.
    The general way back takes 19 ms for a 7x7 kernel of stride 4 at 112x112, a third of all that a small network
    takes; this one takes 7 ms. Forward it is the same convolution. Other devices and sizes go the general way.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(layer.__dict__)

    @staticmethod
    def suits(layer: nn.Module) -> bool:
        """Whether a layer is such a convolution: of few channels, equally strided and padded both ways, undilated."""
        return (
            type(layer) is nn.Conv2d
            and layer.in_channels <= _FEW_CHANNELS
            and layer.groups == 1
            and layer.stride[0] == layer.stride[1] > 1
            and layer.dilation == (1, 1)
            and layer.padding_mode == "zeros"
            and isinstance(layer.padding, tuple)
            and layer.padding[0] == layer.padding[1]
            and layer.kernel_size[0] == layer.kernel_size[1]
        )

    def forward(self, input: Tensor) -> Tensor:
        stride = self.stride[0]
        if input.device.type != "cpu" or input.ndim != 4 or any(side % stride for side in input.shape[-2:]):
            return super().forward(input)
        result: Any = _BackInBlocks.apply(input, self.weight, self.bias, stride, self.padding[0])
        return result


class _BackInBlocks(torch.autograd.Function):
    """`torch.nn.functional.conv2d` of images ``[N, C, H, W]``, with a gradient to them and to nothing else."""

    generate_vmap_rule = True

    @staticmethod
    def forward(images: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        return F.conv2d(images, weight, bias, stride, padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        images, weight, _, ctx.stride, ctx.padding = inputs
        ctx.save_for_backward(weight)
        ctx.shape = images.shape

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        (slope,), stride = slopes, ctx.stride
        count, channels, height, width = ctx.shape
        before = -(-ctx.padding // stride)  # blocks of padding in front of the image
        kernel = _in_blocks(weight, stride, before * stride - ctx.padding).to(
            slope.dtype
        )  # autocast has made it coarser
        if slope.is_contiguous(memory_format=torch.channels_last):
            kernel = kernel.contiguous(memory_format=torch.channels_last)
        blocks = F.conv_transpose2d(slope, kernel)
        rows, columns = height // stride, width // stride
        # What fell onto the padding goes; pixels behind the last step of the kernel were never looked at.
        ends = (columns - blocks.shape[3] + before, rows - blocks.shape[2] + before)
        blocks = F.pad(blocks, (-before, ends[0], -before, ends[1]))
        images = blocks.reshape(count, channels, stride, stride, rows, columns).permute(0, 1, 4, 2, 5, 3)
        return images.reshape(count, channels, height, width), None, None, None, None


def _in_blocks(weight: Tensor, stride: int, lead: int) -> Tensor:
    """A kernel ``[O, C, k, k]`` over blocks, ``[O, C * stride**2, b, b]``, after ``lead`` zeros in front."""
    outputs, channels, side, _ = weight.shape
    count = -(-(lead + side) // stride)
    ends = (lead, count * stride - lead - side)
    whole = F.pad(weight, (*ends, *ends)).reshape(outputs, channels, count, stride, count, stride)
    return whole.permute(0, 1, 3, 5, 2, 4).reshape(outputs, channels * stride**2, count, count)
