"""Operators that move, repeat, cut and join elements, and those that make shapes out of shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.models.onnx_reader.operators.elementwise import Operator
from cloakbench.models.onnx_reader.tensors import axes_of, axis_of, numbers, together


def _reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    """``0`` copies the size of the input unless ``allowzero``."""
    sizes = [x.shape[i] if size == 0 and not allowzero else size for i, size in enumerate(numbers(shape))]
    return x.reshape(sizes)


def _flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    place = axis if axis == x.ndim else axis_of(x, axis)
    return x.reshape(math.prod(x.shape[:place]), math.prod(x.shape[place:]))


def _squeeze(x: Tensor, where: Tensor | None = None, *, axes: Sequence[int] | None = None) -> Tensor:
    """``axes`` is an attribute up to opset 12 and an input from 13; without it every axis of one goes."""
    if where is None and axes is None:
        return x.reshape([size for size in x.shape if size != 1])
    places = axes_of(x, (axes or ()) if where is None else numbers(where))
    wide = [place for place in places if x.shape[place] != 1]
    if wide:
        raise ValueError(f"axis {wide[0]} is {x.shape[wide[0]]} wide, not 1")
    return x.reshape([size for place, size in enumerate(x.shape) if place not in places])


def _unsqueeze(x: Tensor, where: Tensor | None = None, *, axes: Sequence[int] = ()) -> Tensor:
    """Axes are places in the result; an attribute up to opset 12 and an input from 13."""
    named = axes if where is None else numbers(where)
    places = sorted(axis % (x.ndim + len(named)) for axis in named)
    for place in places:
        x = x.unsqueeze(place)
    return x


def _transpose(x: Tensor, *, perm: Sequence[int] | None = None) -> Tensor:
    return x.permute(list(perm) if perm is not None else list(reversed(range(x.ndim))))


def _concat(*parts: Tensor, axis: int) -> Tensor:
    return torch.cat(together(*parts), axis)


def _split(
    x: Tensor,
    sizes: Tensor | None = None,
    *,
    axis: int = 0,
    split: Sequence[int] | None = None,
    num_outputs: int = 0,
) -> tuple[Tensor, ...]:
    """``num_outputs`` is set by the reader where no sizes are given; the last part is the smaller one."""
    if sizes is not None or split:
        return x.split(numbers(sizes) if sizes is not None else list(split or ()), axis)
    length = x.shape[axis]
    size = -(-length // num_outputs)
    return x.split([size] * (num_outputs - 1) + [length - size * (num_outputs - 1)], axis)


def _slice(
    x: Tensor,
    first: Tensor | None = None,
    last: Tensor | None = None,
    where: Tensor | None = None,
    steps: Tensor | None = None,
    *,
    starts: Sequence[int] = (),
    ends: Sequence[int] = (),
    axes: Sequence[int] | None = None,
) -> Tensor:
    """Starts, ends and axes are attributes up to opset 9 and inputs from 10."""
    begins, stops = (starts if first is None else numbers(first)), (ends if last is None else numbers(last))
    named = axes if where is None else numbers(where)
    places = list(range(len(begins))) if named is None else axes_of(x, named)
    strides = [1] * len(begins) if steps is None else numbers(steps)
    for place, begin, stop, stride in zip(places, begins, stops, strides, strict=True):
        first_place = begin if stride > 0 else max(begin, -x.shape[place])  # before the front is the front
        wanted = range(*slice(first_place, stop, stride).indices(x.shape[place]))
        if stride > 0:
            x = x[(slice(None),) * place + (slice(wanted.start, max(wanted.stop, wanted.start), stride),)]
        else:
            x = x.index_select(place, torch.tensor(list(wanted), dtype=torch.int64, device=x.device))
    return x


def _expand(x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, tuple(numbers(shape))))


def _tile(x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(numbers(repeats))


def _pad(
    x: Tensor,
    amounts: Tensor | None = None,
    constant: Tensor | None = None,
    where: Tensor | None = None,
    *,
    mode: str = "constant",
    pads: Sequence[int] = (),
    value: float = 0.0,
) -> Tensor:
    """Amounts and value are attributes up to opset 10 and inputs from 11."""
    written = list(pads) if amounts is None else numbers(amounts)
    places = list(range(x.ndim)) if where is None else axes_of(x, numbers(where))
    half = len(written) // 2
    before, after = [0] * x.ndim, [0] * x.ndim
    for place, one, other in zip(places, written[:half], written[half:], strict=True):
        before[place], after[place] = one, other
    if mode == "constant":
        fill = value if constant is None else constant.reshape(-1)[0].item()
        sides = [amount for pair in zip(reversed(before), reversed(after), strict=True) for amount in pair]
        return F.pad(x, sides, value=fill)
    for place, (one, other) in enumerate(zip(before, after, strict=True)):
        if one or other:
            sources = [_source(i, x.shape[place], mode) for i in range(-one, x.shape[place] + other)]
            x = x.index_select(place, torch.tensor(sources, device=x.device))
    return x


def _source(place: int, size: int, mode: str) -> int:
    """The element that stands at ``place``, inside the axis or beyond it."""
    if mode == "edge":
        return min(max(place, 0), size - 1)
    if mode == "wrap":
        return place % size
    if mode != "reflect":
        raise ValueError(f"mode {mode!r} is not supported")
    period = max(2 * (size - 1), 1)
    return size - 1 - abs(size - 1 - place % period)


def _depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = x.shape
    depth = c // blocksize**2
    if mode == "CRD":
        blocks = x.reshape(n, depth, blocksize, blocksize, h, w).permute(0, 1, 4, 2, 5, 3)
    else:
        blocks = x.reshape(n, blocksize, blocksize, depth, h, w).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(n, depth, h * blocksize, w * blocksize)


def _space_to_depth(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // blocksize, blocksize, w // blocksize, blocksize)
    blocks = blocks.permute(0, 1, 3, 5, 2, 4) if mode == "CRD" else blocks.permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(n, c * blocksize**2, h // blocksize, w // blocksize)


def _trilu(x: Tensor, k: Tensor | None = None, *, upper: int = 1) -> Tensor:
    diagonal = 0 if k is None else numbers(k)[0]
    return x.triu(diagonal) if upper else x.tril(diagonal)


def _shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    return torch.tensor(x.shape[start:end], dtype=torch.int64)


def _constant_of_shape(shape: Tensor, *, value: Tensor | None = None) -> Tensor:
    fill = torch.zeros(1) if value is None else value
    return fill.reshape(()).expand(numbers(shape)).clone()


def _range(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    first, step = start.item(), delta.item()
    count = max(math.ceil((limit.item() - first) / step), 0)
    return (torch.arange(count) * step + first).to(start.dtype)


SHAPING: dict[str, Operator] = {
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": lambda x: torch.tensor(x.numel()),
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
