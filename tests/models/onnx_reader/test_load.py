"""Files as exporters write them: which batch, layout, type, outputs and constants, and what is said of those not read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_graphs import (
    END,
    FIRST,
    INPUTS,
    LAST,
    MIDDLE,
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
    saved,
    weight,
)

from cloakbench.models.base import InputSpec
from cloakbench.models.onnx_reader.batching import InTurn, SideBySide, Together
from cloakbench.models.onnx_reader.load import Wanted, load_onnx
from cloakbench.models.weight_file import WeightError

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
pytest.importorskip("onnxruntime", reason="needs the peers extra")

BODY = [FIRST, RELU, *MIDDLE]
PLAIN = [*BODY, *END]


def refusal(made: Any, folder: Path, wanted: Wanted | None = None, inputs: InputSpec = INPUTS) -> str:
    with pytest.raises(WeightError) as error:
        loaded(made, folder, wanted, inputs)
    told = str(error.value)
    assert "\n" not in told
    return told


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


# Numbers that the digest of the file must cover.


def _outside(kind: str, folder: Path) -> Any:
    """A network whose weight ``w3`` lies in weights.bin, beside the file and in the working folder."""
    from onnx import TensorProto, helper, numpy_helper

    (folder / "weights.bin").write_bytes(WEIGHTS["w3"].tobytes())

    def external(name: str, dims: list[int], element: int = TensorProto.FLOAT) -> Any:
        tensor = TensorProto(name=name, data_type=element, dims=dims, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="weights.bin")
        return tensor

    tensor = external("w3", [16, 16])
    info = [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)]
    if kind == "initialiser":
        made = model(PLAIN)
        [place] = [i for i, part in enumerate(made.graph.initializer) if part.name == "w3"]
        made.graph.initializer[place].CopyFrom(tensor)
        return made
    if kind == "constant":
        made = model(
            [node("Constant", [], ["own"], value=tensor), *PLAIN[:-1], node("Gemm", ["f", "own"], ["embedding"])]
        )
        return made
    if kind == "branch":
        branch = helper.make_graph(
            [node("Gemm", ["f", "own"], ["inner"])], "then", [], info, [external("own", [16, 16])]
        )
        choice = node("If", ["yes"], ["embedding"], then_branch=branch, else_branch=branch)
        return model([*PLAIN[:-1], choice], {"yes": np.array(True)})
    if kind == "function":
        body = [node("Constant", [], ["own"], value=tensor), node("Gemm", ["x", "own"], ["y"])]
        function = helper.make_function("mine", "Head", ["x"], ["y"], body, [helper.make_opsetid("", 17)])
        return model([*PLAIN[:-1], node("Head", ["f"], ["embedding"], domain="mine")], functions=[function])
    indices = numpy_helper.from_array(np.arange(256), "places")
    sparse = helper.make_sparse_tensor(external("own", [256]), indices, [16, 16])
    if kind == "sparse indices":
        values = numpy_helper.from_array(WEIGHTS["w3"].ravel(), "own")
        sparse = helper.make_sparse_tensor(values, external("places", [256], TensorProto.INT64), [16, 16])
    made = model([*PLAIN[:-1], node("Gemm", ["f", "own"], ["embedding"])])
    if kind == "sparse constant":
        made.graph.node.insert(0, node("Constant", [], ["own"], sparse_value=sparse))
    else:
        made.graph.sparse_initializer.append(sparse)
    return made


@pytest.mark.parametrize(
    "kind", ["initialiser", "constant", "branch", "function", "sparse", "sparse indices", "sparse constant"]
)
def test_numbers_in_other_files_are_refused_wherever_they_hang(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = refusal(_outside(kind, tmp_path), tmp_path)
    assert told == f"{tmp_path / 'net.onnx'} keeps its weights in other files: save it as one file (onnx.save does)"


# What is no ONNX file, or not whole.


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\n<!DOCTYPE html><html>not found</html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "is a Git LFS pointer"),
        (b"PK\x03\x04 archive/data.pkl", "use model=checkpoint"),
        (b'{"message": "Not Found"}', "is JSON"),
        (b"\x80\x02}q\x00.", "a pickle"),
        (b"\x08\x08", "no ONNX graph"),
        (b"not found", "not a readable ONNX file"),
        (bytes(range(255)) * 9, "not a readable ONNX file"),
    ],
)
def test_what_is_no_onnx_file_is_called_what_it_is(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(WeightError, match=told):
        load_onnx(path, INPUTS)


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    """Cut short, or with bytes of its structure changed: refused in a line, or a network of other numbers."""
    whole = model(PLAIN).SerializeToString()
    draw, refused = np.random.default_rng(0), 0
    structure = [i for i in range(len(whole)) if not any(_inside(whole, i, name) for name in WEIGHTS)]
    for trial in range(150):
        content = bytearray(whole[: draw.integers(1, len(whole))] if trial % 3 == 0 else whole)
        if trial % 3:
            content[draw.choice(structure)] = draw.integers(256)
        path = tmp_path / "net.onnx"
        path.write_bytes(bytes(content))
        try:
            load_onnx(path, INPUTS, Wanted("output", 1))
        except WeightError as error:
            refused += 1
            assert "\n" not in str(error)
            assert str(error).isprintable()
    assert refused > 75


def _inside(whole: bytes, place: int, name: str) -> bool:
    numbers = WEIGHTS[name].tobytes()
    start = whole.find(numbers)
    return 0 <= start <= place < start + len(numbers)


# What stops the reader.


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ([node("Det", ["a"], ["b"], name="/head/det")], "Det of opset 17 (node '/head/det'), which it does not know"),
        ([node("Gelu", ["a"], ["b"], domain="com.microsoft")], "com.microsoft.Gelu of opset 17 (node 1), which is not of the ONNX standard"),
        ([node("QuantizeLinear", ["a", "k", "z"], ["b"])], "QuantizeLinear of opset 17 (node 1), which rounds to whole numbers"),
        ([node("RandomNormalLike", ["a"], ["b"])], "RandomNormalLike of opset 17 (node 1), which it does not know"),
        ([node("LeakyRelu", ["a"], ["b"], slope=0.2)], "LeakyRelu of opset 17 (node 1), whose attribute slope it does not know"),
        ([node("Abs", ["a"], ["b"], slope=0.2)], "Abs of opset 17 (node 1), whose attribute slope it does not know"),
        ([node("Concat", ["a", "a"], ["b"])], "Concat of opset 17 (node 1), which is not complete"),
        ([node("MaxPool", ["a"], ["x", "places"], kernel_shape=[2, 2]), node("Cast", ["places"], ["b"], to=1)], "its output 'places'"),
        ([node("BatchNormalization", ["a", *"oooo"], ["b"], training_mode=1)], "it is in training mode"),
        ([node("Dropout", ["a", "k", "yes"], ["b"])], "it is in training mode"),
        ([node("Resize", ["a", "r", "s"], ["b"], coordinate_transformation_mode="tf_crop_and_resize")], "tf_crop_and_resize"),
    ],
)  # fmt: skip
def test_what_stops_the_reader_is_named(nodes: list[Any], told: str, tmp_path: Path) -> None:
    constants = {
        "k": np.float32(0.5),
        "z": np.uint8(3),
        "o": np.ones(8, np.float32),
        "yes": np.array(True),
        "r": np.zeros(8, np.float32),
        "s": np.array([1, 1, 2, 2], np.float32),
    }
    found = refusal(model([FIRST, *nodes, *MIDDLE, *END], constants), tmp_path)
    assert told in found
    assert "inputs.size" not in found


def test_loops_are_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    infos = [
        helper.make_tensor_value_info(name, kind, None)
        for name, kind in (("i", TensorProto.INT64), ("go", TensorProto.BOOL), ("x", TensorProto.FLOAT))
    ]
    out = [
        helper.make_tensor_value_info("go2", TensorProto.BOOL, None),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
    ]
    body = helper.make_graph([node("Identity", ["go"], ["go2"]), node("Relu", ["x"], ["y"])], "body", infos, out)
    made = model(
        [FIRST, node("Loop", ["k", "yes", "a"], ["b"], body=body), *MIDDLE, *END],
        {"k": np.array(2), "yes": np.array(True)},
    )
    assert "Loop of opset 17 (node 1), which repeats a part of the graph" in refusal(made, tmp_path)


@pytest.mark.parametrize("opset", [6, 29])
def test_other_opsets_are_named(opset: int, tmp_path: Path) -> None:
    assert f"is written in opset {opset}, and opsets 7 to 28 are read" in refusal(model(PLAIN, opset=opset), tmp_path)


def test_values_used_before_they_are_made_are_refused(tmp_path: Path) -> None:
    assert "nothing gives 'a' before it is used" in refusal(model([RELU, FIRST, *MIDDLE, *END]), tmp_path)
    assert "nothing gives 'b' before it is used" in refusal(model([FIRST, *MIDDLE, *END]), tmp_path)


def test_names_of_a_file_cannot_steer_a_terminal(tmp_path: Path) -> None:
    told = refusal(model([FIRST, node("De\x1b[2Jt\nx", ["a"], ["b"]), *MIDDLE, *END]), tmp_path)
    assert told.isprintable()


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


# Exports of torch networks.


class _Transformer(torch.nn.Module):
    """Patches, a class token, attention, and a mean: what a vision transformer is exported as."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = torch.nn.Conv2d(3, 16, 8, 8)
        self.token = torch.nn.Parameter(torch.randn(1, 1, 16))
        self.places = torch.nn.Parameter(torch.randn(1, 17, 16))
        self.attention = torch.nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm, self.head = torch.nn.LayerNorm(16), torch.nn.Linear(16, 8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        x = x + self.attention(x, x, x, need_weights=False)[0]
        windows = x[:, 1:].reshape(x.shape[0], 2, 2, 2, 2, 16).permute(0, 1, 3, 2, 4, 5).roll(1, 2)
        x = torch.nn.functional.gelu(self.norm(windows)).mean((1, 2, 3, 4))
        return torch.nn.functional.normalize(self.head(x))


def _residual() -> torch.nn.Module:
    from cloakbench.models.backbones.iresnet import IResNet

    return IResNet((1, 1, 1, 1), channels=(4, 4, 6, 6), embedding_size=16, input_size=(SIZE, SIZE))


def _mobile() -> torch.nn.Module:
    import timm

    return timm.create_model("mobilenetv3_small_050", num_classes=16)


def _edge() -> torch.nn.Module:
    import timm

    return timm.create_model("edgenext_xx_small", num_classes=16)


EXPORTS = [
    *((build, opset, free) for build in (_residual, _Transformer) for opset in (14, 17, 20) for free in (True, False)),
    (_residual, 9, False),
    (_mobile, 11, True),
    (_mobile, 18, False),
    (_edge, 14, False),
]


@pytest.mark.parametrize(("build", "opset", "free"), EXPORTS)
def test_exports_of_torch(build: Callable[[], torch.nn.Module], opset: int, free: bool, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        source = build().eval()
    path, names = tmp_path / "net.onnx", {"input_names": ["input"], "output_names": ["embedding"]}
    axes = {"input": {0: "n"}} if free else None
    with pytest.warns(DeprecationWarning):
        torch.onnx.export(
            source,
            (torch.zeros(1, 3, SIZE, SIZE),),
            str(path),
            opset_version=opset,
            dynamo=False,
            dynamic_axes=axes,
            **names,
        )
    network, images = load_onnx(path, INPUTS, Wanted("output", 1)), photos().requires_grad_()
    torch.testing.assert_close(network(images), source(images), rtol=1e-3, atol=1e-5)
    expected = judged(onnx.load(path), images)
    assert torch.cosine_similarity(network(images).detach(), expected).min() > 0.9999
    ours, theirs = (torch.autograd.grad(each(images).sin().sum(), images)[0] for each in (network, source))
    assert torch.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.999
