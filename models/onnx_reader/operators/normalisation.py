"""Normalisation in its inference form."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.models.onnx_reader.operators.elementwise import Operator
from cloakbench.models.onnx_reader.tensors import axis_of


def _batch_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    spatial: int = 1,
) -> Tensor:
    """``momentum`` only matters in training. Opset 8 and earlier may have numbers for each pixel (``spatial`` 0); some
    exporters wrote that of numbers for each channel."""
    if training_mode:
        raise ValueError("it is in training mode, where a photo's answer depends on its batch: export in eval mode")
    if not spatial and mean.ndim > 1:
        return (x - mean) * torch.rsqrt(variance + epsilon) * scale + bias
    return F.batch_norm(x, mean, variance, scale, bias, training=False, eps=epsilon)


def _standardised(x: Tensor, axes: list[int], epsilon: float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + epsilon)


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (x.ndim - 2))


def _instance_norm(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    return _standardised(x, list(range(2, x.ndim)), epsilon) * _per_channel(scale, x) + _per_channel(bias, x)


def _group_norm(
    x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    """Scale and bias are one a group in opset 18 to 20, one a channel from 21."""
    grouped = x.reshape(x.shape[0], num_groups, -1)
    standard = _standardised(grouped, [2], epsilon).reshape(x.shape)
    if scale.numel() != x.shape[1]:
        scale, bias = (part.repeat_interleave(x.shape[1] // num_groups) for part in (scale, bias))
    return standard * _per_channel(scale, x) + _per_channel(bias, x)


def _layer_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    shape = list(x.shape[axis_of(x, axis) :])
    if list(scale.shape) == shape and (bias is None or list(bias.shape) == shape):
        return F.layer_norm(x, shape, scale, bias, epsilon)
    standard = F.layer_norm(x, shape, eps=epsilon) * scale
    return standard if bias is None else standard + bias


def _lp_norm(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """A vector of zeros stays one."""
    length = torch.linalg.vector_norm(x, p, axis, keepdim=True)
    return x / torch.where(length == 0, torch.ones_like(length), length)


def _local_response_norm(x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Tensor:
    """Over ``size`` neighbouring channels; with an even size the one more lies behind."""
    before = (size - 1) // 2
    squares = F.pad(x.square().movedim(1, -1), (before, size - 1 - before)).unfold(-1, size, 1).sum(-1).movedim(-1, 1)
    return x / (bias + alpha / size * squares) ** beta


def _softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return x.softmax(axis)


def _log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return x.log_softmax(axis)


def _as_matrix(x: Tensor, axis: int) -> Tensor:
    """All axes before ``axis`` as rows: how opsets up to 12 read the axis of a softmax."""
    place = axis_of(x, axis)
    return x.reshape(math.prod(x.shape[:place]), math.prod(x.shape[place:]))


def _softmax_of_rows(x: Tensor, *, axis: int = 1) -> Tensor:
    return _as_matrix(x, axis).softmax(1).reshape(x.shape)


def _log_softmax_of_rows(x: Tensor, *, axis: int = 1) -> Tensor:
    return _as_matrix(x, axis).log_softmax(1).reshape(x.shape)


def _dropout(
    x: Tensor,
    share: Tensor | None = None,
    training: Tensor | None = None,
    *,
    ratio: float = 0.5,
    seed: int = 0,
) -> Tensor:
    """Nothing: these networks are judged, not trained."""
    if training is not None and bool(training):
        raise ValueError("it is in training mode, where answers are drawn by chance: export in eval mode")
    return x


NORMALISATION: dict[str, Operator] = {
    "BatchNormalization": _batch_norm,
    "Dropout": _dropout,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _local_response_norm,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _log_softmax,
    "LpNormalization": _lp_norm,
    "Softmax": _softmax,
}
BEFORE_13: dict[str, Operator] = {"LogSoftmax": _log_softmax_of_rows, "Softmax": _softmax_of_rows}
"""Operators that meant something else up to opset 12."""
