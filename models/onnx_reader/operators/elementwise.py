"""Operators that work on each element alone, and those that combine elements of several tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.models.frozen.layers import prelu
from cloakbench.models.onnx_reader.tensors import cast, is_whole, together

Operator = Callable[..., Any]


def _pairwise(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda a, b: function(*together(a, b))


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """Of any number of tensors, each broadcast to all others."""
    return lambda *parts: reduce(function, together(*parts))


def _divide(a: Tensor, b: Tensor) -> Tensor:
    """Whole numbers are divided as in C: the fraction is dropped."""
    return torch.div(a, b, rounding_mode="trunc") if is_whole(a) else a / b


def _power(a: Tensor, b: Tensor) -> Tensor:
    """The type of the base is the type of the result."""
    constant = b.ndim == 0 and b.device.type == "cpu"
    result = torch.pow(a, b.item() if constant else b)  # a plain number takes the short way to squares and roots
    return result.to(a.dtype) if is_whole(a) else result


def _mod(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    a, b = together(a, b)
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


def _where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(*together(condition, a, b))


def _clip(
    x: Tensor,
    lowest: Tensor | None = None,
    highest: Tensor | None = None,
    *,
    min: float | None = None,
    max: float | None = None,
) -> Tensor:
    """The limits are attributes up to opset 10 and inputs from 11; either may be absent. The upper one wins."""
    low, high = (min if lowest is None else lowest), (max if highest is None else highest)
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        limits = [value if value is None else torch.as_tensor(value, dtype=x.dtype) for value in (low, high)]
        return torch.clamp(x, *(value if value is None else value.to(x.device) for value in limits))
    return x if low is None and high is None else torch.clamp(x, low, high)


def _cast(x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> Tensor:
    """``saturate`` and ``round_mode`` only speak of 8-bit floating point, which `cast` refuses."""
    return cast(x, to)


def _cast_like(x: Tensor, like: Tensor, *, saturate: int = 1, round_mode: str = "up") -> Tensor:
    return x if x.is_floating_point() and like.is_floating_point() else x.to(like.dtype)


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    """The slope is broadcast to ``x``."""
    return torch.where(x < 0, slope * x, x) if is_whole(x) else prelu(x, slope)


def _gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    return F.gelu(x, approximate=approximate)


def _hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return torch.clamp(alpha * x + beta, 0, 1)


def _leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return F.leaky_relu(x, alpha)


def _elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.elu(x, alpha)


def _selu(x: Tensor, *, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Tensor:
    return gamma * torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0)))


def _shrink(x: Tensor, *, lambd: float = 0.5, bias: float = 0.0) -> Tensor:
    return torch.where(x.abs() > lambd, x - bias * x.sign(), torch.zeros_like(x))


def _thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return torch.where(x > alpha, x, torch.zeros_like(x))


def _is_inf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    nothing = torch.zeros_like(x, dtype=torch.bool)
    return (x.isposinf() if detect_positive else nothing) | (x.isneginf() if detect_negative else nothing)


ELEMENTWISE: dict[str, Operator] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Add": _pairwise(torch.add),
    "And": _pairwise(torch.logical_and),
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Ceil": torch.ceil,
    "Clip": _clip,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Div": _pairwise(_divide),
    "Elu": _elu,
    "Equal": _pairwise(torch.eq),
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Gelu": _gelu,
    "Greater": _pairwise(torch.gt),
    "GreaterOrEqual": _pairwise(torch.ge),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": F.hardswish,
    "Identity": lambda x: x,
    "IsInf": _is_inf,
    "IsNaN": torch.isnan,
    "LeakyRelu": _leaky_relu,
    "Less": _pairwise(torch.lt),
    "LessOrEqual": _pairwise(torch.le),
    "Log": torch.log,
    "Max": _folded(torch.maximum),
    "Mean": lambda *parts: reduce(torch.add, together(*parts)) / len(parts),
    "Min": _folded(torch.minimum),
    "Mish": F.mish,
    "Mod": _mod,
    "Mul": _pairwise(torch.mul),
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": _pairwise(torch.logical_or),
    "PRelu": _prelu,
    "Pow": _pairwise(_power),
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "Sqrt": torch.sqrt,
    "Sub": _pairwise(torch.sub),
    "Sum": _folded(torch.add),
    "Tan": torch.tan,
    "Tanh": torch.tanh,
    "ThresholdedRelu": _thresholded_relu,
    "Where": _where,
    "Xor": _pairwise(torch.logical_xor),
}
