"""Matrix products and convolutions, with the paddings that exporters name instead of writing out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.models.onnx_reader.operators.elementwise import Operator
from cloakbench.models.onnx_reader.tensors import together

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def paddings(
    sizes: Sequence[int],
    spans: Sequence[int],
    strides: Sequence[int],
    auto_pad: str,
    pads: Sequence[int] | None,
) -> tuple[list[int], list[int]]:
    """What is added before and after each image axis.

    Args:
        sizes: of the image axes.
        spans: what a kernel covers of each axis, dilation included.
        strides: steps of the kernel.
        auto_pad: ``NOTSET``, ``VALID``, ``SAME_UPPER`` (an odd pixel is added after) or ``SAME_LOWER`` (before).
        pads: with ``NOTSET``: before each axis, then after each.

    Raises:
        ValueError: another ``auto_pad``, or pads of another length.
    """
    count = len(sizes)
    if auto_pad == "NOTSET":
        written = list(pads) if pads else [0] * (2 * count)
        if len(written) != 2 * count:
            raise ValueError(f"{len(written)} pads for {count} image axes")
        return written[:count], written[count:]
    if auto_pad == "VALID":
        return [0] * count, [0] * count
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"auto_pad {auto_pad!r} is not of the specification")
    totals = [
        max((-(-size // stride) - 1) * stride + span - size, 0)
        for size, span, stride in zip(sizes, spans, strides, strict=True)
    ]
    less, more = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return (less, more) if auto_pad == "SAME_UPPER" else (more, less)


def pad_images(x: Tensor, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> Tensor:
    """Image axes extended by a constant; negative amounts crop."""
    amounts = [amount for pair in zip(reversed(before), reversed(after), strict=True) for amount in pair]
    return F.pad(x, amounts, value=value) if any(amounts) else x


def spans_of(kernel: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """What a kernel covers of each axis."""
    return [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]


def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] = (),
    auto_pad: str = "NOTSET",
) -> Tensor:
    """``kernel_shape`` repeats the shape of ``weight``."""
    count = weight.ndim - 2
    strides, dilations = strides or [1] * count, dilations or [1] * count
    spans = spans_of(weight.shape[2:], dilations)
    before, after = paddings(x.shape[2:], spans, strides, auto_pad, pads)
    convolve = _CONVOLUTIONS[count]
    if before == after and min(before) >= 0:
        return convolve(x, weight, bias, list(strides), before, list(dilations), group)
    return convolve(pad_images(x, before, after), weight, bias, list(strides), 0, list(dilations), group)


def _conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] = (),
    auto_pad: str = "NOTSET",
) -> Tensor:
    """The whole result is made and cut: that serves every combination of pads, output shape and named padding."""
    count = weight.ndim - 2
    strides, dilations = strides or [1] * count, dilations or [1] * count
    extra = list(output_padding or [0] * count)
    whole = _TRANSPOSED[count](x, weight, None, list(strides), 0, 0, group, list(dilations))
    lengths = [size + more for size, more in zip(whole.shape[2:], extra, strict=True)]
    if output_shape is None and auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [size * stride for size, stride in zip(x.shape[2:], strides, strict=True)]
        output_shape = [min(pair) for pair in zip(wanted, lengths, strict=True)]  # as onnxruntime: cut, never extended
    if output_shape is None:
        before, after = paddings(x.shape[2:], [1] * count, strides, auto_pad, pads)
    else:
        cuts = [length - size for length, size in zip(lengths, output_shape[-count:], strict=True)]
        less, more = [cut // 2 for cut in cuts], [cut - cut // 2 for cut in cuts]
        before, after = (less, more) if auto_pad == "SAME_UPPER" else (more, less)
    result = pad_images(whole, [-cut for cut in before], [more - cut for more, cut in zip(extra, after, strict=True)])
    return result if bias is None else result + bias.reshape(-1, *[1] * count)


def _gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - ONNX's name
    transB: int = 0,  # noqa: N803
) -> Tensor:
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"matrices have two axes, not {a.ndim} and {b.ndim}")
    a = a.T if transA else a
    if transB and alpha == beta == 1 and (c is None or c.ndim == 1):
        return F.linear(a, b, c)
    product = a @ (b.T if transB else b)
    product = product if alpha == 1 else alpha * product
    return product if c is None else product + (c if beta == 1 else beta * c)


def _einsum(*operands: Tensor, equation: str) -> Tensor:
    return torch.einsum(equation, *together(*operands))


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(*together(a, b))


LINEAR: dict[str, Operator] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
