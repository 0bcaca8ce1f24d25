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

pytestmark = pytest.mark.slow  # the package computes its examples anew each time

REFUSED = re.compile(
    "in training mode|beside the first|tf_crop_and_resize is not supported|of type (FLOAT8|FLOAT4|U?INT[24])"
    "|(SequenceConstruct|Optional) of opset|non-zero size"
)
"""What the reader says of the examples it does not run: training, small floating point, sequences, empty sets."""
OTHERWISE_IN_ONNXRUNTIME = {
    "test_resize_downsample_scales_linear_align_corners",  # a width that is no whole number
    "test_resize_downsample_scales_cubic_align_corners",
    "test_gridsample_bicubic",
}
"""Examples that onnxruntime answers otherwise too; the reader follows it."""
PLAIN_TYPES = {
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *("bool", "float16", "float32", "float64"),
}


def _tensor(array: np.ndarray) -> Tensor:
    if array.dtype.kind == "f":
        return torch.from_numpy(array.astype(np.float32))
    return torch.from_numpy(array.astype(np.int64) if array.dtype.kind == "u" and array.itemsize > 1 else array.copy())


def _examples() -> dict[str, Any]:
    """By name: examples of one node, of operators that are run here, with numbers of plain types only."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # casts and logarithms that are meant to overflow
        cases = collect_testcases(None)
    chosen = {}
    for case in cases:
        nodes = case.model.graph.node
        [(inputs, outputs)] = case.data_sets
        types = {value.dtype.name if hasattr(value, "dtype") else "none" for value in (*inputs, *outputs)}
        if len(nodes) == 1 and nodes[0].op_type in {*OPERATORS, "If", "Constant"} and types <= PLAIN_TYPES:
            chosen[case.name] = case
    return chosen


def _answer(case: Any) -> tuple[Tensor, ...]:
    graph, [(inputs, _)] = case.model.graph, case.data_sets
    [opset] = [entry.version for entry in case.model.opset_import if entry.domain == ""]
    names = [value.name for value in graph.output]
    try:
        program = Program(graph, opset, names, {}, case.name)
    except WeightError as error:
        if "beside the first" not in str(error):
            raise
        program = Program(graph, opset, names[:1], {}, case.name)
    given = zip((value.name for value in graph.input), inputs, strict=True)
    values = {"": None, **program.constants, **{name: _tensor(np.asarray(value)) for name, value in given}}
    return program.run(values)


def test_every_example_of_the_specification() -> None:
    examples, wrong, refused = _examples(), [], 0
    for name, case in examples.items():
        try:
            found = _answer(case)
        except Exception as error:
            refused += 1
            if not REFUSED.search(str(error)):
                wrong.append(f"{name}: {error}")
            continue
        for ours, answer in zip(found, case.data_sets[0][1], strict=False):
            expected = np.asarray(answer)
            same = tuple(ours.shape) == expected.shape and np.allclose(
                ours.numpy().astype(np.float64), expected.astype(np.float64), rtol=2e-3, atol=1e-4, equal_nan=True
            )
            if not same and name not in OTHERWISE_IN_ONNXRUNTIME:
                wrong.append(f"{name}: {ours} where the specification has {expected}")
    assert not wrong, "\n".join(wrong)
    assert len(examples) - refused > 700
    assert {case.model.graph.node[0].op_type for case in examples.values()} >= OPERATORS.keys() - {
        "Cast",
        "CastLike",
        "GlobalLpPool",
    }
