"""Branches, functions and constants of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_graphs import (
    BODY,
    END,
    FIRST,
    LAST,
    MIDDLE,
    RELU,
    assert_like_onnxruntime,
    loaded,
    model,
    node,
    photos,
    refusal,
    weight,
)
from torch import Tensor

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
pytest.importorskip("onnxruntime", reason="needs the peers extra")

# Branches, functions and constants of every kind.


def _choice(
    condition: str,
    then: list[Any],
    other: list[Any],
    then_constants: dict[str, Any] | None = None,
    other_constants: dict[str, Any] | None = None,
    out: str = "b",
) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    def branch(nodes: list[Any], constants: dict[str, Any] | None) -> Any:
        stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
        info = [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)]
        return helper.make_graph(nodes, "branch", [], info, stored)

    return node(
        "If", [condition], [out], then_branch=branch(then, then_constants), else_branch=branch(other, other_constants)
    )


@pytest.mark.parametrize("taken", [True, False])
def test_choice_by_a_constant(taken: bool, tmp_path: Path) -> None:
    """Both branches call different constants and values the same."""
    first = _choice(
        "p",
        [node("Mul", ["a", "k"], ["x"])],
        [node("Add", ["a", "k"], ["x"])],
        {"k": np.float32(2)},
        {"k": np.float32(3)},
        "b1",
    )
    second = _choice(
        "p",
        [node("Add", ["b1", "k"], ["x"])],
        [node("Mul", ["b1", "k"], ["x"])],
        {"k": np.float32(0.5)},
        {"k": np.float32(0.7)},
    )
    made = model([FIRST, first, second, *MIDDLE, *END], {"p": np.array(taken)})
    assert_like_onnxruntime(made, tmp_path)


@pytest.mark.parametrize("width", [1, 16])
def test_choice_by_a_shape(width: int, tmp_path: Path) -> None:
    """As older exports of ``squeeze`` have it."""
    then = [node("Mul", ["a", "k"], ["y"])]
    other = [node("Relu", ["a"], ["x"]), node("Mul", ["x", "k"], ["y"])]
    nodes = [
        FIRST,
        node("Shape", ["a"], ["s"]),
        node("Gather", ["s", "last"], ["w"], axis=0),
        node("Equal", ["w", "width"], ["p"]),
        _choice("p", then, other, {"k": weight(8, 1, 1)}, {"k": weight(8, 1, 1, seed=1)}),
        *MIDDLE,
        *END,
    ]
    made = model(nodes, {"last": np.array(-1), "width": np.array(width)}, opset=13)
    assert_like_onnxruntime(made, tmp_path)


def test_what_the_branch_not_taken_needs_is_not_read(tmp_path: Path) -> None:
    made = model([FIRST, _choice("p", [RELU], [node("Det", ["a"], ["x"])]), *MIDDLE, *END], {"p": np.array(True)})
    assert loaded(made, tmp_path)(photos(2)).shape == (2, 16)


def test_functions_of_the_file_are_written_out(tmp_path: Path) -> None:
    from onnx import helper

    imports = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    gate = helper.make_function(
        "mine", "Gate", ["x"], ["y"], [node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["y"])], imports
    )
    outer = helper.make_function(
        "mine",
        "Block",
        ["x"],
        ["y"],
        [node("Gate", ["x"], ["g"], domain="mine"), node("Add", ["x", "g"], ["y"])],
        imports,
    )
    made = model([FIRST, node("Block", ["a"], ["b"], domain="mine"), *MIDDLE, *END], opset=18, functions=[gate, outer])
    assert_like_onnxruntime(made, tmp_path)


def test_operators_that_are_made_of_others_are_written_out(tmp_path: Path) -> None:
    nodes = [
        *BODY[:-1],
        node("Reshape", ["d", "k"], ["r"]),
        node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
        node("Attention", ["t", "t", "t"], ["u"], q_num_heads=2, kv_num_heads=2),
        node("RMSNormalization", ["u", "scale"], ["v"]),
        node("ReduceMean", ["v", "one"], ["f"], keepdims=0),
        LAST,
    ]
    constants = {"k": np.array([0, 16, -1]), "scale": weight(16, 1).ravel(), "one": np.array([1])}
    assert_like_onnxruntime(model(nodes, constants, opset=23), tmp_path)


def test_constants_of_every_kind(tmp_path: Path) -> None:
    from onnx import helper, numpy_helper

    values = numpy_helper.from_array(np.array([0.5, -2], np.float32), "values")
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([1, 6]), "places"), [8])
    nodes = [
        FIRST,
        node("Constant", [], ["scale"], value_float=0.5),
        node("Constant", [], ["shift"], value_floats=[0.1]),
        node("Constant", [], ["per_channel"], sparse_value=sparse),
        node("Constant", [], ["axes"], value_ints=[1, 2]),
        node("Constant", [], ["place"], value_int=1),
        node("Constant", [], ["bias"], value=numpy_helper.from_array(weight(8, 1, 1))),
        node("Unsqueeze", ["per_channel", "axes"], ["column"]),
        node("Mul", ["a", "scale"], ["a1"]),
        node("Add", ["a1", "shift"], ["a2"]),
        node("Add", ["a2", "column"], ["a3"]),
        node("Identity", ["bias"], ["shared"]),
        node("Add", ["a3", "shared"], ["b"]),
        *MIDDLE,
        *END,
    ]
    assert_like_onnxruntime(model(nodes, opset=13), tmp_path)


def test_weights_stored_in_eight_bits(tmp_path: Path) -> None:
    """Only stored so: what is computed keeps its slope."""
    constants = {
        "q": (weight(16, 16) * 40).astype(np.int8),
        "s": np.full(16, 0.02, np.float32),
        "z": np.zeros(16, np.int8),
    }
    nodes = [
        *BODY,
        END[0],
        node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0),
        node("Gemm", ["f", "w"], ["embedding"]),
    ]
    assert_like_onnxruntime(model(nodes, constants, opset=13), tmp_path)


def test_functions_of_another_opset_are_refused(tmp_path: Path) -> None:
    from onnx import helper

    body = [node("ReduceMean", ["x"], ["m"], axes=[1]), node("Sub", ["x", "m"], ["y"])]
    older = helper.make_function("mine", "Centred", ["x"], ["y"], body, [helper.make_opsetid("", 13)])
    made = model([FIRST, node("Centred", ["a"], ["b"], domain="mine"), *MIDDLE, *END], opset=18, functions=[older])
    assert "its function mine.Centred is written in another opset than its graph" in refusal(made, tmp_path)


def test_functions_that_call_themselves_are_refused(tmp_path: Path) -> None:
    from onnx import helper

    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    body = [node("Again", ["x"], ["y"], domain="mine")]
    again = helper.make_function("mine", "Again", ["x"], ["y"], body, imports)
    made = model([FIRST, node("Again", ["a"], ["b"], domain="mine"), *MIDDLE, *END], functions=[again])
    assert "its functions cannot be written out" in refusal(made, tmp_path)


def test_numbers_of_channels_are_such_whatever_spatial_says(tmp_path: Path) -> None:
    """Old MXNet exports write ``spatial=0`` beside one number a channel; onnxruntime refuses the same file."""
    numbers = {f"k{i}": np.linspace(0.5, 1.5 + i, 8, dtype=np.float32) for i in range(4)}

    def answer(spatial: int) -> Tensor:
        norm = node("BatchNormalization", ["a", *numbers], ["b"], spatial=spatial)
        end = [END[0], node("Gemm", ["f", "w3", "zero"], ["embedding"], transB=1)]
        made = model([FIRST, norm, *MIDDLE, *end], {**numbers, "zero": np.zeros(16, np.float32)}, opset=8)
        return loaded(made, tmp_path)(photos())

    assert torch.equal(answer(0), answer(1))
