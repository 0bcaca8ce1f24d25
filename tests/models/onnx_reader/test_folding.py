"""Batch norms of ONNX graphs: folded where a layer is in front, one multiply-add elsewhere, as onnxruntime answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_graphs import END, FIRST, MIDDLE, RELU, assert_like_onnxruntime, conv, loaded, node, saved, weight
from onnx_graphs import model as made
from torch import nn

from cloakbench.models.frozen.layers import channel_affine
from cloakbench.models.onnx_reader.network import OnnxNetwork
from cloakbench.models.onnx_reader.operators import OPERATORS

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
pytest.importorskip("onnxruntime", reason="needs the peers extra")


NORM = ("scale", "shift", "mean", "variance")


def numbers(size: int) -> dict[str, Any]:
    """Scale, some of it below zero, shift, mean and variance."""
    values = {name: weight(size, 1, seed=seed).flatten() for seed, name in enumerate(NORM[:3])}
    return values | {NORM[3]: 0.5 + np.abs(weight(size, 1, seed=9).flatten())}


def norm(before: str, after: str, **settings: Any) -> Any:
    return node("BatchNormalization", [before, *NORM], [after], **settings)


def counted(network: nn.Module) -> tuple[int, int, int]:
    """Steps, norms among them, multiply-adds among them."""
    (inner,) = (part for part in network.modules() if isinstance(part, OnnxNetwork))
    runs = [step.run for step in inner._program.steps]
    return len(runs), runs.count(OPERATORS["BatchNormalization"]), runs.count(channel_affine)


def test_behind_a_convolution_with_and_without_a_bias(tmp_path: Path) -> None:
    biased = node("Conv", ["a", "w", "k"], ["n"], kernel_shape=[1, 1], group=2)
    nodes = [conv("input", "w1", "r"), norm("r", "a", epsilon=1e-3), biased, norm("n", "p"), RELU, *MIDDLE, *END]
    nodes[4] = node("Relu", ["p"], ["b"])
    constants = {**numbers(8), "w": weight(8, 4, 1, 1), "k": weight(8, 1).flatten()}
    network = assert_like_onnxruntime(made(nodes, constants), tmp_path)
    assert counted(network) == (len(nodes) - 2, 0, 0)


@pytest.mark.parametrize(
    ("settings", "weights", "bias"),
    [
        ({"transB": 1}, (16, 16), (16,)),
        ({}, (16, 16), (1, 16)),
        ({"transB": 1}, (16, 16), None),
        ({"alpha": 0.5}, (16, 16), (16,)),
        ({}, (16, 16), (1,)),
    ],
)
def test_behind_a_product(
    settings: dict[str, Any], weights: tuple[int, int], bias: tuple[int, ...] | None, tmp_path: Path
) -> None:
    inputs = ["f", "w", *(["k"] if bias else [])]
    nodes = [FIRST, RELU, *MIDDLE, END[0], node("Gemm", inputs, ["g"], **settings), norm("g", "embedding")]
    constants = {**numbers(16), "w": weight(*weights, seed=3)}
    if bias:
        constants["k"] = weight(*bias, 1, seed=4).reshape(bias)
    steps, norms, affine = counted(assert_like_onnxruntime(made(nodes, constants), tmp_path))
    understood = "alpha" not in settings and bias != (1,)
    assert (steps, norms, affine) == ((len(nodes) - 1, 0, 0) if understood else (len(nodes), 0, 1))


def test_before_a_padded_convolution_and_where_somebody_else_reads_too(tmp_path: Path) -> None:
    nodes = [
        FIRST,  # its output is read twice, so neither takes anything up
        norm("a", "n"),
        conv("n", "w", "r", strides=[1, 1]),
        node("Add", ["a", "r"], ["b"]),
        *MIDDLE,
        *END,
    ]
    network = assert_like_onnxruntime(made(nodes, {**numbers(8), "w": weight(8, 8, 3, 3)}), tmp_path)
    assert counted(network) == (len(nodes), 0, 1)


def test_weights_that_two_layers_share_are_not_changed_for_both(tmp_path: Path) -> None:
    twice = [conv("a", "w", "r", strides=[1, 1]), norm("r", "s1"), conv("s1", "w", "b", strides=[1, 1])]
    nodes = [FIRST, *twice, *MIDDLE, *END]
    network = assert_like_onnxruntime(made(nodes, {**numbers(8), "w": weight(8, 8, 3, 3)}), tmp_path)
    assert counted(network) == (len(nodes) - 1, 0, 0)


def test_an_output_of_the_file_keeps_its_meaning(tmp_path: Path) -> None:
    """The embedding is asked for in front of the norm as well as behind it."""
    from cloakbench.models.base import InputSpec
    from cloakbench.models.onnx_reader.load import Wanted, load_onnx

    nodes = [FIRST, RELU, *MIDDLE, END[0], node("Gemm", ["f", "w3"], ["raw"], transB=1), norm("raw", "embedding")]
    path = saved(made(nodes, numbers(16), outputs=("raw", "embedding")), tmp_path)
    both = load_onnx(path, InputSpec(size=(32, 32)), Wanted("output_names", 2))
    assert counted(both)[1:] == (0, 1)
    assert counted(loaded(made(nodes, numbers(16)), tmp_path))[1:] == (0, 0)
