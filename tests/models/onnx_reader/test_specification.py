"""The specification's own examples of every operator, numbers in and numbers out, as the onnx package carries them."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cloakbench.models.onnx_reader.graph import Program
from cloakbench.models.onnx_reader.operators import OPERATORS
from cloakbench.models.weight_file import WeightError

pytest.importorskip("onnx", reason="needs the onnx extra")

REFUSED = re.compile(
    "in training mode|beside the first|tf_crop_and_resize is not supported|of type (FLOAT8|FLOAT4|U?INT[24])|holds STRING"
    "|(SequenceConstruct|Optional) of opset|non-zero size"
)
"""What the reader says of the examples it does not run: training, 8-bit floating point, text, sequences, empty sets."""
OTHERWISE_IN_ONNXRUNTIME = {
    "test_resize_downsample_scales_linear_align_corners": "the corners of a width that is no whole number",
    "test_resize_downsample_scales_cubic_align_corners": "the corners of a width that is no whole number",
    "test_resize_downsample_scales_linear_antialias": "an image's edge is not repeated",
    "test_resize_downsample_sizes_linear_antialias": "an image's edge is not repeated",
    "test_resize_downsample_scales_cubic_antialias": "an image's edge is not repeated",
    "test_resize_downsample_sizes_cubic_antialias": "an image's edge is not repeated",
    "test_gridsample_bicubic": "coordinates at the edge",
}
"""Examples onnxruntime answers otherwise too; the reader follows it (tests/models/onnx_reader/test_operators.py)."""


def _tensor(value: Any) -> Tensor:
    array = np.asarray(value)
    if array.dtype.kind in "OSUV" or array.dtype.name not in _PLAIN:
        pytest.skip("no numbers of a plain type")
    if array.dtype.kind == "f":
        return torch.from_numpy(array.astype(np.float32))
    return torch.from_numpy(array.astype(np.int64) if array.dtype.kind == "u" and array.itemsize > 1 else array.copy())


_PLAIN = {
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    "float16",
    "float32",
    "float64",
}


@pytest.fixture(scope="module")
def examples() -> dict[str, Any]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # casts and logarithms that are meant to overflow
        cases = collect_testcases(None)
    return {case.name: case for case in cases if [part.op_type for part in case.model.graph.node][1:] == []}
