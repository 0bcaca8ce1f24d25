"""MXNet checkpoints without MXNet: the file read byte by byte, the graph run like the same network in torch."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.config.networks import build_recogniser
from cloakbench.models.frozen.layers import channel_affine
from cloakbench.models.mxnet_file import read_params
from cloakbench.models.mxnet_network import MxnetNetwork
from cloakbench.models.mxnet_operators import batch_norm
from cloakbench.models.weight_file import WeightError


def array_bytes(tensor: Tensor, form: str = "v2", kind: int = 0) -> bytes:
    """One array as ``NDArray::Save`` of MXNet 1.x (``v2``), 0.12 to 1.0 (``v1``) or before (``legacy``) writes it."""
    sizes = tensor.shape
    head = {
        "v2": struct.pack("<Ii", 0xF993FAC9, 0) + struct.pack(f"<I{len(sizes)}q", len(sizes), *sizes),
        "v1": struct.pack("<I", 0xF993FAC8) + struct.pack(f"<I{len(sizes)}q", len(sizes), *sizes),
        "legacy": struct.pack(f"<I{len(sizes)}I", len(sizes), *sizes),
    }[form]
    return head + struct.pack("<iii", 1, 0, kind) + tensor.contiguous().numpy().tobytes()


def file_bytes(arrays: Sequence[bytes], names: Sequence[str]) -> bytes:
    text = b"".join(struct.pack("<Q", len(name)) + name.encode() for name in names)
    return struct.pack("<QQQ", 0x112, 0, len(arrays)) + b"".join(arrays) + struct.pack("<Q", len(names)) + text


def save_params(path: Path, tensors: dict[str, Tensor]) -> None:
    path.write_bytes(file_bytes([array_bytes(tensor) for tensor in tensors.values()], list(tensors)))


@pytest.mark.parametrize("form", ["v2", "v1", "legacy"])
def test_arrays_of_every_age_are_read(form: str, tmp_path: Path) -> None:
    weight, steps = torch.arange(6.0).reshape(1, 2, 3), torch.tensor([5, -7], dtype=torch.int32)
    half = torch.tensor([0.5, -2.0], dtype=torch.float16)
    parts = [array_bytes(weight, form), array_bytes(steps, form, 4), array_bytes(half, form, 2)]
    path = tmp_path / "model-0001.params"
    path.write_bytes(file_bytes(parts, ["arg:weight", "aux:steps", "arg:half"]))
    read = read_params(path)
    assert list(read) == ["arg:weight", "aux:steps", "arg:half"]
    assert torch.equal(read["arg:weight"], weight)
    assert torch.equal(read["aux:steps"], steps)
    assert read["arg:half"].dtype == torch.float32
    assert read["arg:half"].tolist() == [0.5, -2.0]


def test_a_file_written_out_by_hand(tmp_path: Path) -> None:
    """Every byte spelled out, so that writer and reader above cannot share a mistake."""
    path = tmp_path / "model-0000.params"
    path.write_bytes(
        bytes.fromhex(
            "1201000000000000 0000000000000000 0100000000000000"  # list mark, reserved, one array
            "c9fa93f9 00000000 01000000 0200000000000000"  # version 2, dense, one dimension, of 2
            "01000000 00000000 00000000"  # CPU 0, float32
            "0000803f 000000c0"  # 1.0, -2.0
            "0100000000000000 0500000000000000 6172673a77"  # one name, of 5 letters: arg:w
        )
    )
    assert {name: tensor.tolist() for name, tensor in read_params(path).items()} == {"arg:w": [1.0, -2.0]}


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"PK\x03\x04" + bytes(40), "not an MXNet parameter file"),
        (file_bytes([array_bytes(torch.ones(4))], ["arg:w"])[:-9], "ends too early"),
        (file_bytes([array_bytes(torch.ones(4))], ["arg:w"])[:60], "ends too early"),
        (struct.pack("<QQQ", 0x112, 0, 2**60), "ends too early"),
        (file_bytes([array_bytes(torch.ones(4))], []), "1 arrays and 0 names"),
        (file_bytes([array_bytes(torch.ones(4), kind=12)], ["arg:w"]), "MXNet type 12"),
        (file_bytes([struct.pack("<Ii", 0xF993FAC9, 1)], ["arg:w"]), "sparse"),
        (file_bytes([struct.pack("<IiI", 0xF993FAC9, 0, 0)], ["arg:w"]), "empty array"),
    ],
)
def test_damaged_files_are_refused_in_one_line(content: bytes, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "model-0000.params"
    path.write_bytes(content)
    with pytest.raises(WeightError, match=hint) as error:
        read_params(path)
    assert "\n" not in str(error.value)


class Graph:
    """Writes an MXNet graph node by node."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []

    def variable(self, name: str) -> int:
        self.nodes.append({"op": "null", "name": name, "inputs": []})
        return len(self.nodes) - 1

    def layer(self, op: str, name: str, inputs: Sequence[int], parameters: Sequence[str] = (), **settings: str) -> int:
        entries = [*inputs, *(self.variable(f"{name}_{part}") for part in parameters)]
        node = {"op": op, "name": name, "inputs": [[entry, 0, 0] for entry in entries]}
        self.nodes.append({**node, "attrs": settings} if settings else node)
        return len(self.nodes) - 1


NORM = ("gamma", "beta", "moving_mean", "moving_var")


def face_network() -> dict[str, Any]:
    """A gated improved residual unit, an inception branch and InsightFace's neck, with its training classifier."""
    graph = Graph()
    x = graph.layer("_minus_scalar", "minus", [graph.variable("data")], scalar="127.5")
    x = graph.layer("_mul_scalar", "times", [x], scalar="0.0078125")
    conv = {"kernel": "(3, 3)", "pad": "(1, 1)", "no_bias": "True", "num_filter": "4", "workspace": "256"}
    x = graph.layer("Convolution", "conv0", [x], ["weight"], stride="(2, 2)", **conv)
    x = graph.layer("BatchNorm", "bn0", [x], NORM, eps="2e-05", fix_gamma="False", momentum="0.9")
    x = trunk = graph.layer("LeakyReLU", "relu0", [x], ["gamma"], act_type="prelu")
    x = graph.layer("Convolution", "conv1", [x], ["weight"], stride="(1, 1)", num_group="2", **conv)
    x = unit = graph.layer("BatchNorm", "bn1", [x], NORM, eps="2e-05", momentum="0.9")  # fix_gamma is MXNet's default
    x = graph.layer("Pooling", "se_pool", [x], global_pool="True", kernel="(7, 7)", pool_type="avg")
    x = graph.layer("Convolution", "se_conv", [x], ["weight", "bias"], kernel="(1, 1)", num_filter="4")
    x = graph.layer("Activation", "se_sigmoid", [x], act_type="sigmoid")
    x = graph.layer("broadcast_mul", "se", [unit, x])
    x = graph.layer("elemwise_add", "plus0", [x, trunk])
    pool = {"kernel": "(3, 3)", "stride": "(2, 2)", "pad": "(1, 1)"}
    most = graph.layer("Pooling", "pool1", [x], pool_type="max", **pool)
    mean = graph.layer("Pooling", "pool2", [x], pool_type="avg", **pool)
    x = graph.layer("Concat", "concat0", [most, mean], dim="1", num_args="2")
    x = graph.layer("Activation", "relu1", [x], act_type="relu")
    x = graph.layer("Dropout", "drop", [x], p="0.4")
    x = graph.layer("FullyConnected", "pre_fc1", [x], ["weight", "bias"], num_hidden="6")
    x = graph.layer("BatchNorm", "fc1", [x], NORM, eps="2e-05", fix_gamma="True", momentum="0.9")
    x = graph.layer("FullyConnected", "fc7", [x], ["weight"], num_hidden="10", no_bias="True")
    x = graph.layer("SoftmaxOutput", "softmax", [x, graph.variable("softmax_label")])
    return {"nodes": graph.nodes, "heads": [[x, 0, 0]], "attrs": {"mxnet_version": ["int", 10500]}}


def face_parameters() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def weights(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * 0.3

    parameters = {
        "arg:conv0_weight": weights(4, 3, 3, 3),
        "arg:relu0_gamma": weights(4),
        "arg:conv1_weight": weights(4, 2, 3, 3),
        "arg:se_conv_weight": weights(4, 4, 1, 1),
        "arg:se_conv_bias": weights(4),
        "arg:pre_fc1_weight": weights(6, 8 * 4 * 4),
        "arg:pre_fc1_bias": weights(6),
        "arg:fc7_weight": weights(10, 6),
    }
    for name, size in (("bn0", 4), ("bn1", 4), ("fc1", 6)):
        parameters |= {f"arg:{name}_gamma": weights(size), f"arg:{name}_beta": weights(size)}
        parameters |= {f"aux:{name}_moving_mean": weights(size), f"aux:{name}_moving_var": weights(size).abs() + 0.1}
    return parameters


def in_torch(images: Tensor, named: dict[str, Tensor]) -> Tensor:
    """What the graph says, written down as torch."""
    p = {name.partition(":")[2]: tensor for name, tensor in named.items()}

    def norm(x: Tensor, name: str, learnt: bool) -> Tensor:
        shape = [1, -1] + [1] * (x.ndim - 2)
        mean, variance, gamma, beta = (
            p[f"{name}_{part}"].view(shape) for part in ("moving_mean", "moving_var", "gamma", "beta")
        )
        return (x - mean) / (variance + 2e-5).sqrt() * (gamma if learnt else 1) + beta

    x = (images - 127.5) / 128
    x = trunk = F.prelu(norm(F.conv2d(x, p["conv0_weight"], None, 2, 1), "bn0", learnt=True), p["relu0_gamma"])
    unit = norm(F.conv2d(x, p["conv1_weight"], None, 1, 1, 1, 2), "bn1", learnt=False)
    gate = torch.sigmoid(F.conv2d(unit.mean((2, 3), keepdim=True), p["se_conv_weight"], p["se_conv_bias"]))
    x = unit * gate + trunk
    padded = F.pad(x, (1, 1, 1, 1))
    mean = F.avg_pool2d(padded, 3, 2)  # the padding counts
    most = F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-1e9), 3, 2)
    x = torch.cat([most, mean], 1).relu().flatten(1)
    return norm(F.linear(x, p["pre_fc1_weight"], p["pre_fc1_bias"]), "fc1", learnt=False)


def grey(count: int) -> Tensor:
    return 255 * torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("batch", [1, 3])
def test_graph_gives_what_the_same_network_gives_in_torch(batch: int) -> None:
    network = MxnetNetwork(face_network(), face_parameters(), "fc1", "model-symbol.json")
    images = grey(batch).requires_grad_()
    expected = in_torch(images, face_parameters())
    torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-5)
    gradients = [torch.autograd.grad(output.sin().sum(), images)[0] for output in (network(images), expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)
    assert not any("fc7" in name or tensor.shape == (10, 6) for name, tensor in network.named_buffers())


def test_norms_behind_a_layer_are_folded_and_others_are_one_multiply_add() -> None:
    network = MxnetNetwork(face_network(), face_parameters(), "fc1", "model-symbol.json")
    assert not any(step.run in (batch_norm, channel_affine) for step in network._steps)
    graph = face_network()  # a norm before a padded convolution, as residual units begin
    names = [node["name"] for node in graph["nodes"]]
    norm, layer = (graph["nodes"][names.index(name)] for name in ("bn1", "conv1"))
    source = layer["inputs"][0]
    reader = next(node for node in graph["nodes"] if node["name"] == "se_pool")
    norm["inputs"][0], reader["inputs"][0] = source, [names.index("bn1"), 0, 0]
    network = MxnetNetwork(graph, face_parameters(), "fc1", "model-symbol.json")
    assert sum(step.run is channel_affine for step in network._steps) == 1
    assert not any(step.run is batch_norm for step in network._steps)
    p = face_parameters()
    x = F.conv2d((grey(2) - 127.5) / 128, p["arg:conv0_weight"], None, 2, 1)
    mean, variance, scale, shift = (p[f"{kind}:bn0_{part}"] for kind, part in STATISTICS)
    x = F.batch_norm(x, mean, variance, scale, shift, eps=2e-5)
    trunk = F.prelu(x, p["arg:relu0_gamma"])
    mean, variance, _, shift = (p[f"{kind}:bn1_{part}"] for kind, part in STATISTICS)
    x = F.batch_norm(trunk, mean, variance, None, shift, eps=2e-5)
    found = MxnetNetwork(graph, face_parameters(), "bn1", "model-symbol.json")(grey(2))
    torch.testing.assert_close(found, x, rtol=1e-4, atol=1e-5)


STATISTICS = (("aux", "moving_mean"), ("aux", "moving_var"), ("arg", "gamma"), ("arg", "beta"))


def altered(name: str, op: str | None = None, **settings: str) -> dict[str, Any]:
    graph = face_network()
    node = next(node for node in graph["nodes"] if node["name"] == name)
    node["op"] = op or node["op"]
    node["attrs"] = {**node.get("attrs", {}), **settings}
    return graph


def test_older_files_write_their_settings_elsewhere() -> None:
    graph = face_network()
    for node in graph["nodes"]:
        if "attrs" in node:
            node["param"] = node.pop("attrs")
            node["attr"] = {"__lr_mult__": "1.0"}
    new, old = (
        MxnetNetwork(content, face_parameters(), "fc1", "model-symbol.json") for content in (face_network(), graph)
    )
    assert torch.equal(new(grey(2)), old(grey(2)))


@pytest.mark.parametrize(
    ("graph", "output", "hint"),
    [
        (face_network(), "fc2", r"no layer 'fc2'.*fc7"),
        (altered("se_sigmoid", op="Custom"), "fc1", "MXNet operator Custom"),
        (altered("conv0", layout="NHWC"), "fc1", "Convolution conv0.*layout"),
        (altered("bn0", output_mean_var="True"), "fc1", "BatchNorm bn0.*output_mean_var"),
    ],
)
def test_what_cannot_be_run_is_named(graph: dict[str, Any], output: str, hint: str) -> None:
    with pytest.raises(WeightError, match=hint) as error:
        MxnetNetwork(graph, face_parameters(), output, "model-symbol.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "graph",
    [
        altered("pool1", pooling_convention="full"),
        altered("pool1", pool_type="lp"),
        altered("relu0", act_type="elu"),
        altered("relu1", act_type="softsign"),
        altered("bn0", axis="3"),
    ],
)
def test_settings_that_mean_something_else_are_refused(graph: dict[str, Any]) -> None:
    network = MxnetNetwork(graph, face_parameters(), "fc1", "model-symbol.json")
    with pytest.raises(WeightError, match="not supported"):
        network(grey(1))


def test_missing_parameter_is_named() -> None:
    parameters = face_parameters()
    del parameters["arg:bn1_beta"]
    with pytest.raises(WeightError, match="bn1_beta, which the parameter file does not hold"):
        MxnetNetwork(face_network(), parameters, "fc1", "model-symbol.json")


def test_card_of_a_target_loads_its_two_files(tmp_path: Path) -> None:
    params, symbol = tmp_path / "model-0146.params", tmp_path / "model-symbol.json"
    save_params(params, face_parameters())
    symbol.write_text(json.dumps(face_network()), encoding="utf-8")
    config: Any = compose_config(
        [
            "model@surrogate=opom_arcface_r50",
            f"surrogate.weights.path={params}",
            f"surrogate.symbol.path={symbol}",
            "surrogate.inputs.size=[16,16]",
        ]
    ).surrogate
    model = build_recogniser(config, "opom_arcface_r50")
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    expected = F.normalize(in_torch(255 * images, face_parameters()), dim=1)
    torch.testing.assert_close(model.embed(images), expected, rtol=1e-4, atol=1e-5)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (params, symbol)]
    assert model.card.weights_sha256 == hashlib.sha256(" ".join(digests).encode()).hexdigest()

    config.symbol.path = str(tmp_path / "other-symbol.json")
    Path(config.symbol.path).write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="not an MXNet graph"):
        build_recogniser(config, "opom_arcface_r50")
    config.symbol.path = str(tmp_path / "absent-symbol.json")
    with pytest.raises(ValueError, match=r"no weight file at .*symbol\.json.*\(from https://"):
        build_recogniser(config, "opom_arcface_r50")
