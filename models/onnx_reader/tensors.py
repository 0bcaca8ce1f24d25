"""Numbers of ONNX files as torch tensors: every floating-point type is float32, whole numbers stay on the CPU.

Half and double precision are read as single precision: what a network is judged by does not depend on the last bits,
and a gradient in half precision underflows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    import onnx

_WHOLE = {
    "BOOL": torch.bool,
    "INT8": torch.int8,
    "INT16": torch.int16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "UINT8": torch.uint8,
    "UINT16": torch.int64,
    "UINT32": torch.int64,
    "UINT64": torch.int64,
}
FLOATING = ("FLOAT", "FLOAT16", "DOUBLE", "BFLOAT16")
"""Names of the element types that are read as float32."""


def type_name(element_type: int) -> str:
    """``FLOAT16`` for 10 and so on; the number itself for what the installed onnx does not know."""
    from onnx import TensorProto

    names: dict[int, str] = {number: name for name, number in TensorProto.DataType.items()}
    return names.get(element_type, str(element_type))


def cast(x: Tensor, element_type: int) -> Tensor:
    """``x`` as a type of ONNX. A floating-point tensor stays as it is for any floating-point type.

    Raises:
        ValueError: strings, complex and 8-bit floating-point numbers.
    """
    name = type_name(element_type)
    if name in FLOATING:
        return x if x.is_floating_point() else x.to(torch.float32)
    if name not in _WHOLE:
        raise ValueError(f"numbers of type {name} are not supported")
    return x.to(_WHOLE[name])


def from_proto(proto: onnx.TensorProto) -> Tensor:
    """A tensor stored in the file.

    Raises:
        ValueError: strings, complex numbers, or content that does not fit the declared shape.
    """
    from onnx import numpy_helper

    array = numpy_helper.to_array(proto)
    if array.dtype.kind in "OSUc":
        raise ValueError(f"{proto.name or 'a constant'} holds {type_name(proto.data_type)}, not numbers")
    if type_name(proto.data_type) in _WHOLE or "INT" in type_name(proto.data_type):
        # Four-bit and unsigned numbers have no tensors of their own everywhere in torch.
        wanted = array.dtype if array.dtype in (np.bool_, np.int8, np.int16, np.int32, np.uint8) else np.int64
        return torch.from_numpy(array.astype(wanted))
    return torch.from_numpy(array.astype(np.float32))


def from_sparse(proto: onnx.SparseTensorProto) -> Tensor:
    """A sparse tensor of the file, filled with zeros.

    Raises:
        ValueError: see `from_proto`.
    """
    values, places = from_proto(proto.values), from_proto(proto.indices).long()
    dense = torch.zeros(tuple(proto.dims), dtype=values.dtype)
    if places.ndim == 1:
        dense.view(-1)[places] = values
    else:
        dense[tuple(places.T)] = values
    return dense


def is_whole(x: Tensor) -> bool:
    """Whether ``x`` holds integers or truth values."""
    return not x.is_floating_point()


def numbers(x: Tensor) -> list[int]:
    """The elements of a tensor of whole numbers, such as a shape or axes."""
    return [int(value) for value in x.reshape(-1).tolist()]


def axes_of(x: Tensor, axes: Sequence[int]) -> list[int]:
    """Axes counted from the front.

    Raises:
        IndexError: ``x`` has no such axis.
    """
    return [axis_of(x, axis) for axis in axes]


def axis_of(x: Tensor, axis: int) -> int:
    """One axis counted from the front.

    Raises:
        IndexError: ``x`` has no such axis.
    """
    if not -x.ndim <= axis < max(x.ndim, 1):
        raise IndexError(f"axis {axis} of a tensor with {x.ndim} axes")
    return axis % max(x.ndim, 1)


def together(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors on one device: shapes live on the CPU whatever the network's device is. A number goes with any."""
    device = next((tensor.device for tensor in tensors if tensor.device.type != "cpu"), None)
    return tensors if device is None else tuple(part.to(device) if part.ndim else part for part in tensors)
