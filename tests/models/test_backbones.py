"""Layouts of the public checkpoints, shapes, and that slim and full-size networks are one class."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from real_pack import PACK, requires_pack
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode

from cloakbench.models.backbones import ir_se, iresnet
from cloakbench.models.backbones.inception_resnet_v1 import InceptionResnetV1
from cloakbench.models.backbones.ir_se import IRSE
from cloakbench.models.backbones.iresnet import IResNet
from cloakbench.models.backbones.layers import map_size
from cloakbench.models.backbones.mobile_face import MobileFace
from cloakbench.models.backbones.mobilefacenet import MobileFaceNet
from cloakbench.models.backbones.mobilenet import MobileNet
from cloakbench.models.backbones.se_resnet import FaceResNet
from cloakbench.models.frozen.layers import ChannelAffine
from cloakbench.models.frozen.network import freeze

Build = Callable[[], nn.Module]

FULL_SIZE: dict[str, tuple[Build, int, float]] = {
    # network, input side, millions of parameters; 18 to 100 layers: the sizes the InsightFace model zoo publishes
    "iresnet18": (lambda: IResNet(iresnet.BLOCKS[18]), 112, 24.0),
    "iresnet34": (lambda: IResNet(iresnet.BLOCKS[34]), 112, 34.1),
    "iresnet50": (lambda: IResNet(iresnet.BLOCKS[50]), 112, 43.6),
    "iresnet100": (lambda: IResNet(iresnet.BLOCKS[100]), 112, 65.2),
    "iresnet152": (lambda: IResNet(iresnet.BLOCKS[152]), 112, 70.8),
    "ir50": (lambda: IRSE(ir_se.BLOCKS[50], False), 112, 43.6),
    "irse50": (lambda: IRSE(ir_se.BLOCKS[50], True), 112, 43.8),
    "ir152": (lambda: IRSE(ir_se.BLOCKS[152], False), 112, 70.7),
    "mobilefacenet": (MobileFaceNet, 112, 1.0),
    "mobilenet": (MobileNet, 112, 3.8),
    "se_resnet50": (FaceResNet, 112, 27.1),
    "inception_resnet_v1": (InceptionResnetV1, 160, 23.5),
}


@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size_definitions(name: str) -> None:
    build, side, millions = FULL_SIZE[name]
    with torch.device("meta"):
        network = build().eval()
        embeddings = network(torch.empty(2, 3, side, side))
    assert embeddings.shape == (2, 128 if name == "mobilefacenet" else 512)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


SLIM: dict[str, Build] = {
    "iresnet": lambda: IResNet(
        (1, 1, 1, 1), channels=(4, 6, 8, 10), strides=(1, 2, 2, 2), stem=(7, 4), neck="gdc", embedding_size=16
    ),
    "ir": lambda: IRSE(
        (1, 2, 1, 1), False, channels=(4, 6, 8, 10), strides=(1, 2, 2, 2), stem=(3, 2), pool=2, embedding_size=16
    ),
    "ir_se": lambda: IRSE(
        (1, 1, 1, 1), True, channels=(4, 6, 8, 10), strides=(1, 2, 2, 2), stem=(7, 4), reduction=2, embedding_size=16
    ),
    "mobilefacenet": lambda: MobileFaceNet(width=0.125, stem=(7, 4), embedding_size=16),
    "mobilenet": lambda: MobileNet(width=0.125, stem=(3, 2), pool=2, embedding_size=16),
    "resnet": lambda: FaceResNet(
        blocks=(1, 1, 1, 1), gate=False, bottleneck=False, channels=(8, 8, 8, 8), stem=(7, 4), embedding_size=16
    ),
    "se_resnet": lambda: FaceResNet(blocks=(1, 1, 1, 1), channels=(8, 8, 8, 8), stem=(7, 4), embedding_size=16),
    "inception": lambda: InceptionResnetV1(
        repeats=(1, 1, 1),
        width=0.0625,
        stem=(7, 4),
        last_stride=1,
        padded=True,
        neck="gdc",
        embedding_size=16,
        input_size=(112, 112),
    ),
}


@pytest.mark.parametrize("name", SLIM)
def test_slim_networks_embed_and_carry_gradients(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SLIM[name]().eval()
    images = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(1)).requires_grad_()
    embeddings = network(images)
    embeddings.square().sum().backward()
    assert embeddings.shape == (2, 16)
    assert images.grad is not None
    assert bool(torch.isfinite(images.grad).all())
    assert float(images.grad.abs().sum()) > 0


NORMS_LEFT = {"iresnet": 5, "ir": 6, "ir_se": 5, "ir_fc": 5}
"""Batch norms in front of zero-padded convolutions: one for each residual unit and one before the neck."""

FROZEN: dict[str, Build] = SLIM | {
    "ir_fc": lambda: IRSE((1, 1, 1, 1), False, channels=(4, 6, 8, 10), embedding_size=16),
    "mobile_face": lambda: MobileFace(embedding_size=16),
    "inception_avg": lambda: InceptionResnetV1(repeats=(1, 1, 1), width=0.0625, embedding_size=16),
    "resnet_timm_stem": lambda: FaceResNet(
        blocks=(1, 1, 1, 1), bottleneck=False, channels=(64, 8, 8, 8), embedding_size=16
    ),
}


def _lived_in(build: Build) -> nn.Module:
    """A network whose batch norms do something, some of them with scales below zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build().eval().requires_grad_(False)
        for part in network.modules():
            if isinstance(part, _BatchNorm):
                assert part.running_mean is not None and part.running_var is not None
                part.running_mean.normal_(0, 0.2)
                part.running_var.uniform_(0.5, 2)
                part.weight.uniform_(-0.3, 1.5)
                part.bias.normal_(0, 0.2)
    return network


@pytest.mark.parametrize("name", FROZEN)
def test_frozen_networks_are_the_trained_ones_without_norms(name: str) -> None:
    """In double precision, where no sum of another order moves a PReLU across its bend."""
    trained = _lived_in(FROZEN[name]).double()
    frozen = freeze(copy.deepcopy(trained))
    assert not any(isinstance(part, _BatchNorm) for part in frozen.modules())
    assert sum(isinstance(part, ChannelAffine) for part in frozen.modules()) == NORMS_LEFT.get(name, 0)
    assert not any(weight.requires_grad for weight in frozen.parameters())
    images = torch.rand(2, 3, 112, 112, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    images.requires_grad_()
    found, expected = (network(images) for network in (frozen, trained))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    slopes = [torch.autograd.grad(output.sin().sum(), images)[0] for output in (found, expected)]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-8, atol=1e-10 * float(slopes[1].abs().max()))


@pytest.mark.parametrize("build", [IRSE, FaceResNet], ids=lambda build: build.__name__)
def test_going_back_computes_no_gradient_of_weights(build: type[nn.Module]) -> None:
    """Every gradient that convolutions and linear layers compute is the one of their input."""
    network = freeze(SLIM["ir" if build is IRSE else "se_resnet"]())
    images = torch.rand(1, 3, 112, 112).requires_grad_()
    asked: list[tuple[bool, ...]] = []

    class Spy(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten.convolution_backward.default:
                asked.append(tuple(args[-1]))
            assert "prelu_kernel_backward" not in str(func) and "batch_norm" not in str(func)
            return func(*args, **(kwargs or {}))

    with Spy():
        torch.autograd.grad(network(images).sum(), images)
    assert len(asked) > 5
    assert set(asked) == {(True, False, False)}


def test_map_size_is_what_half_padded_convolutions_leave() -> None:
    x = torch.zeros(1, 1, 112, 96)
    for stride in (4, 1, 2, 2, 2):
        x = F.conv2d(x, torch.zeros(1, 1, 3, 3), stride=stride, padding=1)
    assert map_size((112, 96), (4, 1, 2, 2, 2)) == tuple(x.shape[-2:])


def test_iresnet_keys_are_insightface_keys() -> None:
    with torch.device("meta"):
        state = IResNet(iresnet.BLOCKS[18]).state_dict()

    def norm(name: str) -> set[str]:
        return {f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}

    expected = {"conv1.weight", "prelu.weight", "fc.weight", "fc.bias"} | norm("bn1") | norm("bn2") | norm("features")
    for layer in range(1, 5):
        for block in range(2):
            place = f"layer{layer}.{block}"
            expected |= {f"{place}.{part}.weight" for part in ("conv1", "conv2", "prelu")}
            expected |= norm(f"{place}.bn1") | norm(f"{place}.bn2") | norm(f"{place}.bn3")
        expected |= {f"layer{layer}.0.downsample.0.weight"} | norm(f"layer{layer}.0.downsample.1")
    assert set(state) == expected
    assert state["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert state["fc.weight"].shape == (512, 512 * 7 * 7)


def test_ir_se_keys_are_those_of_the_public_lineage() -> None:
    with torch.device("meta"):
        state = IRSE(ir_se.BLOCKS[50], True).state_dict()
    shapes = {
        "input_layer.0.weight": (64, 3, 3, 3),
        "input_layer.2.weight": (64,),
        "body.0.res_layer.1.weight": (64, 64, 3, 3),
        "body.0.res_layer.2.weight": (64,),
        "body.3.shortcut_layer.0.weight": (128, 64, 1, 1),
        "body.3.res_layer.5.fc1.weight": (8, 128, 1, 1),
        "body.23.res_layer.5.fc2.weight": (512, 32, 1, 1),
        "output_layer.0.weight": (512,),
        "output_layer.3.weight": (512, 25088),
        "output_layer.4.running_var": (512,),
    }
    assert {key: tuple(state[key].shape) for key in shapes} == shapes
    assert "body.0.shortcut_layer.0.weight" not in state
    assert "body.24.res_layer.0.weight" not in state


def test_inception_resnet_agrees_with_facenet_pytorch() -> None:
    facenet = pytest.importorskip("facenet_pytorch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = facenet.InceptionResnetV1(pretrained=None, classify=False).eval()
    ours = InceptionResnetV1().eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        difference = F.normalize(ours(images)) - theirs(images)
    assert float(difference.abs().max()) < 1e-5


@pytest.mark.parametrize("architecture", ["resnet18", "resnet50", "seresnet18", "seresnet50"])
def test_face_resnet_says_what_timms_own_network_says(architecture: str) -> None:
    """Its checkpoints load strictly, and the last map is the same for batch norms that do something."""
    timm = pytest.importorskip("timm")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = timm.create_model(architecture, num_classes=0, global_pool="").eval()
        for part in theirs.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.normal_(part.bias)
    deep = architecture.endswith("50")
    ours = FaceResNet(
        blocks=(3, 4, 6, 3) if deep else (2, 2, 2, 2), bottleneck=deep, gate=architecture.startswith("se")
    ).eval()
    ours.body.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours.body(images), theirs(images))


@pytest.mark.slow
def test_loading_a_face_resnet_imports_no_timm() -> None:
    words = "import sys; from cloakbench.models.backbones.se_resnet import FaceResNet; FaceResNet(blocks=(1, 1, 1, 1))"
    found = subprocess.run(
        [sys.executable, "-c", f"{words}; print({{'timm', 'torchvision'}} & set(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "set()\n"


@requires_pack
def test_mobilefacenet_loads_the_public_checkpoint() -> None:
    path = PACK / "weights" / "mobilefacenet_casia.ckpt"
    state = torch.load(path, map_location="cpu", weights_only=True)["net_state_dict"]
    network = MobileFaceNet(input_size=(112, 96)).eval()
    network.load_state_dict(state, strict=True)
    entries = json.loads((PACK / "MANIFEST.json").read_text())["weights"]
    references = next(e for e in entries if e["name"] == "mobilefacenet_casia")["measured"]["reference_outputs"]
    for reference in references:
        aligned = PACK / Path(reference["file"].replace("faces/", "aligned112/", 1)).with_suffix(".png")
        pixels = torch.from_numpy(np.array(Image.open(aligned).convert("RGB"))).permute(2, 0, 1).float()
        with torch.no_grad():
            embedding = F.normalize(network((pixels[None, :, :, 8:104] - 127.5) / 128))[0]
        expected = torch.tensor(reference["embedding_first8"])
        assert float((embedding[:8] - expected).abs().max()) < 1e-4


def test_unknown_necks_are_refused() -> None:
    with pytest.raises(ValueError, match="neck must be"):
        IResNet((1, 1, 1, 1), neck="gap")
    with pytest.raises(ValueError, match="padded=true"):
        InceptionResnetV1(neck="gdc")
