"""The cards of published recognisers: their networks have the published size, and files in the public layout load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor, nn

from cloakbench.bench.config.compose import WITHOUT_EXPERIMENT, compose_config, group_options
from cloakbench.bench.config.networks import build_recogniser
from cloakbench.models.backbones.mobile_face import MobileFace

IR50 = tuple(
    f"{project}_ir50_{loss}" for project in ("opom", "facecloak") for loss in ("softmax", "cosface", "arcface")
)
FACENETS = ("facenet", "facenet_vggface2", "facenet_casia")
TIMM = {  # parameters: the table in timm-face's README
    "vit_tiny_arcface_ms1mv3": 5_512_640,
    "vit_small_cosface_ms1mv3": 21_640_832,
    "convnext_nano_cosface_ms1mv3": 15_303_712,
    "convnext_atto_cosface_ms1mv3": 3_543_952,
}
NETWORKS = (*IR50, *FACENETS, *TIMM, "ir152", "irse50", "mobile_face")
ONNX = ("antelopev2", "buffalo_l", "buffalo_s")
MXNET = tuple(
    f"opom_{name}"
    for name in ("arcface_r50", "cosface_r50", "inception_resnet", "mobilenet", "se_resnet50", "sface_r50")
)
PUBLISHED = (*NETWORKS, *ONNX, *MXNET)
GENERIC = ("checkpoint", "frbench", "mxnet", "onnx", "timm")


@pytest.fixture(scope="module")
def configs() -> dict[str, dict[str, Any]]:
    found = compose_config([WITHOUT_EXPERIMENT, *(f"+model@found.{name}={name}" for name in PUBLISHED)]).found
    return OmegaConf.to_container(found, resolve=True)  # type: ignore[return-value]


def changed(config: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """The config with settings under dotted names, a dot written as two underscores."""
    copy = OmegaConf.create(config)
    for key, value in settings.items():
        OmegaConf.update(copy, key.replace("__", "."), value)
    return OmegaConf.to_container(copy)  # type: ignore[return-value]


def on_meta(config: dict[str, Any]) -> nn.Module:
    with torch.device("meta"):
        return instantiate(config["network"], _convert_="all")()


def test_every_card_of_conf_is_looked_at_here() -> None:
    embedded = {name for name in group_options("model", []) if name in group_options("recipe", [])}
    pack = {"mobilefacenet_b", "mobilefacenet_casia", "mobilefacenet_casia_onnx", "mobilefacenet_y1"}
    assert set(group_options("model", [])) == embedded | pack | set(PUBLISHED) | set(GENERIC)


def ir_parameters(units: tuple[int, ...], gate: bool) -> int:
    """Parameters of IR and IR-SE counted from the public definition (face.evoLVe's model_irse.py)."""
    total = 3 * 64 * 9 + 2 * 64 + 64  # input layer: convolution, batch norm, PReLU
    inputs = 64
    for count, outputs in zip(units, (64, 128, 256, 512), strict=True):
        for _ in range(count):
            total += 2 * inputs + 9 * inputs * outputs + outputs + 9 * outputs * outputs + 2 * outputs
            total += (inputs * outputs + 2 * outputs) * (inputs != outputs) + 2 * outputs * (outputs // 16) * gate
            inputs = outputs
    return total + 2 * 512 + 512 * 49 * 512 + 512 + 2 * 512  # output layer: batch norm, linear, batch norm


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_have_the_published_size(name: str, configs: dict[str, dict[str, Any]]) -> None:
    network = on_meta(configs[name])
    parameters = sum(tensor.numel() for tensor in network.parameters())
    counted = {
        **TIMM,
        **dict.fromkeys(IR50, ir_parameters((3, 4, 14, 3), gate=False)),
        "irse50": ir_parameters((3, 4, 14, 3), gate=True),
        "ir152": ir_parameters((3, 8, 36, 3), gate=False),
    }
    assert parameters == counted.get(name, parameters)
    size = configs[name]["inputs"]["size"]
    assert network.eval()(torch.empty(2, 3, *size, device="meta")).shape == (2, 512)


@pytest.mark.parametrize("name", PUBLISHED)
def test_cards_say_where_what_and_under_which_terms(name: str, configs: dict[str, dict[str, Any]]) -> None:
    config = configs[name]
    card, weights = config["card"], config["weights"]
    assert config["name"] == name
    assert card["page"].startswith("https://")
    assert all(card[f"licence_{part}"] for part in ("code", "weights", "training_data"))
    assert card["note"]
    assert card["clean_top1"] is None, "only what was measured here is stated as measured"
    assert set(weights) == {"_target_", "path", "urls", "member", "sha256", "state_key", "strip_prefix"}
    assert (weights["member"] is not None) == any(url.endswith(".zip") for url in weights["urls"])


def test_legacy_thresholds_are_those_of_the_papers(configs: dict[str, dict[str, Any]]) -> None:
    stated = {name: config["card"]["legacy_thresholds"] for name, config in configs.items()}
    assert {name: values for name, values in stated.items() if values is not None} == {
        "ir152": [0.094632, 0.166788, 0.227922],
        "irse50": [0.144840, 0.241045, 0.312703],
        "facenet": [0.256587, 0.409131, 0.591191],
        "mobile_face": [0.183635, 0.301611, 0.380878],
    }


@pytest.mark.parametrize("loss", ["softmax", "cosface", "arcface"])
def test_disputed_scale_is_the_only_difference_in_computation(loss: str, configs: dict[str, dict[str, Any]]) -> None:
    opom, facecloak = (configs[f"{project}_ir50_{loss}"] for project in ("opom", "facecloak"))
    assert opom["network"] == facecloak["network"]
    levels = torch.tensor([0.0, 100.0, 255.0]).view(1, 1, 1, 3).expand(1, 3, 112, 3)

    def seen(config: dict[str, Any]) -> Tensor:
        inputs = instantiate({**config["inputs"], "size": [112, 3]}, _convert_="all")
        return inputs.prepare(levels / 255)

    torch.testing.assert_close(seen(opom), (levels - 127.5) * 0.078125)
    torch.testing.assert_close(seen(facecloak), (levels - 127.5) / 127.5)


def random_state(network: nn.Module) -> dict[str, Tensor]:
    """Weights for a network on the meta device: small, with sound batch statistics."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, tensor in network.state_dict().items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(1)
        elif tensor.ndim > 1:
            scale = max(1, tensor[0].numel()) ** -0.5
            state[key] = scale * torch.randn(tensor.shape, generator=generator)
        else:
            state[key] = 0.5 + torch.rand(tensor.shape, generator=generator)
    return state


NARROW = {"network__blocks": [1, 2, 1, 1], "network__channels": [16, 16, 16, 32]}
SMALL: dict[str, dict[str, Any]] = {
    "ir152": NARROW,
    "irse50": NARROW,
    "mobile_face": {},
    "facenet": {"network__repeats": [1, 1, 1], "network__width": 0.125},
    "facenet_casia": {"network__repeats": [1, 1, 1], "network__width": 0.125},
    "opom_ir50_softmax": NARROW,
    "facecloak_ir50_softmax": NARROW,
    "vit_tiny_arcface_ms1mv3": {"network__settings__depth": 2},
    "vit_small_cosface_ms1mv3": {"network__settings__depth": 1},
    "convnext_atto_cosface_ms1mv3": {},
}


@pytest.mark.parametrize("name", SMALL)
def test_files_in_the_public_layout_load_strictly(
    name: str, tmp_path: Path, configs: dict[str, dict[str, Any]]
) -> None:
    path = tmp_path / Path(configs[name]["weights"]["path"]).name
    config = changed(configs[name], weights__path=str(path), weights__sha256=None, **SMALL[name])
    state = random_state(on_meta(config))
    save: Callable[..., Any] = save_file if path.suffix == ".safetensors" else torch.save
    save(state, path)
    model = build_recogniser(config, name)
    images = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(1)).requires_grad_()
    embeddings = model.embed(images)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))
    (gradient,) = torch.autograd.grad(embeddings[:, 0].sum(), images)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).abs().amax(1) > 0).all()
    thresholds = model.card.legacy_thresholds
    assert thresholds is None or isinstance(thresholds, tuple)

    dropped = next(key for key in state if key.endswith("weight"))
    other = tmp_path / f"other{path.suffix}"
    save({key: value for key, value in state.items() if key != dropped}, other)
    with pytest.raises(ValueError, match=f"missing: {dropped}"):
        build_recogniser(changed(config, weights__path=str(other)), name)


def test_facenet_files_are_those_of_facenet_pytorch(configs: dict[str, dict[str, Any]]) -> None:
    facenet = pytest.importorskip("facenet_pytorch")
    for name, classes in (("facenet_vggface2", 8631), ("facenet", 8631), ("facenet_casia", 10575)):
        with torch.device("meta"):
            theirs = facenet.InceptionResnetV1(classify=True, num_classes=classes).state_dict()
        ours = on_meta(configs[name]).state_dict()
        assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}


def test_ir152_is_built_like_face_evolve(configs: dict[str, dict[str, Any]]) -> None:
    state = on_meta(configs["ir152"]).state_dict()
    firsts = [0, 3, 11, 47]  # 3, 8, 36 and 3 units a stage; only the first of a wider stage has a convolved shortcut
    assert [place for place in range(50) if f"body.{place}.shortcut_layer.0.weight" in state] == firsts[1:]
    assert state["body.49.res_layer.4.running_var"].shape == (512,)
    assert "body.50.res_layer.0.weight" not in state
    assert "body.0.res_layer.5.fc1.weight" not in state


def test_mobile_face_keys_are_those_of_insightface_pytorch() -> None:
    def block(name: str, inputs: int, outputs: int, kernel: int, groups: int = 1, linear: bool = False) -> None:
        expected[f"{name}.conv.weight"] = (outputs, inputs // groups, kernel, kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            expected[f"{name}.bn.{part}"] = (outputs,)
        expected[f"{name}.bn.num_batches_tracked"] = ()
        if not linear:
            expected[f"{name}.prelu.weight"] = (outputs,)

    def depthwise(name: str, inputs: int, outputs: int, inner: int) -> None:
        block(f"{name}.conv", inputs, inner, 1)
        block(f"{name}.conv_dw", inner, inner, 3, groups=inner)
        block(f"{name}.project", inner, outputs, 1, linear=True)

    expected: dict[str, tuple[int, ...]] = {"linear.weight": (512, 512)}
    block("conv1", 3, 64, 3)
    block("conv2_dw", 64, 64, 3, groups=64)
    depthwise("conv_23", 64, 64, 128)
    depthwise("conv_34", 64, 128, 256)
    depthwise("conv_45", 128, 128, 512)
    for name, count, channels, inner in (("conv_3", 4, 64, 128), ("conv_4", 6, 128, 256), ("conv_5", 2, 128, 256)):
        for place in range(count):
            depthwise(f"{name}.model.{place}", channels, channels, inner)
    block("conv_6_sep", 128, 512, 1)
    block("conv_6_dw", 512, 512, 7, groups=512, linear=True)
    for part in ("weight", "bias", "running_mean", "running_var"):
        expected[f"bn.{part}"] = (512,)
    expected["bn.num_batches_tracked"] = ()
    with torch.device("meta"):
        state = MobileFace().state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == expected


def test_mobile_face_takes_its_steps_in_order() -> None:
    """Against the same layers called one by one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = MobileFace().eval()
    images = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    x = network.conv2_dw(network.conv1(images))
    for name in ("conv_23", "conv_3", "conv_34", "conv_4", "conv_45", "conv_5", "conv_6_sep", "conv_6_dw"):
        x = network.get_submodule(name)(x)
    with torch.no_grad():
        torch.testing.assert_close(network(images), network.bn(F.linear(x.flatten(1), network.linear.weight)))


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in ONNX])
def test_missing_file_is_one_line_naming_the_page(
    name: str, tmp_path: Path, configs: dict[str, dict[str, Any]]
) -> None:
    config = configs[name]
    absent = {**config["weights"], "path": str(tmp_path / "absent"), "urls": []}
    with pytest.raises(ValueError, match="no weight file at") as error:
        build_recogniser({**config, "weights": absent}, name)
    assert "\n" not in str(error.value)
    assert config["card"]["page"] in str(error.value)
