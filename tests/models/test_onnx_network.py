"""ONNX files as torch modules: against onnxruntime, with gradients, for any batch size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from cloakbench.bench.composition import compose_config
from cloakbench.bench.recognisers import build_recogniser
from cloakbench.models.backbones.iresnet import IResNet
from cloakbench.models.onnx_network import OPERATORS, OnnxNetwork, PerImage, load_onnx
from cloakbench.models.weight_file import WeightError

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
runtime = pytest.importorskip("onnxruntime", reason="needs the peers extra")


def _graph(nodes: Sequence[Any], constants: dict[str, Any]) -> Any:
    """A model from ``input`` ``[n, 3, 8, 8]`` to ``embedding``."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        list(nodes),
        "face",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _every_operator() -> Any:
    """A small face network that uses each operator of the interpreter, with a bias shared through ``Identity``."""
    from onnx import helper, numpy_helper

    node, rng = helper.make_node, np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.5, shape).astype(np.float32)

    constants = {
        "mean": np.float32(0.5),
        "scale": np.float32(0.25),
        "conv1.weight": weights(4, 3, 3, 3),
        "conv1.bias": weights(4),
        "conv2.weight": weights(4, 2, 3, 3),
        "norm.weight": weights(4),
        "norm.bias": weights(4),
        "norm.mean": weights(4),
        "norm.var": np.abs(weights(4)) + 0.1,
        "slope": weights(4, 1, 1),
        "shape": np.array([0, -1]),
        "linear.weight": weights(6, 64),
        "linear.bias": weights(6),
        "last.weight": weights(6, 5),
        "gain": weights(5),
        "first": np.array(0),
        "axes": np.array([0]),
        "rest": np.array([-1]),
    }
    norm = [f"norm.{part}" for part in ("weight", "bias", "mean", "var")]
    nodes = [
        node("Sub", ["input", "mean"], ["centred"]),
        node("Div", ["centred", "scale"], ["scaled"]),
        node(
            "Conv",
            ["scaled", "conv1.weight", "conv1.bias"],
            ["c1"],
            strides=[2, 2],
            pads=[0, 0, 1, 1],
            kernel_shape=[3, 3],
        ),
        node("BatchNormalization", ["c1", *norm], ["b1"], epsilon=2e-5, momentum=0.9, training_mode=0),
        node("PRelu", ["b1", "slope"], ["p1"]),
        node("Identity", ["conv1.bias"], ["conv2.bias"]),
        node("Conv", ["p1", "conv2.weight", "conv2.bias"], ["c2"], pads=[1, 1, 1, 1], group=2, auto_pad="NOTSET"),
        node("Relu", ["c2"], ["r"]),
        node("Add", ["r", "p1"], ["sum"]),
        node("Flatten", ["sum"], ["flat"]),
        node("Reshape", ["flat", "shape"], ["rows"]),
        node("Gemm", ["rows", "linear.weight", "linear.bias"], ["hidden"], alpha=0.5, beta=2.0, transB=1),
        node("MatMul", ["hidden", "last.weight"], ["narrow"]),
        node("Constant", [], ["two"], value=numpy_helper.from_array(np.array(2, np.float32))),
        node("Mul", ["narrow", "two"], ["doubled"]),
        node("Dropout", ["doubled"], ["kept"]),
        node("Mul", ["kept", "gain"], ["tail"]),
        # a gated pool, brought to one row an image by way of its shape
        node("GlobalAveragePool", ["sum"], ["pooled"]),
        node("Sigmoid", ["pooled"], ["gate"]),
        node("Shape", ["gate"], ["sizes"]),
        node("Gather", ["sizes", "first"], ["count"], axis=0),
        node("Unsqueeze", ["count", "axes"], ["counts"]),
        node("Concat", ["counts", "rest"], ["wanted"], axis=0),
        node("Reshape", ["gate", "wanted"], ["head"]),
        node("Concat", ["tail", "head"], ["embedding"], axis=1),
    ]
    return _graph(nodes, constants)


def _reference(model: Any, images: Tensor) -> np.ndarray:
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": images.numpy()})[0]


def test_graph_of_every_operator_uses_every_operator() -> None:
    assert {node.op_type for node in _every_operator().graph.node} == {*OPERATORS, "Constant"}


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_interpreter_agrees_with_onnxruntime(batch: int) -> None:
    model, images = _every_operator(), torch.rand(batch, 3, 8, 8)
    output = OnnxNetwork(model, "net.onnx")(images)
    assert output.shape == (batch, 9)
    np.testing.assert_allclose(output.numpy(), _reference(model, images), rtol=1e-5, atol=1e-5)


def test_interpreters_gradient_is_the_slope_of_its_output() -> None:
    network = OnnxNetwork(_every_operator(), "net.onnx").double()
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(network, images.requires_grad_(), atol=1e-6)


def test_interpreter_keeps_initialisers_as_buffers() -> None:
    network = OnnxNetwork(_every_operator(), "net.onnx").to(torch.float64)
    assert not list(network.parameters())
    assert {buffer.dtype for buffer in network.buffers()} == {torch.float64}


def test_shared_initialiser_falls_back_to_the_interpreter(tmp_path: Path) -> None:
    model, images = _every_operator(), torch.rand(2, 3, 8, 8)
    onnx.save(model, tmp_path / "net.onnx")
    network = load_onnx(tmp_path / "net.onnx")
    assert isinstance(network, OnnxNetwork)
    np.testing.assert_allclose(network(images).numpy(), _reference(model, images), rtol=1e-5, atol=1e-5)


def test_export_of_a_torch_network_runs_in_both_converters(tmp_path: Path) -> None:
    source = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.PReLU(4), nn.Flatten(), nn.Linear(64, 5)
    ).eval()
    images, path = torch.rand(3, 3, 8, 8, requires_grad=True), tmp_path / "net.onnx"
    names = {"input_names": ["input"], "dynamic_axes": {"input": {0: "n"}}}
    with pytest.warns(DeprecationWarning):
        torch.onnx.export(source, (images,), str(path), dynamo=False, **names)
    (expected,) = torch.autograd.grad(source(images).sin().sum(), images)
    converted = load_onnx(path)
    assert not isinstance(converted, OnnxNetwork)
    assert not any(parameter.requires_grad for parameter in converted.parameters())
    for network in (converted, OnnxNetwork(onnx.load(path), "net.onnx")):
        torch.testing.assert_close(network(images), source(images))
        torch.testing.assert_close(torch.autograd.grad(network(images).sin().sum(), images)[0], expected)


def _face_network() -> nn.Module:
    """A slim IResNet; its fresh batch norms are alike, so that an exporter stores each value once and shares it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = IResNet((1, 1, 1, 1), channels=(4, 4, 6, 6), embedding_size=16, input_size=(32, 32))
    for name, tensor in network.named_buffers():
        if "bn3" in name and not name.endswith("tracked"):
            tensor.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(len(name)))
    return network.eval()


class _Viewed(nn.Module):
    """Ends like InsightFace's MobileFaceNet, in ``view(size, -1)``, which a tracer writes down as numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1, bias=False), nn.BatchNorm2d(4), nn.PReLU(4)).eval()
        self.linear = nn.Linear(4 * 8 * 8, 16)

    def forward(self, images: Tensor) -> Tensor:
        x = self.body(images)
        return self.linear(x.view(x.size(0), -1))


def _exported_like_insightface(source: nn.Module, path: Path, declared: str | None) -> Any:
    """As ``arcface_torch/torch2onnx.py`` does: opset 11, traced with one image, the axis renamed afterwards, or not."""
    with pytest.warns(DeprecationWarning):
        torch.onnx.export(
            source,
            (torch.zeros(1, 3, 32, 32),),
            str(path),
            input_names=["data"],
            keep_initializers_as_inputs=False,
            opset_version=11,
            dynamo=False,
        )
    model = onnx.load(path)
    if declared is not None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = declared
        onnx.save(model, path)
    return model


@pytest.mark.parametrize("build", [_face_network, _Viewed])
@pytest.mark.parametrize("declared", [None, "None"])
def test_files_exported_like_insightfaces_run_for_any_number_of_images(
    build: Callable[[], nn.Module], declared: str | None, tmp_path: Path
) -> None:
    source, path = build().eval(), tmp_path / "w600k.onnx"
    model = _exported_like_insightface(source, path, declared)
    operators = {node.op_type for node in model.graph.node}
    assert operators <= {*OPERATORS, "Constant"}
    assert ("Identity" in operators) == (build is _face_network), "the exporter shares what is alike"
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    alone = [session.run(None, {"data": image[None].detach().numpy()})[0] for image in images]
    network = load_onnx(path)
    np.testing.assert_allclose(network(images).detach().numpy(), np.concatenate(alone), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(images), source(images), rtol=1e-4, atol=1e-5)
    ours, theirs = (torch.autograd.grad(net(images).sin().sum(), images)[0] for net in (network, source))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)
    assert isinstance(network, PerImage) == (declared is None or build is _Viewed)


def test_loads_through_the_card_of_an_insightface_pack(tmp_path: Path) -> None:
    source, path = _face_network(), tmp_path / "w600k_r50.onnx"
    _exported_like_insightface(source, path, "None")
    config: Any = compose_config(["model@surrogate=buffalo_l"]).surrogate
    config.weights.path, config.weights.sha256, config.inputs.size = str(path), None, [32, 32]
    model = build_recogniser(OmegaConf.to_container(config), "buffalo_l")  # type: ignore[arg-type]
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.embed(images), nn.functional.normalize(source(2 * images - 1), dim=1))


def test_mxnet_exports_norms_of_opset_8_run() -> None:
    """MXNet's exporter writes ``spatial``, which opset 9 dropped; 1 is what every later norm does."""
    from onnx import helper

    constants = dict(zip("gbmv", np.random.default_rng(0).random((4, 3)).astype(np.float32) + 0.5, strict=True))
    norm = helper.make_node("BatchNormalization", ["input", *"gbmv"], ["embedding"], epsilon=2e-5, spatial=1)
    images = torch.rand(2, 3, 8, 8)
    gamma, beta, mean, variance = (torch.from_numpy(constants[name])[:, None, None] for name in "gbmv")
    expected = (images - mean) / (variance + 2e-5).sqrt() * gamma + beta
    torch.testing.assert_close(OnnxNetwork(_graph([norm], constants), "net.onnx")(images), expected)


def test_gather_and_unsqueeze_follow_the_specification() -> None:
    x, indices = torch.arange(24).reshape(2, 3, 4), torch.tensor([[0, 1], [1, 1]])
    for axis in range(3):
        expected = np.take(x.numpy(), indices.numpy(), axis=axis)
        np.testing.assert_array_equal(OPERATORS["Gather"](x, indices, axis=axis).numpy(), expected)
    assert OPERATORS["Gather"](torch.tensor([7, 9]), torch.tensor(1)).shape == ()
    assert OPERATORS["Unsqueeze"](x, axes=[3, 0]).shape == (1, 2, 3, 1, 4)


def _refusal(model: Any) -> str:
    with pytest.raises(WeightError) as error:
        OnnxNetwork(model, "net.onnx")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_unknown_operator_and_attribute_are_named() -> None:
    from onnx import helper

    assert "operator Celu" in _refusal(_graph([helper.make_node("Celu", ["input"], ["embedding"])], {}))
    trained = helper.make_node("BatchNormalization", ["input", *"gbmv"], ["embedding"], training_mode=1)
    assert "BatchNormalization with training_mode" in _refusal(_graph([trained], dict.fromkeys("gbmv", np.ones(3))))
    padded = helper.make_node("Conv", ["input", "w"], ["embedding"], auto_pad="SAME_UPPER")
    assert "Conv with auto_pad" in _refusal(_graph([padded], {"w": np.ones((4, 3, 3, 3), np.float32)}))


def test_operator_no_converter_knows_is_refused_at_load(tmp_path: Path) -> None:
    from onnx import helper

    model = _graph([helper.make_node("Det", ["input"], ["embedding"])], {})
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(WeightError, match="operator Det"):
        load_onnx(tmp_path / "net.onnx")


def test_weights_outside_the_file_are_refused(tmp_path: Path) -> None:
    onnx.save(_every_operator(), tmp_path / "net.onnx", save_as_external_data=True, size_threshold=0)
    with pytest.raises(WeightError, match="save it as one file"):
        load_onnx(tmp_path / "net.onnx")


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"\x08\x08"], ids=["text", "no graph"])
def test_corrupt_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(WeightError, match=r"not a readable ONNX file|no ONNX graph"):
        load_onnx(tmp_path / "net.onnx")
