"""MXNet 1.x's operators as torch functions, with MXNet's defaults, as far as InsightFace's training code used them.

Written from the operators' documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.models.frozen.layers import along_channels, prelu
from cloakbench.models.weight_file import WeightError

Pair = Sequence[int]

EPSILON = 1e-3
"""What a batch norm adds to variances unless its node says otherwise."""


def _pair(value: Pair, default: int) -> tuple[int, int]:
    """Height and width; MXNet writes an empty tuple for the default."""
    return (value[0], value[1]) if value else (default, default)


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    kernel: Pair,
    stride: Pair = (),
    pad: Pair = (),
    dilate: Pair = (),
    num_group: int = 1,
    no_bias: bool = False,
) -> Tensor:
    """2-D convolution; ``kernel`` and ``no_bias`` repeat what the parameters say."""
    return F.conv2d(x, weight, bias, _pair(stride, 1), _pair(pad, 0), _pair(dilate, 1), num_group)


def batch_norm(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    eps: float = EPSILON,
    fix_gamma: bool = True,
    axis: int = 1,
) -> Tensor:
    """Inference form. ``fix_gamma``, on by default, means that the stored scale is not used."""
    if axis != 1:
        raise WeightError(f"batch norm over axis {axis} is not supported: export the network to ONNX")
    return F.batch_norm(x, mean, variance, None if fix_gamma else gamma, beta, training=False, eps=eps)


def _leaky_relu(x: Tensor, gamma: Tensor | None = None, *, act_type: str = "leaky", slope: float = 0.25) -> Tensor:
    if act_type == "prelu" and gamma is not None:
        return prelu(x, along_channels(gamma, x))
    if act_type == "leaky":
        return F.leaky_relu(x, slope)
    raise WeightError(f"LeakyReLU of type {act_type!r} is not supported: export the network to ONNX")


def _activation(x: Tensor, *, act_type: str) -> Tensor:
    functions = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}
    if act_type not in functions:
        raise WeightError(f"activation {act_type!r} is not supported: export the network to ONNX")
    return functions[act_type](x)


def fully_connected(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, no_bias: bool = False, flatten: bool = True
) -> Tensor:
    return F.linear(x.flatten(1) if flatten else x, weight, bias)


def _pooling(
    x: Tensor,
    *,
    kernel: Pair = (),
    stride: Pair = (),
    pad: Pair = (),
    pool_type: str = "max",
    global_pool: bool = False,
    pooling_convention: str = "valid",
    count_include_pad: bool = True,
) -> Tensor:
    """Average or maximum; sizes round down (``valid``)."""
    if pool_type not in ("max", "avg") or (pooling_convention != "valid" and not global_pool):
        raise WeightError(f"pooling {pool_type!r}, {pooling_convention!r} is not supported: export the network to ONNX")
    if global_pool:
        return x.mean((2, 3), keepdim=True) if pool_type == "avg" else x.amax((2, 3), keepdim=True)
    sizes = _pair(kernel, 1), _pair(stride, 1), _pair(pad, 0)
    if pool_type == "max":
        return F.max_pool2d(x, *sizes)
    return F.avg_pool2d(x, *sizes, count_include_pad=count_include_pad)


def _concat(*parts: Tensor, dim: int = 1) -> Tensor:
    return torch.cat(parts, dim)


def _add(a: Tensor, b: Tensor) -> Tensor:
    return a + b


def _multiply(a: Tensor, b: Tensor) -> Tensor:
    return a * b


def _minus_scalar(x: Tensor, *, scalar: float) -> Tensor:
    return x - scalar


def _times_scalar(x: Tensor, *, scalar: float) -> Tensor:
    return x * scalar


def _same(x: Tensor) -> Tensor:
    return x


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Activation": _activation,
    "BatchNorm": batch_norm,
    "BlockGrad": _same,
    "Concat": _concat,
    "Convolution": convolution,
    "Dropout": _same,
    "Flatten": lambda x: x.flatten(1),
    "FullyConnected": fully_connected,
    "LeakyReLU": _leaky_relu,
    "Pooling": _pooling,
    "_Plus": _add,
    "_copy": _same,
    "_minus_scalar": _minus_scalar,
    "_mul_scalar": _times_scalar,
    "_plus": _add,
    "broadcast_add": _add,
    "broadcast_mul": _multiply,
    "elemwise_add": _add,
    "elemwise_mul": _multiply,
    "identity": _same,
}
"""What the interpreter runs; a setting that is not named in a function is refused, never ignored."""

IGNORED = frozenset(
    {
        *("cudnn_off", "cudnn_tune", "lr_mult", "mode", "momentum", "num_args"),
        *("num_filter", "num_hidden", "p", "use_global_stats", "wd_mult", "workspace"),
    }
)
"""Settings that matter to training or to speed only, or that repeat the shape of a parameter."""
