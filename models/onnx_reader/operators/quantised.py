"""Weights stored as small whole numbers. Networks that round what they compute are refused: rounding has no slope."""

from __future__ import annotations

from torch import Tensor

from cloakbench.models.onnx_reader.operators.elementwise import Operator
from cloakbench.models.onnx_reader.tensors import axis_of


def _dequantise(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Tensor:
    """``(x - zero) * scale``, where scale and zero are one number, one a slice of ``axis``, or one a block of it."""

    def spread(part: Tensor) -> Tensor:
        if part.numel() == 1:
            return part.reshape(())
        place = axis_of(x, axis)
        if block_size:
            return part.repeat_interleave(block_size, place).narrow(place, 0, x.shape[place])
        return part.reshape([-1 if i == place else 1 for i in range(x.ndim)])

    level = x.to(scale.dtype)
    return (level if zero is None else level - spread(zero.to(scale.dtype))) * spread(scale)


QUANTISED: dict[str, Operator] = {"DequantizeLinear": _dequantise}
ROUNDING = frozenset(
    {
        "ConvInteger",
        "DynamicQuantizeLinear",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
    }
)
"""Operators of networks whose activations are rounded to 8 bits."""
