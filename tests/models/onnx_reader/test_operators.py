"""Operators of recognisers over the opsets: in a small network, photo by photo as onnxruntime has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_graphs import END, FIRST, LAST, MIDDLE, RELU, SIZE, assert_like_onnxruntime, model, node, weight

pytest.importorskip("onnx", reason="needs the onnx extra")
pytest.importorskip("onnxruntime", reason="needs the peers extra")

Case = tuple[int, list[Any], dict[str, Any]]


def _unary(kind: str, opset: int = 17, **attributes: Any) -> Case:
    return opset, [node(kind, ["a"], ["b"], **attributes)], {}


def _constants(kind: str, opset: int, *values: Any, **attributes: Any) -> Case:
    """``b = kind(a, constants...)``; None is an input that is left out."""
    names = ["" if value is None else f"k{i}" for i, value in enumerate(values)]
    constants = {name: value for name, value in zip(names, values, strict=True) if name}
    return opset, [node(kind, ["a", *names], ["b"], **attributes)], constants


def _floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


POOL = {"kernel_shape": [3, 3], "strides": [2, 2]}
NORM = [np.abs(weight(8, 1, seed=i)).ravel() + 0.5 for i in range(4)]
PIXEL_NORM = [np.abs(weight(8, 16, 16, seed=i)) + 0.5 for i in range(4)]
GRID = np.random.default_rng(0).uniform(-1.2, 1.2, (1, 9, 9, 2)).astype(np.float32)

ACTIVATIONS: dict[str, Case] = {
    **{kind: _unary(kind) for kind in ("Sigmoid", "Tanh", "Softplus", "Softsign", "Erf", "Abs", "Exp", "Neg", "Sin")},
    **{kind: _unary(kind) for kind in ("Elu", "Selu", "Celu", "HardSigmoid", "HardSwish", "LeakyRelu")},
    "Elu alpha": _unary("Elu", 7, alpha=0.3),
    "LeakyRelu alpha": _unary("LeakyRelu", 7, alpha=0.2),
    "HardSigmoid torch": _unary("HardSigmoid", 14, alpha=1 / 6, beta=0.5),
    "Selu numbers": _unary("Selu", 8, alpha=1.5, gamma=1.1),
    "ThresholdedRelu": _unary("ThresholdedRelu", 10, alpha=0.1),
    "Mish": _unary("Mish", 18),
    "Shrink": _unary("Shrink", 15, lambd=0.1, bias=0.05),
    "Swish, a function with a default": _unary("Swish", 24),
    "Gelu": _unary("Gelu", 20),
    "Gelu tanh": _unary("Gelu", 20, approximate="tanh"),
    "Clip 6": _unary("Clip", 9, min=0.0, max=0.4),
    "Clip 6 below": _unary("Clip", 9, min=0.1),
    "Clip 11": _constants("Clip", 11, np.float32(0), np.float32(6)),
    "Clip 13 above": _constants("Clip", 13, None, np.float32(0.3)),
    "PRelu channels": _constants("PRelu", 9, np.linspace(-0.5, 0.5, 8, dtype=np.float32).reshape(8, 1, 1)),
    "PRelu one": _constants("PRelu", 16, _floats(0.2)),
    "PRelu pixels": _constants("PRelu", 16, weight(8, 16, 16)),
    "PRelu columns": _constants("PRelu", 7, weight(16, 1).ravel()),
    "Pow square": _constants("Pow", 13, np.float32(2)),
    "Pow whole": _constants("Pow", 12, np.array([3])),
    "Max": _constants("Max", 8, np.float32(0.1), weight(8, 1, 1)),
    "Min Sum Mean": (
        13,
        [
            node("Min", ["a", "k"], ["m"]),
            node("Sum", ["a", "m", "k"], ["s"]),
            node("Mean", ["s", "k", "a"], ["b"]),
        ],
        {"k": weight(8, 1, 1)},
    ),
    "Softmax 11 rows": _unary("Softmax", 11, axis=2),
    "Softmax 12 default": _unary("Softmax", 12),
    "Softmax 13": _unary("Softmax", 13, axis=-3),
    "LogSoftmax 9": _unary("LogSoftmax", 9, axis=1),
    "LogSoftmax 13": _unary("LogSoftmax", 13),
    "Where": (
        16,
        [node("Greater", ["a", "k"], ["p"]), node("Not", ["p"], ["q"]), node("Where", ["q", "k", "a"], ["b"])],
        {"k": np.float32(0.1)},
    ),
    "Attention mask": (
        17,
        [node("Softmax", ["a"], ["s"]), node("IsNaN", ["s"], ["q"]), node("Where", ["q", "k", "s"], ["b"])],
        {"k": np.float32(0)},
    ),
}
NORMS: dict[str, Case] = {
    "BatchNormalization 8": _constants("BatchNormalization", 8, *NORM, spatial=1, epsilon=2e-5, momentum=0.9),
    "BatchNormalization 8 pixels": _constants("BatchNormalization", 8, *PIXEL_NORM, spatial=0),
    "BatchNormalization 9": _constants("BatchNormalization", 9, *NORM),
    "BatchNormalization 15": _constants("BatchNormalization", 15, *NORM, training_mode=0),
    "InstanceNormalization": _constants("InstanceNormalization", 13, *NORM[:2], epsilon=1e-3),
    "GroupNormalization 21": _constants("GroupNormalization", 21, *NORM[:2], num_groups=4),
    "LayerNormalization": _constants("LayerNormalization", 17, weight(16, 1).ravel(), weight(16, 1, seed=1).ravel()),
    "LayerNormalization axis": _constants("LayerNormalization", 17, weight(8, 16, 16), axis=-3),
    "LayerNormalization broadcast": _constants(
        "LayerNormalization", 17, weight(8, 1, 1), weight(16, 1).ravel(), axis=1
    ),
    "LpNormalization": _unary("LpNormalization", 9, axis=1),
    "LpNormalization 1": _unary("LpNormalization", 9, p=1),
    "LRN": _unary("LRN", 13, size=5, alpha=0.1),
    "MeanVarianceNormalization": _unary("MeanVarianceNormalization", 13, axes=[2, 3]),
    **{f"MeanVarianceNormalization {opset} default": _unary("MeanVarianceNormalization", opset) for opset in (9, 18)},
    "Dropout 7 mask": (7, [node("Dropout", ["a"], ["b", "mask"], ratio=0.3)], {}),
    "Dropout 13": _constants("Dropout", 13, np.float32(0.3), np.array(False)),
}
POOLS: dict[str, Case] = {
    "MaxPool pads": _unary("MaxPool", 8, **POOL, pads=[1, 1, 1, 1]),
    "MaxPool uneven": _unary("MaxPool", 12, **POOL, pads=[0, 0, 1, 1]),
    "MaxPool ceil": _unary("MaxPool", 10, **POOL, ceil_mode=1),
    "MaxPool dilated": _unary("MaxPool", 12, **POOL, dilations=[2, 2]),
    "MaxPool same lower": _unary("MaxPool", 11, **POOL, auto_pad="SAME_LOWER"),
    "MaxPool default strides": _unary("MaxPool", 11, kernel_shape=[3, 3]),
    "AveragePool 7": _unary("AveragePool", 7, **POOL, pads=[1, 1, 1, 1]),
    "AveragePool counts pads": _unary("AveragePool", 11, **POOL, pads=[1, 1, 1, 1], count_include_pad=1),
    "AveragePool uneven": _unary("AveragePool", 11, **POOL, pads=[0, 1, 1, 0], count_include_pad=1),
    "AveragePool ceil": _unary("AveragePool", 19, **POOL, pads=[1, 1, 1, 1], ceil_mode=1),
    "AveragePool dilated": _unary("AveragePool", 19, **POOL, dilations=[2, 1]),
    "AveragePool same lower": _unary("AveragePool", 11, **POOL, auto_pad="SAME_LOWER"),
    "AveragePool same counts": _unary("AveragePool", 11, **POOL, auto_pad="SAME_UPPER", count_include_pad=1),
    "AveragePool valid": _unary("AveragePool", 11, **POOL, auto_pad="VALID"),
    "LpPool": _unary("LpPool", 18, **POOL),
    "LpPool of zeros": (18, [node("Relu", ["a"], ["r"]), node("LpPool", ["r"], ["b"], kernel_shape=[1, 2])], {}),
    "ConvTranspose": _constants("ConvTranspose", 11, weight(8, 8, 3, 3), strides=[2, 2], output_padding=[1, 1]),
    "ConvTranspose same": _constants("ConvTranspose", 11, weight(8, 8, 2, 2), strides=[2, 2], auto_pad="SAME_UPPER"),
    "ConvTranspose shape": _constants(
        "ConvTranspose", 11, weight(8, 4, 3, 3), group=2, strides=[2, 2], output_shape=[32, 31]
    ),
    "Conv grouped dilated": _constants("Conv", 11, weight(8, 4, 3, 3), group=2, dilations=[2, 2], pads=[2, 1, 1, 2]),
    "Conv depthwise same": _constants("Conv", 11, weight(8, 1, 4, 4), group=8, strides=[3, 3], auto_pad="SAME_LOWER"),
    "Upsample 7": _unary("Upsample", 7, mode="nearest", scales=[1.0, 1.0, 2.0, 2.0]),
    "Upsample 9": _constants("Upsample", 9, _floats(1, 1, 2, 1.5), mode="linear"),
    "Resize 10": _constants("Resize", 10, _floats(1, 1, 0.5, 2), mode="nearest"),
    "Resize 10 smaller": _constants("Resize", 10, _floats(1, 1, 0.6, 0.75)),
    "Resize 10 same size": _constants("Resize", 10, _floats(1, 1, 1.05, 1)),
    "Resize 11": _constants("Resize", 11, _floats(), _floats(), np.array([1, 8, 9, 21]), mode="linear"),
    "Resize 13 corners": _constants(
        "Resize", 13, None, _floats(1, 1, 2, 2), mode="linear", coordinate_transformation_mode="align_corners"
    ),
    "Resize 13 cubic": _constants("Resize", 13, None, _floats(1, 1, 1.5, 0.75), mode="cubic", cubic_coeff_a=-0.5),
    "Resize 18 axes": _constants("Resize", 18, None, None, np.array([9, 9]), axes=[-2, 3], mode="linear", antialias=1),
    "GridSample 16": _constants("GridSample", 16, GRID, mode="bilinear", padding_mode="border"),
}
SHAPES: dict[str, Case] = {
    "Pad 2": _unary("Pad", 9, mode="reflect", pads=[0, 0, 2, 1, 0, 0, 1, 3]),
    "Pad 2 value": _unary("Pad", 7, pads=[0, 0, 2, 1, 0, 0, 1, 3], value=0.7),
    "Pad 13 edge": _constants("Pad", 13, np.array([0, 0, 1, 1, 0, 0, 2, 2]), mode="edge"),
    "Pad 13 crop": _constants("Pad", 13, np.array([0, 0, -1, 1, 0, 0, 2, -2]), np.float32(0.5)),
    "Pad 18 axes": _constants("Pad", 18, np.array([1, 2, 3, 4]), None, np.array([-1, -2]), mode="constant"),
    "Slice 9": _unary("Slice", 9, starts=[1, -12], ends=[9223372036854775807, -1], axes=[2, -1]),
    "Slice 10": _constants("Slice", 10, np.array([2, 0]), np.array([14, 15]), np.array([2, 3]), np.array([2, 3])),
    "Slice 13 backwards": _constants(
        "Slice", 13, np.array([-1, 12]), np.array([-(2**31), 1]), np.array([-1, -2]), np.array([-1, -2])
    ),
    "Slice before the front": _constants("Slice", 13, np.array([-99]), np.array([-99]), np.array([-1]), np.array([-1])),
    "Range of nothing": (
        13,
        [
            node("Range", ["k", "l", "k"], ["none"]),
            node("Gather", ["a", "none"], ["g"], axis=2),
            node("Concat", ["a", "g"], ["b"], axis=2),
        ],
        {"k": np.array(3), "l": np.array(1)},
    ),
    "Mean of whole numbers": (
        13,
        [
            node("Shape", ["a"], ["s"]),
            node("Gather", ["s", "k"], ["h"]),
            node("ReduceMean", ["h"], ["m"], keepdims=0),
            node("Cast", ["m"], ["f1"], to=1),
            node("Div", ["a", "f1"], ["b"]),
        ],
        {"k": np.array([1, 2])},
    ),
    "Split 11": (
        11,
        [node("Split", ["a"], ["p", "q"], axis=-3, split=[3, 5]), node("Concat", ["q", "p"], ["b"], axis=-3)],
        {},
    ),
    "Split 13": (
        13,
        [node("Split", ["a", "k"], ["p", "q"], axis=1), node("Concat", ["q", "p"], ["b"], axis=1)],
        {"k": np.array([2, 6])},
    ),
    "Split 13 equal": (13, [node("Split", ["a"], ["p", "q"], axis=1), node("Concat", ["q", "p"], ["b"], axis=1)], {}),
    "Split 18 uneven": (
        18,
        [
            node("Split", ["a"], ["p", "q", "r"], axis=1, num_outputs=3),
            node("Concat", ["r", "q", "p"], ["b"], axis=1),
        ],
        {},
    ),
    "Shuffle": (
        11,
        [
            node("Reshape", ["a", "k"], ["s"]),
            node("Transpose", ["s"], ["t"], perm=[0, 2, 1, 3, 4]),
            node("Reshape", ["t", "l"], ["b"]),
        ],
        {"k": np.array([0, 2, 4, 16, 16]), "l": np.array([0, -1, 16, 16])},
    ),
    "Depth": (
        13,
        [node("SpaceToDepth", ["a"], ["s"], blocksize=2), node("DepthToSpace", ["s"], ["b"], blocksize=2)],
        {},
    ),
    "Depth CRD": (
        13,
        [
            node("SpaceToDepth", ["a"], ["s"], blocksize=2),
            node("DepthToSpace", ["s"], ["b"], blocksize=2, mode="CRD"),
        ],
        {},
    ),
    "Gather backwards": _constants("Gather", 13, np.array([-1, 0, 3]), axis=-2),
    "Gather one": (
        13,
        [node("Gather", ["a", "k"], ["g"], axis=-1), node("Unsqueeze", ["g", "l"], ["b"])],
        {"k": np.array(-2), "l": np.array([-1])},
    ),
    "GatherElements": _constants("GatherElements", 13, np.zeros((1, 8, 3, 16), np.int64) - 2, axis=2),
    "Tile": _constants("Tile", 13, np.array([1, 1, 2, 1])),
    "Expand": (
        13,
        [node("ReduceMean", ["a"], ["m"], axes=[-1], keepdims=1), node("Expand", ["m", "k"], ["b"])],
        {"k": np.array([1, 1, 5])},
    ),
    "Einsum": _constants("Einsum", 12, weight(16, 5), equation="n c h w, w k -> n c h k"),
    "MatMul broadcast": _constants("MatMul", 13, weight(1, 8, 16, 5)),
    "TopK": (
        11,
        [node("TopK", ["a", "k"], ["b", "places"], axis=-1)],
        {"k": np.array([9])},
    ),
    "CumSum": _constants("CumSum", 14, np.array(-1), reverse=1),
    "Trilu": _constants("Trilu", 14, np.array(-1), upper=0),
    "ScatterND": (
        16,
        [
            node("Transpose", ["a"], ["t"], perm=[1, 0, 2, 3]),
            node("ScatterND", ["k", "l", "t"], ["s"]),
            node("Transpose", ["s"], ["b"], perm=[1, 0, 2, 3]),
        ],
        {"k": np.zeros((8, 1, 16, 16), np.float32), "l": np.arange(8)[::-1, None].copy()},
    ),
    "Arithmetic of shapes": (
        15,
        [
            node("Shape", ["a"], ["s"], start=-2),
            node("Shape", ["a"], ["whole"]),
            node("Gather", ["whole", "first"], ["n"]),
            node("Unsqueeze", ["n", "zero"], ["n1"]),
            node("Constant", [], ["minus"], value_ints=[-1]),
            node("Constant", [], ["two"], value_int=2),
            node("Constant", [], ["scale"], value_floats=[0.5]),
            node("Div", ["s", "two"], ["half"]),
            node("Cast", ["half"], ["h"], to=1),
            node("Mul", ["h", "scale"], ["h2"]),
            node("Floor", ["h2"], ["h3"]),
            node("Cast", ["h3"], ["h4"], to=7),
            node("Concat", ["n1", "minus", "h4"], ["shape"], axis=0),
            node("Reshape", ["a", "shape"], ["r"]),
            node("ConstantOfShape", ["minus1"], ["ones"]),
            node("Slice", ["r", "zero", "eight", "one"], ["t"]),
            node("Add", ["t", "ones"], ["b"]),
        ],
        {
            "first": np.array(0),
            "zero": np.array([0]),
            "one": np.array([1]),
            "eight": np.array([8]),
            "minus1": np.array([1]),
        },
    ),
}
TAILS: dict[str, Case] = {
    "Squeeze 11": (11, [node("Squeeze", ["e"], ["f"], axes=[-1, -2])], {}),
    "Squeeze 13": (13, [node("Squeeze", ["e", "k"], ["f"])], {"k": np.array([-2, -1])}),
    "Unsqueeze": (
        13,
        [node("Squeeze", ["e", "k"], ["s"]), node("Unsqueeze", ["s", "k"], ["u"]), node("Flatten", ["u"], ["f"])],
        {"k": np.array([-1, -2])},
    ),
    "Unsqueeze 11": (
        11,
        [
            node("Squeeze", ["e"], ["s"], axes=[3, 2]),
            node("Unsqueeze", ["s"], ["u"], axes=[-1, 1]),
            node("Flatten", ["u"], ["f"]),
        ],
        {},
    ),
    "Flatten": (11, [node("Flatten", ["e"], ["f"], axis=-3)], {}),
    "ReduceMean 11": (11, [node("ReduceMean", ["d"], ["f"], axes=[-1, -2], keepdims=0)], {}),
    "ReduceMean 18": (18, [node("ReduceMean", ["d", "k"], ["f"], keepdims=0)], {"k": np.array([-1, -2])}),
    **{
        f"{kind} {opset}": (
            opset,
            [
                node("Softplus", ["c"], ["p"]),
                node(
                    kind,
                    ["p", "k"] if opset == 18 else ["p"],
                    ["f"],
                    keepdims=0,
                    **({} if opset == 18 else {"axes": [2, -1]}),
                ),
            ],
            {"k": np.array([2, -1])},
        )
        for kind in (
            "ReduceL1",
            "ReduceL2",
            "ReduceMax",
            "ReduceMin",
            "ReduceSumSquare",
            "ReduceLogSum",
            "ReduceLogSumExp",
        )
        for opset in (11, 18)
    },
    "ReduceSum 13 nothing": (
        13,
        [node("ReduceSum", ["e", "k"], ["s"], noop_with_empty_axes=1), node("Flatten", ["s"], ["f"])],
        {"k": np.array([], np.int64)},
    ),
    "Reshape one": (13, [node("Reshape", ["e", "k"], ["f"])], {"k": np.array([1, 16])}),
    "Reshape one free": (13, [node("Reshape", ["e", "k"], ["f"])], {"k": np.array([1, -1])}),
    "Reshape 0": (14, [node("Reshape", ["e", "k"], ["f"])], {"k": np.array([0, -1])}),
    "Normalised 13": (
        13,
        [
            node("Flatten", ["e"], ["g"]),
            node("ReduceL2", ["g"], ["n"], axes=[-1]),
            node("Expand", ["n", "k"], ["x"]),
            node("Div", ["g", "x"], ["f"]),
        ],
        {"k": np.array([1, 16])},
    ),
    "Global maximum": (13, [node("GlobalMaxPool", ["d"], ["g"]), node("Flatten", ["g"], ["f"])], {}),
    "Global Lp": (13, [node("GlobalLpPool", ["d"], ["g"], p=3), node("Flatten", ["g"], ["f"])], {}),
    "ArgMax": (
        13,
        [
            node("Flatten", ["e"], ["g"]),
            node("ArgMax", ["g"], ["i"], axis=-1),
            node("Cast", ["i"], ["j"], to=1),
            node("Mul", ["g", "j"], ["f"]),
        ],
        {},
    ),
}


@pytest.mark.parametrize("batch", ["n", 1])
@pytest.mark.parametrize("name", [*ACTIVATIONS, *NORMS, *POOLS, *SHAPES])
def test_operator_inside_a_network(name: str, batch: int | str, tmp_path: Path) -> None:
    opset, nodes, constants = {**ACTIVATIONS, **NORMS, **POOLS, **SHAPES}[name]
    if opset < 11 and any(part.op_type == "Gemm" for part in END):
        constants = {"zero": np.zeros(16, np.float32), **constants}  # a bias was not optional before
    made = model([FIRST, *nodes, *MIDDLE, *_end(opset)], constants, opset=opset, shape=(batch, 3, SIZE, SIZE))
    assert_like_onnxruntime(made, tmp_path)


@pytest.mark.parametrize("batch", ["n", 1])
@pytest.mark.parametrize("name", TAILS)
def test_operator_at_the_end_of_a_network(name: str, batch: int | str, tmp_path: Path) -> None:
    opset, nodes, constants = TAILS[name]
    made = model([FIRST, RELU, *MIDDLE, *nodes, LAST], constants, opset=opset, shape=(batch, 3, SIZE, SIZE))
    assert_like_onnxruntime(made, tmp_path)


def _end(opset: int) -> list[Any]:
    if opset >= 11:
        return END
    return [END[0], node("Gemm", ["f", "w3", "zero"], ["embedding"], transB=1)]
