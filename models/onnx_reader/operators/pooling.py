"""Pooling: every window is laid out explicitly, so that named paddings, uneven pads and rounding up are one case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.models.onnx_reader.operators.elementwise import Operator
from cloakbench.models.onnx_reader.operators.linear import pad_images, paddings, spans_of

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@dataclass(frozen=True)
class _Windows:
    """Where the windows of a pooling lie: per image axis the kernel, its steps and gaps, and what is added around.

    ``more`` is what the last windows cover beyond the padded image (with ``ceil_mode``); negative amounts crop.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]
    more: list[int]

    @property
    def plain(self) -> bool:
        """Whether torch's own pooling takes the pads."""
        fit = all(0 <= pad <= size // 2 for pad, size in zip(self.before, self.kernel, strict=True))
        return fit and self.before == self.after and not any(self.more)

    def padded(self, x: Tensor, value: float = 0.0) -> Tensor:
        """The image with everything that the windows cover."""
        return pad_images(x, self.before, [pad + more for pad, more in zip(self.after, self.more, strict=True)], value)


def _windows(
    x: Tensor,
    kernel: Sequence[int],
    strides: Sequence[int] | None,
    pads: Sequence[int] | None,
    dilations: Sequence[int] | None,
    ceil_mode: int,
    auto_pad: str,
) -> _Windows:
    """The windows that the attributes of a pooling say.

    Raises:
        ValueError: dilated windows with a named padding, which onnxruntime pads otherwise than the specification says.
    """
    ones = [1] * len(kernel)
    strides, dilations = list(strides or ones), list(dilations or ones)
    if auto_pad.startswith("SAME") and dilations != ones:
        raise ValueError(f"dilated windows with auto_pad {auto_pad} have no agreed meaning: export them with pads")
    spans = spans_of(kernel, dilations)
    before, after = paddings(x.shape[2:], spans, strides, auto_pad, pads)
    more = _beyond(x.shape[2:], spans, strides, (before, after)) if ceil_mode else [0] * len(kernel)
    return _Windows(list(kernel), strides, dilations, before, after, more)


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
    w = _windows(x, kernel_shape, strides, pads, dilations, ceil_mode, auto_pad)
    pool = _MAX[len(w.kernel)]
    if w.plain:
        return pool(x, w.kernel, w.strides, w.before, w.dilations)
    return pool(w.padded(x, -torch.inf), w.kernel, w.strides, 0, w.dilations)


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
    w = _windows(x, kernel_shape, strides, pads, dilations, ceil_mode, auto_pad)
    if w.plain and set(w.dilations) == {1}:
        return _AVERAGE[len(w.kernel)](x, w.kernel, w.strides, w.before, count_include_pad=bool(count_include_pad))
    inside = pad_images(x.new_ones((1, 1, *x.shape[2:])), w.before, w.after, float(bool(count_include_pad)))
    counted = pad_images(inside, [0] * len(w.more), w.more)
    return _window_sums(w.padded(x), w) / _window_sums(counted, w)


def _window_sums(x: Tensor, w: _Windows) -> Tensor:
    """Sums over the windows of each channel, by one pass an axis; dilated ones too, which torch lacks."""
    for axis, (size, stride, dilation) in enumerate(zip(w.kernel, w.strides, w.dilations, strict=True), start=2):
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
    w = _windows(x, kernel_shape, strides, pads, dilations, ceil_mode, auto_pad)
    total = _window_sums(w.padded(x.abs() ** p), w)
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
