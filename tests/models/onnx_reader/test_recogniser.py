"""ONNX files as recognisers and attribute models: through the YAML, with what their results are stored under."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from onnx_graphs import END, FIRST, INPUTS, MIDDLE, RELU, SIZE, judged, model, node, photos, saved
from torch import Tensor, nn

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.config.networks import build_recogniser, fingerprint
from cloakbench.models.attribute_loading import load_attribute_model
from cloakbench.models.attributes import AttributeOutput
from cloakbench.models.backbones.iresnet import IResNet
from cloakbench.models.base import Recogniser
from cloakbench.models.conformance import check_recogniser, smooth_images
from cloakbench.models.loading import load_recogniser
from cloakbench.models.onnx_reader.file import read_model
from cloakbench.models.onnx_reader.load import Wanted, load_onnx
from cloakbench.models.onnx_reader.network import OnnxNetwork
from cloakbench.models.weight_file import WeightError, WeightFile

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
pytest.importorskip("onnxruntime", reason="needs the peers extra")

CONF = Path(__file__).resolve().parents[3] / "conf"
CARD = {"family": "x", "backbone": "x", "head": "x", "training_set": "x"}
PLAIN = [FIRST, RELU, *MIDDLE, *END]
NORM = node("ReduceL2", ["embedding"], ["norm"], axes=[1], keepdims=1)


def _composed(path: Path, *more: str) -> dict[str, Any]:
    words = ["name=mine", f"weights.path={path}", "card.family=x", "inputs.mean=0.5", "inputs.std=0.5", *more]
    words += [f"inputs.size=[{SIZE},{SIZE}]"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose(overrides=["+model=onnx", *(f"model.{word}" for word in words)])
    return OmegaConf.to_container(composed.model)  # type: ignore[return-value]


def test_two_outputs_of_one_file_never_share_results(tmp_path: Path) -> None:
    made = model([*PLAIN, NORM, node("Neg", ["embedding"], ["other"])], outputs=("norm", "embedding", "other"))
    path, found = saved(made, tmp_path), {}
    for output in ("embedding", "other"):
        config = _composed(path, f"output={output}")
        built = build_recogniser(config, "mine")
        assert built.card.embedding_size == 16
        found[output] = fingerprint(config, built)
    assert found["embedding"] != found["other"]
    with pytest.raises(ValueError, match="set output to the name of the one"):
        build_recogniser(_composed(path), "mine")


def test_a_recogniser_of_a_file_for_one_photo_keeps_every_promise(tmp_path: Path) -> None:
    made = model([*PLAIN[:-2], node("Reshape", ["e", "k"], ["f"]), END[-1]], {"k": [1, 16]}, shape=(1, 3, SIZE, SIZE))
    built = instantiate(_composed(saved(made, tmp_path)))
    assert isinstance(built, Recogniser)
    failed = [check for check in check_recogniser(built, smooth_images()) if not check.passed]
    assert not failed, failed


def test_output_is_for_onnx_files(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save({}, path)
    with pytest.raises(WeightError, match=r"output names outputs of an ONNX file, and .*net\.pt is a checkpoint"):
        load_recogniser("mine", WeightFile(str(path)), INPUTS, CARD, nn.Identity, output="embedding")


def test_state_key_is_for_checkpoints(tmp_path: Path) -> None:
    path = saved(model(PLAIN), tmp_path, "NET.ONNX")
    assert load_recogniser("mine", WeightFile(str(path)), INPUTS, CARD).card.embedding_size == 16
    with pytest.raises(WeightError, match="are for checkpoints"):
        load_recogniser("mine", WeightFile(str(path), state_key="net"), INPUTS, CARD)


def test_attribute_outputs_are_named(tmp_path: Path) -> None:
    made = model([*PLAIN, NORM, node("Softmax", ["embedding"], ["shares"])], outputs=("embedding", "norm", "shares"))
    weights, card = WeightFile(str(saved(made, tmp_path))), {"family": "x", "backbone": "x", "training_set": "x"}
    outputs = [
        AttributeOutput("kind", "probabilities", tuple(f"k{i}" for i in range(16))),
        AttributeOutput("length", "value"),
    ]
    named = load_attribute_model("mine", weights, INPUTS, outputs, card, output_names=["shares", "norm"])
    raw = torch.rand(2, 3, SIZE, SIZE)
    assert {name: part.shape for name, part in named.logits(raw).items()} == {"kind": (2, 16), "length": (2, 1)}
    with pytest.raises(
        WeightError, match=r"has 3 outputs .* and 2 must be taken: set output_names to the name of each"
    ):
        load_attribute_model("mine", weights, INPUTS, outputs, card)


def test_the_gradient_is_the_slope_of_the_output(tmp_path: Path) -> None:
    nodes = [FIRST, node("Softplus", ["a"], ["b"]), *MIDDLE[:1], node("Tanh", ["c"], ["d"]), MIDDLE[-1], *END]
    whole, opset = read_model(saved(model(nodes), tmp_path))
    network = OnnxNetwork(whole.graph, opset, "input", ["embedding"], "net.onnx").double()
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(network, images.requires_grad_(), atol=1e-6)
    assert not list(network.parameters())
    assert {buffer.dtype for buffer in network.buffers()} == {torch.float64}


def _face_network() -> nn.Module:
    """A slim IResNet; its fresh batch norms are alike, so that an exporter stores each value once and shares it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = IResNet((1, 1, 1, 1), channels=(4, 4, 6, 6), embedding_size=16, input_size=(SIZE, SIZE))
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
            (torch.zeros(1, 3, SIZE, SIZE),),
            str(path),
            input_names=["data"],
            output_names=["embedding"],
            keep_initializers_as_inputs=False,
            opset_version=11,
            dynamo=False,
        )
    made = onnx.load(path)
    if declared is not None:
        made.graph.input[0].type.tensor_type.shape.dim[0].dim_param = declared
        onnx.save(made, path)
    return made


@pytest.mark.parametrize("build", [_face_network, _Viewed])
@pytest.mark.parametrize("declared", [None, "None"])
def test_files_exported_like_insightfaces_run_for_any_number_of_photos(
    build: Callable[[], nn.Module], declared: str | None, tmp_path: Path
) -> None:
    source, path = build().eval(), tmp_path / "w600k.onnx"
    made = _exported_like_insightface(source, path, declared)
    shares = any(part.op_type == "Identity" for part in made.graph.node)
    assert shares == (build is _face_network), "the exporter shares what is alike"
    network, images = load_onnx(path, INPUTS, Wanted("output", 1)), photos().requires_grad_()
    torch.testing.assert_close(network(images), judged(made, images), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(images), source(images), rtol=1e-4, atol=1e-5)
    ours, theirs = (torch.autograd.grad(net(images).sin().sum(), images)[0] for net in (network, source))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def test_loads_through_the_card_of_an_insightface_pack(tmp_path: Path) -> None:
    source, path = _face_network(), tmp_path / "w600k_r50.onnx"
    _exported_like_insightface(source, path, "None")
    config: Any = compose_config(["model@surrogate=buffalo_l"]).surrogate
    config.weights.path, config.weights.sha256, config.inputs.size = str(path), None, [SIZE, SIZE]
    built = build_recogniser(OmegaConf.to_container(config), "buffalo_l")  # type: ignore[arg-type]
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(built.embed(images), nn.functional.normalize(source(2 * images - 1), dim=1))


@pytest.mark.parametrize(
    ("tail", "told"),
    [
        ([node("ArgMax", ["embedding"], ["out"], axis=1)], r"gives \[2, 1\] for two images"),
        ([node("ReduceL2", ["embedding"], ["out"], axes=[1])], r"gives \[2, 1\] for two images"),
        ([node("Cast", ["embedding"], ["out"], to=7)], "gives torch.int64 without a gradient"),
        ([node("Cast", ["embedding"], ["i"], to=7), node("Cast", ["i"], ["out"], to=1)], "without a gradient"),
        ([node("Log", ["minus"], ["l"]), node("Add", ["embedding", "l"], ["out"])], "values that are not finite"),
    ],
)
def test_outputs_that_are_no_embedding_are_one_line(tail: list[Any], told: str, tmp_path: Path) -> None:
    path = saved(model([*PLAIN, *tail], {"minus": np.float32(-1)}, outputs=("out",)), tmp_path)
    with pytest.raises(WeightError, match=told) as error:
        load_recogniser("mine", WeightFile(str(path)), INPUTS, CARD)
    assert "\n" not in str(error.value)
