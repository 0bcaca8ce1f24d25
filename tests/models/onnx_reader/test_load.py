"""Files as exporters write them: batch, layout, type and outputs, photo by photo as onnxruntime has them."""

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
    PLAIN,
    RELU,
    SIZE,
    WEIGHTS,
    assert_like_onnxruntime,
    conv,
    judged,
    loaded,
    model,
    node,
    photos,
    refusal,
    weight,
)

from cloakbench.models.onnx_reader.batching import InTurn, SideBySide, Together
from cloakbench.models.onnx_reader.load import Wanted

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
pytest.importorskip("onnxruntime", reason="needs the peers extra")


# Cases: graphs written down with the issue, each once with a batch axis of one and once with a free one.

CASES: dict[str, tuple[int, list[Any], dict[str, Any]]] = {
    "maxpool": (
        14,
        [FIRST, node("MaxPool", ["a"], ["b"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), *MIDDLE, *END],
        {},
    ),
    "averagepool": (
        14,
        [FIRST, node("AveragePool", ["a"], ["b"], kernel_shape=[2, 2], strides=[2, 2]), *MIDDLE, *END],
        {},
    ),
    "clip": (
        14,
        [FIRST, node("Clip", ["a", "lo", "hi"], ["b"]), *MIDDLE, *END],
        {"lo": np.float32(0), "hi": np.float32(6)},
    ),
    "hardswish": (14, [FIRST, node("HardSwish", ["a"], ["b"]), *MIDDLE, *END], {}),
    "leakyrelu": (14, [FIRST, node("LeakyRelu", ["a"], ["b"], alpha=0.2), *MIDDLE, *END], {}),
    "elu": (14, [FIRST, node("Elu", ["a"], ["b"]), *MIDDLE, *END], {}),
    "pad": (14, [FIRST, node("Pad", ["a", "k"], ["b"]), *MIDDLE, *END], {"k": np.array([0, 0, 1, 1, 0, 0, 1, 1])}),
    "transpose": (14, [FIRST, node("Transpose", ["a"], ["b"], perm=[0, 1, 3, 2]), *MIDDLE, *END], {}),
    "reducemean": (14, [*BODY[:-1], node("ReduceMean", ["d"], ["f"], axes=[2, 3], keepdims=0), LAST], {}),
    "squeeze": (14, [*BODY, node("Squeeze", ["e", "k"], ["f"]), LAST], {"k": np.array([2, 3])}),
    "constant": (
        14,
        [
            node("Constant", [], ["half"], value_float=0.5),
            node("Sub", ["input", "half"], ["x"]),
            conv("x", "w1", "a"),
            *PLAIN[1:],
        ],
        {},
    ),
    "reshape behind a pool": (
        14,
        [
            FIRST,
            node("MaxPool", ["a"], ["b"], kernel_shape=[3, 3], strides=[2, 2]),
            *MIDDLE,
            node("Reshape", ["e", "k"], ["f"]),
            LAST,
        ],
        {"k": np.array([1, 16])},
    ),
    "mean18": (18, [*BODY[:-1], node("ReduceMean", ["d", "k"], ["f"], keepdims=0), LAST], {"k": np.array([2, 3])}),
    "l2_18": (
        18,
        [
            *BODY,
            END[0],
            node("Gemm", ["f", "w3"], ["g"], transB=1),
            node("ReduceL2", ["g", "k"], ["n"], keepdims=1),
            node("Div", ["g", "n"], ["embedding"]),
        ],
        {"k": np.array([1])},
    ),
    "split18": (
        18,
        [
            FIRST,
            node("Split", ["a"], ["p", "q"], axis=1, num_outputs=2),
            node("Concat", ["q", "p"], ["b"], axis=1),
            *MIDDLE,
            *END,
        ],
        {},
    ),
    "wrong_blame": (
        18,
        [
            FIRST,
            node("Transpose", ["a"], ["t"], perm=[0, 1, 3, 2]),
            node("Split", ["t"], ["p", "q"], axis=1, num_outputs=2),
            node("Concat", ["q", "p"], ["b"], axis=1),
            *MIDDLE,
            *END,
        ],
        {},
    ),
    **{
        f"conv {name}": (13, [conv("input", "w1", "a", pads=None, auto_pad=name), *PLAIN[1:]], {})
        for name in ("SAME_UPPER", "SAME_LOWER", "VALID")
    },
    **{
        f"{kind} same": (
            13,
            [
                FIRST,
                node(kind, ["a"], ["b"], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
                *MIDDLE,
                *END,
            ],
            {},
        )
        for kind in ("MaxPool", "AveragePool")
    },
    "squeeze negative": (13, [*BODY, node("Squeeze", ["e", "k"], ["f"]), LAST], {"k": np.array([-1, -2])}),
}


@pytest.mark.parametrize("batch", [1, "n"])
@pytest.mark.parametrize("name", CASES)
def test_case_equals_onnxruntime_photo_by_photo(name: str, batch: int | str, tmp_path: Path) -> None:
    opset, nodes, constants = CASES[name]
    made = model(nodes, constants, opset=opset, shape=(batch, 3, SIZE, SIZE))
    assert_like_onnxruntime(made, tmp_path)


# How photos share a pass.


def test_photos_share_the_graphs_own_passes_where_that_is_the_same(tmp_path: Path) -> None:
    assert type(assert_like_onnxruntime(model(PLAIN, shape=(1, 3, SIZE, SIZE)), tmp_path)) is Together


@pytest.mark.parametrize("shape", [[1, 16], [1, -1]])
def test_reshape_to_one_photo_runs_side_by_side(shape: list[int], tmp_path: Path) -> None:
    made = model([*BODY, node("Reshape", ["e", "k"], ["f"]), LAST], {"k": np.array(shape)})
    assert type(assert_like_onnxruntime(made, tmp_path)) is SideBySide


def test_squeeze_of_every_axis_gives_a_row_a_photo(tmp_path: Path) -> None:
    made = model([*BODY, node("Squeeze", ["e"], ["embedding"])], shape=(1, 3, SIZE, SIZE))
    assert_like_onnxruntime(made, tmp_path)


@pytest.mark.parametrize(
    "nodes",
    [
        [
            node("ReduceMax", ["e"], ["m"], keepdims=0),
            node("Div", ["e", "m"], ["x"]),
            node("Flatten", ["x"], ["embedding"]),
        ],
        [node("Flatten", ["e"], ["x"]), node("Softmax", ["x"], ["embedding"], axis=0)],
        [node("Flatten", ["e"], ["x"]), node("CumSum", ["x", "zero"], ["embedding"])],
    ],
    ids=["scaled by a maximum", "softmax over photos", "summed over photos"],
)
def test_graphs_that_mix_photos_never_do(nodes: list[Any], tmp_path: Path) -> None:
    """They run for any batch, with other numbers than a photo alone has."""
    made = model([*BODY, *nodes], {"zero": np.array(0)})
    network, images = loaded(made, tmp_path), photos(5)
    assert not isinstance(network, Together)
    torch.testing.assert_close(network(images), judged(made, images), rtol=1e-4, atol=1e-5)


def test_what_cannot_share_a_pass_runs_in_turn(tmp_path: Path) -> None:
    """A choice by the photo itself: the two branches are other graphs."""
    from onnx import TensorProto, helper

    def branch(kind: str) -> Any:
        out = [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)]
        return helper.make_graph([node(kind, ["a"], ["inner"])], kind, [], out)

    nodes = [
        FIRST,
        node("ReduceMean", ["input"], ["m"], keepdims=0),
        node("Less", ["m", "k"], ["p"]),
        node("If", ["p"], ["b"], then_branch=branch("Relu"), else_branch=branch("Abs")),
        *MIDDLE,
        *END,
    ]
    made = model(nodes, {"k": photos().mean((1, 2, 3)).median().numpy()}, opset=13)
    network, images = loaded(made, tmp_path), photos()
    assert type(network) is InTurn
    torch.testing.assert_close(network(images), judged(made, images), rtol=1e-4, atol=1e-5)


def test_file_for_batches_of_several_runs_if_its_graph_does_and_is_refused_if_not(tmp_path: Path) -> None:
    free = model(PLAIN, shape=(4, 3, SIZE, SIZE))
    assert loaded(free, tmp_path)(photos(3)).shape == (3, 16)
    fixed = model([*BODY, node("Reshape", ["e", "k"], ["f"]), LAST], {"k": np.array([4, 16])}, shape=(4, 3, SIZE, SIZE))
    assert "was exported for batches of 4" in refusal(fixed, tmp_path)


# Layouts, types and sizes.


@pytest.mark.parametrize("shape", [(1, SIZE, SIZE, 3), ("n", SIZE, SIZE, 3), ("n", "h", "w", "c"), None])
def test_channels_last(shape: tuple[Any, ...] | None, tmp_path: Path) -> None:
    made = model(
        [node("Transpose", ["input"], ["x"], perm=[0, 3, 1, 2]), conv("x", "w1", "a"), *PLAIN[1:]], shape=shape
    )
    network, images = loaded(made, tmp_path), photos().requires_grad_()
    torch.testing.assert_close(network(images), judged(made, images.permute(0, 2, 3, 1)), rtol=1e-4, atol=1e-5)


def test_channels_last_with_the_size_of_three_channels(tmp_path: Path) -> None:
    told = refusal(
        model(
            [node("Transpose", ["input"], ["x"], perm=[0, 3, 1, 2]), conv("x", "w1", "a"), *PLAIN[1:]],
            shape=(1, 16, 24, 3),
        ),
        tmp_path,
    )
    assert told.endswith("takes images of size [16, 24], and inputs.size is [32, 32]: set it to [16, 24]")


def test_one_photo_without_an_axis_of_photos(tmp_path: Path) -> None:
    nodes = [node("Unsqueeze", ["input", "k"], ["x"]), conv("x", "w1", "a"), *PLAIN[1:]]
    made = model(nodes, {"k": np.array([0])}, shape=(3, SIZE, SIZE))
    images = photos()
    expected = torch.cat([judged_alone(made, image) for image in images])
    torch.testing.assert_close(loaded(made, tmp_path)(images), expected, rtol=1e-4, atol=1e-5)


def judged_alone(made: Any, image: torch.Tensor) -> torch.Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"input": image.numpy()})[0])


@pytest.mark.parametrize("shape", [("n", 1, SIZE, SIZE), (1, 1, SIZE, SIZE), ("n", SIZE, SIZE, 1)])
def test_one_channel_is_refused(shape: tuple[Any, ...], tmp_path: Path) -> None:
    grey = model([conv("input", "g", "a"), *PLAIN[1:]], {"g": weight(8, 1, 3, 3)}, shape=shape)
    assert "takes images of 1 channels" in refusal(grey, tmp_path)


def test_one_channel_that_only_the_weights_show_names_the_convolution(tmp_path: Path) -> None:
    grey = model([conv("input", "g", "a"), *PLAIN[1:]], {"g": weight(8, 1, 3, 3)}, shape=("n", "c", SIZE, SIZE))
    assert "Conv of opset 17 (node 0)" in refusal(grey, tmp_path)


def test_other_size_is_refused_with_the_size_to_set(tmp_path: Path) -> None:
    told = refusal(model(PLAIN, shape=("n", 3, 64, 48)), tmp_path)
    assert told.endswith("takes images of size [64, 48], and inputs.size is [32, 32]: set it to [64, 48]")


def test_size_is_only_blamed_where_the_file_leaves_it_free(tmp_path: Path) -> None:
    nodes = [FIRST, RELU, *MIDDLE[:2], node("Flatten", ["d"], ["f"]), node("Gemm", ["f", "k"], ["embedding"])]
    wide = {"k": weight(16 * 7 * 7, 16)}
    told = refusal(model(nodes, wide, shape=("n", 3, "h", "w")), tmp_path)
    assert "at Gemm of opset 17 (node 5)" in told
    assert told.endswith("check inputs.size, which the file leaves free")
    told = refusal(model(nodes, wide), tmp_path)
    assert "at Gemm of opset 17 (node 5)" in told
    assert "inputs.size" not in told


@pytest.mark.parametrize("kind", ["FLOAT16", "DOUBLE"])
@pytest.mark.parametrize("where", ["everywhere", "inside"])
def test_other_precision(kind: str, where: str, tmp_path: Path) -> None:
    """Against the same file in single precision: onnxruntime has no double convolution."""
    element, number = {"FLOAT16": (np.float16, 10), "DOUBLE": (np.float64, 11)}[kind]
    stored = {name: value.astype(element) for name, value in WEIGHTS.items()}
    if where == "everywhere":
        made = model(PLAIN, stored, kind=kind)
    else:
        first, last = node("Cast", ["input"], ["x"], to=number), node("Cast", ["y"], ["embedding"], to=1)
        tail = node("Gemm", ["f", "w3"], ["y"], transB=1)
        made = model([first, conv("x", "w1", "a"), RELU, *MIDDLE, END[0], tail, last], stored)
    network, images = loaded(made, tmp_path), photos().requires_grad_()
    for judge in [model(PLAIN), made] if kind == "FLOAT16" else [model(PLAIN)]:
        assert torch.cosine_similarity(network(images), judged(judge, images)).min() > 0.9999
    (gradient,) = torch.autograd.grad(network(images).sum(), images)
    assert gradient.isfinite().all()
    assert gradient.flatten(1).abs().amax(1).min() > 0


@pytest.mark.parametrize("kind", ["UINT8", "INT32"])
def test_whole_numbers_in_are_refused(kind: str, tmp_path: Path) -> None:
    made = model([node("Cast", ["input"], ["x"], to=1), conv("x", "w1", "a"), *PLAIN[1:]], kind=kind)
    assert f"takes {kind} images, which have no gradient" in refusal(made, tmp_path)


# Outputs.

NORM = node("ReduceL2", ["embedding"], ["norm"], axes=[1], keepdims=1)


@pytest.mark.parametrize("outputs", [("embedding", "norm"), ("norm", "embedding")])
def test_one_of_two_outputs_is_named(outputs: tuple[str, ...], tmp_path: Path) -> None:
    made = model([*PLAIN, NORM], outputs=outputs)
    for name, width in (("embedding", 16), ("norm", 1)):
        network = (
            assert_like_onnxruntime(made, tmp_path, Wanted("output", 1, [name]), output=name) if width > 1 else None
        )
        network = network or loaded(made, tmp_path, Wanted("output", 1, [name]))
        assert network(photos(2)).shape == (2, width)
    told = refusal(made, tmp_path)
    assert all(part in told for part in ("has 2 outputs", "embedding [", "norm [", "set output to the name of the one"))
    told = refusal(made, tmp_path, Wanted("output", 1, ["feature"]))
    assert told.endswith(f"has no output 'feature': set output to one of {', '.join(outputs)}")


def test_outputs_keep_the_order_they_are_named_in(tmp_path: Path) -> None:
    made = model([*PLAIN, NORM], outputs=("embedding", "norm"))
    norm, embedding = loaded(made, tmp_path, Wanted("output_names", 2, ["norm", "embedding"]))(photos(2))
    torch.testing.assert_close(norm, embedding.norm(dim=1, keepdim=True))


def test_what_only_another_output_needs_is_not_read(tmp_path: Path) -> None:
    made = model([*PLAIN, node("Det", ["input"], ["other"])], outputs=("embedding", "other"))
    assert loaded(made, tmp_path, Wanted("output", 1, ["embedding"]))(photos(2)).shape == (2, 16)


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    made = model([*PLAIN[:-1], node("Gemm", ["f", "w3", "age"], ["embedding"], transB=1)])
    made.graph.input.append(helper.make_tensor_value_info("age", TensorProto.FLOAT, [16]))
    assert "takes 2 inputs (input, age)" in refusal(made, tmp_path)
