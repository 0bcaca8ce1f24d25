"""From weight files to recognisers: strict filling, the card, and the checks made once at load."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf.errors import MissingMandatoryValue
from torch import Tensor, nn

from cloakbench.models.base import InputSpec
from cloakbench.models.loading import fill, load_recogniser
from cloakbench.models.weight_file import WeightError, WeightFile

CONF = Path(__file__).resolve().parents[2] / "conf"
CARD = {"family": "tiny", "backbone": "TinyNet", "head": "none", "training_set": "noise"}


class TinyNet(nn.Module):
    """Images ``[N, 3, 16, 16]`` to ``[N, size]``."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)
        self.bn = nn.BatchNorm2d(4)
        self.linear = nn.Linear(256, size)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.bn(self.conv(x)).relu().flatten(1))


class Broken(TinyNet):
    """Goes wrong in the way ``how`` names."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        embedding = super().forward(x)
        results: dict[str, Callable[[], Tensor]] = {
            "pair": lambda: (embedding, embedding),  # type: ignore[dict-item,return-value]
            "map": lambda: self.conv(x),
            "one batch": lambda: embedding.reshape(1, -1),
            "nan": lambda: embedding / 0 * 0,
            "constant": lambda: 0 * embedding + torch.ones(8),
        }
        return results[self.how]()


@pytest.fixture
def source() -> TinyNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TinyNet().eval()


@pytest.fixture
def path(source: TinyNet, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.pth"
    torch.save({"net": source.state_dict()}, path)
    return path


def _load(path: Path, network: Callable[[], nn.Module] | None = TinyNet, size: int = 16):
    return load_recogniser("tiny", WeightFile(str(path), state_key="net"), InputSpec((size, size)), CARD, network)


def test_checkpoint_gives_the_source_networks_embeddings(source: TinyNet, path: Path) -> None:
    model = _load(path)
    images = torch.rand(3, 3, 16, 16)
    expected = nn.functional.normalize(source((images - 0.5) / 0.5), dim=1)
    torch.testing.assert_close(model.embed(images), expected, rtol=0, atol=1e-6)
    assert model.card.embedding_size == 8
    assert model.card.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_loading_leaves_the_global_random_state_alone(path: Path) -> None:
    before = torch.get_rng_state()
    _load(path)
    assert torch.equal(before, torch.get_rng_state())


def test_files_older_than_num_batches_tracked_load(source: TinyNet, path: Path) -> None:
    state = {key: value for key, value in source.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save({"net": state}, path)
    _load(path)


class WithTable(nn.Linear):
    """Keeps a table outside its state dict, as transformers keep positions."""

    table: Tensor

    def __init__(self) -> None:
        super().__init__(4, 2)
        self.register_buffer("table", torch.arange(4.0), persistent=False)


def test_tables_outside_the_state_dict_are_computed() -> None:
    state = {"weight": torch.ones(2, 4), "bias": torch.zeros(2)}
    before = torch.get_rng_state()
    module = fill(WithTable, state, Path("tiny.pth"))
    assert isinstance(module, WithTable)
    assert module.table.tolist() == [0, 1, 2, 3]
    assert torch.equal(module.weight, state["weight"])
    assert torch.equal(before, torch.get_rng_state())


def test_keys_that_do_not_fit_are_named_in_one_line(source: TinyNet) -> None:
    state = source.state_dict()
    state["fc.weight"] = state.pop("linear.bias")
    state["conv.weight"] = state["conv.weight"][:, :1]
    with pytest.raises(WeightError) as error:
        fill(TinyNet, state, Path("tiny.pth"))
    message = str(error.value)
    assert "missing: linear.bias" in message
    assert "unexpected: fc.weight" in message
    assert "wrong shape: conv.weight ([4, 1, 3, 3] in the file, [4, 3, 3, 3] in the network)" in message
    assert "\n" not in message


def test_long_lists_of_keys_are_cut() -> None:
    with pytest.raises(WeightError, match=r"missing: conv\.weight, conv\.bias, bn\.weight and 5 more"):
        fill(TinyNet, {"other": torch.zeros(1)}, Path("tiny.pth"))


@pytest.mark.parametrize(
    ("how", "hint"),
    [
        ("pair", "has 2 outputs"),
        ("map", r"not \[2, D\]"),
        ("one batch", "not \\[2, D\\]"),
        ("nan", "not finite"),
        ("constant", "no usable gradient"),
    ],
)
def test_what_is_no_recogniser_is_refused_at_load(path: Path, how: str, hint: str) -> None:
    with pytest.raises(WeightError, match=hint):
        _load(path, lambda: Broken(how))


def test_wrong_input_size_is_refused_at_load(path: Path) -> None:
    with pytest.raises(WeightError, match=r"does not take two images of size \[32, 32\]: check inputs\.size"):
        _load(path, size=32)


def test_checkpoint_without_a_network_is_refused(path: Path) -> None:
    with pytest.raises(WeightError, match=r"set network\._target_"):
        _load(path, None)


def test_unknown_card_field_is_named(path: Path) -> None:
    weights = WeightFile(str(path), state_key="net")
    with pytest.raises(WeightError, match="'licence'"):
        load_recogniser("tiny", weights, InputSpec((16, 16)), {**CARD, "licence": "MIT"}, TinyNet)


def test_generic_checkpoint_preset_works_from_the_command_line(path: Path) -> None:
    overrides = [
        "+model=checkpoint",
        "model.name=mine",
        f"model.weights.path={path}",
        "model.weights.state_key=net",
        "model.network._target_=torch.nn.Sequential",
        "model.inputs.size=[16,16]",
        "model.inputs.mean=[0.5,0.5,0.5]",
        "model.inputs.std=0.5",
        "model.card.family=mine",
        "model.network._args_=[{_target_:torch.nn.Flatten},{_target_:torch.nn.Linear,in_features:768,out_features:4}]",
    ]
    torch.save({"net": nn.Sequential(nn.Flatten(), nn.Linear(768, 4)).state_dict()}, path)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(
            overrides=[item.replace("model.network._args_", "+model.network._args_") for item in overrides]
        )
    model = instantiate(config.model)
    assert model.card.name == model.card.backbone == "mine"
    assert model.card.embedding_size == 4


@pytest.mark.parametrize("preset", ["onnx", "checkpoint"])
def test_generic_presets_insist_on_what_they_cannot_know(preset: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=[f"+model={preset}"])
    with pytest.raises(MissingMandatoryValue):
        instantiate(config.model)
