"""Pooling: every window is laid out explicitly, so that named paddings, uneven pads and rounding up are one case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.models.onnx_reader.operators.elementwise import Operator
from cloakbench.models.onnx_reader.operators.linear import pad_images, paddings, spans_of

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _around(
    x: Tensor,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    auto_pad: str,
    pads: Sequence[int] | None,
) -> tuple[list[int], list[int], list[int]]:
    """What is added before and after each image axis, and what a window covers of it.

    Raises:
        ValueError: dilated windows with a named padding, which onnxruntime pads otherwise than the specification says.
    """
    if auto_pad.startswith("SAME") and set(dilations) != {1}:
        raise ValueError(f"dilated windows with auto_pad {auto_pad} have no agreed meaning: export them with pads")
    spans = spans_of(kernel, dilations)
    return *paddings(x.shape[2:], spans, strides, auto_pad, pads), spans


def _beyond(
    sizes: Sequence[int], spans: Sequence[int], strides: Sequence[int], pads: tuple[list[int], list[int]]
) -> list[int]:
    """With ``ceil_mode``: what the last windows cover beyond the padded image.

    A window that would begin behind the image and the pad before it is left out.
    """
    extra = []
    for size, span, stride, before, after in zip(sizes, spans, strides, *pads, strict=True):
        windows = -(-(size + before + after - span) // stride) + 1
        windows -= (windows - 1) * stride >= size + before
        extra.append((windows - 1) * stride + span - size - before - after)
    return extra


def _max_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    ceil_mode: int = 0,
    auto_pad: str = "NOTSET",
    storage_order: int = 0,
) -> Tensor:
    """``storage_order`` speaks of the places of the maxima, which nothing here asks for."""
    count = len(kernel_shape)
    strides, dilations = list(strides or [1] * count), list(dilations or [1] * count)
    before, after, spans = _around(x, kernel_shape, strides, dilations, auto_pad, pads)
    pool = _MAX[count]
    if ceil_mode:
        more = _beyond(x.shape[2:], spans, strides, (before, after))
        after = [one + other for one, other in zip(after, more, strict=True)]
    elif before == after and all(0 <= pad <= size // 2 for pad, size in zip(before, kernel_shape, strict=True)):
        return pool(x, list(kernel_shape), strides, before, dilations)
    return pool(pad_images(x, before, after, -torch.inf), list(kernel_shape), strides, 0, dilations)


def _average_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    auto_pad: str = "NOTSET",
) -> Tensor:
    """A mean over the image's own pixels, over the padded ones too with ``count_include_pad``."""
    count = len(kernel_shape)
    strides, dilations = list(strides or [1] * count), list(dilations or [1] * count)
    before, after, spans = _around(x, kernel_shape, strides, dilations, auto_pad, pads)
    more = _beyond(x.shape[2:], spans, strides, (before, after)) if ceil_mode else [0] * count
    fits = all(0 <= pad <= size // 2 for pad, size in zip(before, kernel_shape, strict=True))
    if before == after and fits and not any(more) and set(dilations) == {1}:
        return _AVERAGE[count](x, list(kernel_shape), strides, before, count_include_pad=bool(count_include_pad))
    counted = x.new_ones((1, 1, *x.shape[2:]))
    counted = pad_images(counted, before, after, float(bool(count_include_pad)))
    nothing = [0] * count
    x, counted = (pad_images(part, nothing, more) for part in (pad_images(x, before, after), counted))
    total, number = (_window_sums(part, kernel_shape, strides, dilations) for part in (x, counted))
    return total / number


def _window_sums(x: Tensor, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Tensor:
    """Sums over the windows of each channel, by one pass an axis; dilated ones too, which torch lacks."""
    for axis, (size, stride, dilation) in enumerate(zip(kernel, strides, dilations, strict=True), start=2):
        windows = (x.shape[axis] - (size - 1) * dilation - 1) // stride + 1
        starts = [
            slice(place * dilation, place * dilation + (windows - 1) * stride + 1, stride) for place in range(size)
        ]
        x = reduce(torch.add, [x[(slice(None),) * axis + (part,)] for part in starts])
    return x


def _lp_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    ceil_mode: int = 0,
    auto_pad: str = "NOTSET",
    p: int = 2,
) -> Tensor:
    count = len(kernel_shape)
    strides, dilations = list(strides or [1] * count), list(dilations or [1] * count)
    before, after, spans = _around(x, kernel_shape, strides, dilations, auto_pad, pads)
    if ceil_mode:
        more = _beyond(x.shape[2:], spans, strides, (before, after))
        after = [one + other for one, other in zip(after, more, strict=True)]
    total = _window_sums(pad_images(x.abs() ** p, before, after), kernel_shape, strides, dilations)
    empty = total == 0  # where a root has no finite slope
    return torch.where(empty, 0, torch.where(empty, 1, total) ** (1 / p))


def _over_image(x: Tensor) -> list[int]:
    return list(range(2, x.ndim))


def _global_lp_pool(x: Tensor, *, p: int = 2) -> Tensor:
    return torch.linalg.vector_norm(x, p, _over_image(x), keepdim=True)


POOLING: dict[str, Operator] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda x: x.mean(_over_image(x), keepdim=True),
    "GlobalLpPool": _global_lp_pool,
    "GlobalMaxPool": lambda x: x.amax(_over_image(x), keepdim=True),
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
}
