"""ONNX files that are not read: numbers outside, damage, operators; each is one true line."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_graphs import (
    END,
    FIRST,
    INPUTS,
    MIDDLE,
    PLAIN,
    RELU,
    WEIGHTS,
    model,
    node,
    refusal,
)

from cloakbench.models.onnx_reader.load import Wanted, load_onnx
from cloakbench.models.weight_file import WeightError

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
pytest.importorskip("onnxruntime", reason="needs the peers extra")

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
        own = node("Constant", [], ["own"], value=tensor)
        return model([own, *PLAIN[:-1], node("Gemm", ["f", "own"], ["embedding"])])
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


def _checkpoint() -> bytes:
    content = io.BytesIO()
    torch.save({"w": torch.zeros(2)}, content)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\n<!DOCTYPE html><html>not found</html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "is a Git LFS pointer"),
        (_checkpoint(), "use model=checkpoint"),
        (b'{"message": "Not Found"}', "a JSON text that says 'Not Found'"),
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
        (
            [node("Gelu", ["a"], ["b"], domain="com.microsoft")],
            "com.microsoft.Gelu of opset 17 (node 1), which is not of",
        ),
        (
            [node("QuantizeLinear", ["a", "k", "z"], ["b"])],
            "QuantizeLinear of opset 17 (node 1), which rounds to whole numbers",
        ),
        ([node("RandomNormalLike", ["a"], ["b"])], "RandomNormalLike of opset 17 (node 1), which it does not know"),
        (
            [node("LeakyRelu", ["a"], ["b"], slope=0.2)],
            "LeakyRelu of opset 17 (node 1), whose attribute slope it does not know",
        ),
        ([node("Abs", ["a"], ["b"], slope=0.2)], "Abs of opset 17 (node 1), whose attribute slope it does not know"),
        ([node("Concat", ["a", "a"], ["b"])], "Concat of opset 17 (node 1), which is not complete"),
        (
            [node("MaxPool", ["a"], ["x", "places"], kernel_shape=[2, 2]), node("Cast", ["places"], ["b"], to=1)],
            "its output 'places'",
        ),
        ([node("BatchNormalization", ["a", *"oooo"], ["b"], training_mode=1)], "it is in training mode"),
        ([node("Dropout", ["a", "k", "yes"], ["b"])], "it is in training mode, where answers are drawn by chance"),
        (
            [node("Resize", ["a", "r", "s"], ["b"], coordinate_transformation_mode="tf_crop_and_resize")],
            "tf_crop_and_resize",
        ),
    ],
)
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


def test_training_mode_of_old_opsets_is_told_by_the_outputs(tmp_path: Path) -> None:
    """Up to opset 13 a batch normalisation with five outputs uses the statistics of its batch, as onnxruntime does."""
    numbers = {f"k{i}": np.full(8, i + 0.5, np.float32) for i in range(4)}
    norm = node("BatchNormalization", ["a", *numbers], ["b", "mean", "variance", "mean2", "variance2"])
    told = refusal(model([FIRST, norm, *MIDDLE, *END], numbers, opset=12), tmp_path)
    assert "BatchNormalization of opset 12 (node 1): it is in training mode" in told
    assert told.endswith("export in eval mode")
