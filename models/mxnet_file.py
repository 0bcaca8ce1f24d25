"""MXNet parameter files (``name-0000.params``) as tensors, without MXNet.

The layout is that of ``NDArray::Save`` in MXNet 1.x, little-endian throughout: the number 0x112, eight reserved bytes,
the arrays, then their names. An array begins with a version mark, or, before there were marks, with its number of
dimensions. It holds data only, so reading one cannot run code.
"""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from cloakbench.models.weight_file import WeightError

LIST_MARK = 0x112
DENSE = 0
V1_MARK, V2_MARK = 0xF993FAC8, 0xF993FAC9
TYPES = {
    0: torch.float32,
    1: torch.float64,
    2: torch.float16,
    3: torch.uint8,
    4: torch.int32,
    5: torch.int8,
    6: torch.int64,
}
"""Type numbers of MXNet; those above 6 (bool, bfloat16) are newer than the face models."""


def read_params(path: Path) -> dict[str, Tensor]:
    """Array name to CPU tensor, floating point as float32; names keep MXNet's ``arg:`` and ``aux:``.

    Raises:
        WeightError: not such a file, cut short, with sparse arrays or with a type outside ``TYPES``.
    """
    file = _Bytes(path.read_bytes(), path)
    if file.number("Q") != LIST_MARK:
        raise WeightError(f"{path} is not an MXNet parameter file: fetch it again")
    file.number("Q")  # reserved
    arrays = [_read_array(file) for _ in range(file.number("Q"))]
    names = [file.take(file.number("Q")).decode("utf-8", "replace") for _ in range(file.number("Q"))]
    if len(names) != len(arrays):
        raise WeightError(f"{path} has {len(arrays)} arrays and {len(names)} names: a face network names each")
    return dict(zip(names, arrays, strict=True))


class _Bytes:
    """The content of a file, read from front to back."""

    def __init__(self, content: bytes, path: Path) -> None:
        self.content, self.path, self.place = memoryview(content), path, 0

    def take(self, count: int) -> bytes:
        if count > len(self.content) - self.place:
            raise WeightError(f"{self.path} ends too early: fetch it again")
        self.place += count
        return bytes(self.content[self.place - count : self.place])

    def number(self, code: str) -> int:
        """One number of a ``struct`` code."""
        (value,) = struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))
        return value


def _read_array(file: _Bytes) -> Tensor:
    mark = file.number("I")
    if mark == V2_MARK and file.number("i") != DENSE:
        raise WeightError(f"{file.path} holds sparse arrays: save it with dense ones")
    if mark in (V1_MARK, V2_MARK):
        shape = [file.number("q") for _ in range(file.number("I"))]
    else:  # before version marks: the number of dimensions itself, and 32-bit sizes
        shape = [file.number("I") for _ in range(mark)]
    if not shape or min(shape) < 1:
        raise WeightError(f"{file.path} holds an empty array: fetch it again")
    file.take(8)  # device type and number the array was saved from
    kind = file.number("i")
    if kind not in TYPES:
        raise WeightError(f"{file.path} holds arrays of MXNet type {kind}: save it as float32")
    dtype = TYPES[kind]
    data = bytearray(file.take(prod(shape) * dtype.itemsize))
    tensor = torch.frombuffer(data, dtype=dtype).reshape(shape)
    return tensor.float() if tensor.is_floating_point() else tensor
