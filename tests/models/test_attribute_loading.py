"""From weight files to attribute classifiers: what the outputs must be, and the checks made once at load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf.errors import MissingMandatoryValue
from torch import Tensor, nn

from cloakbench.models.attribute_loading import load_attribute_model
from cloakbench.models.attributes import AttributeModel, AttributeOutput
from cloakbench.models.base import InputSpec
from cloakbench.models.weight_file import WeightError, WeightFile

CONF = Path(__file__).resolve().parents[2] / "conf"
CARD = {"family": "tiny", "backbone": "TinyHeads", "training_set": "noise"}
AGE = AttributeOutput("age", "value", unit="years")
GLASSES = AttributeOutput("glasses", "probabilities", ("without", "with"))


class TinyHeads(nn.Module):
    """Images ``[N, 3, 16, 16]`` to an age ``[N, 1]`` and two probabilities; ``how`` names what goes wrong."""

    def __init__(self, how: str = "") -> None:
        super().__init__()
        self.how = how
        self.age = nn.Linear(768, 1)
        self.glasses = nn.Linear(768, 2)

    def forward(self, x: Tensor) -> object:
        age, glasses = self.age(x.flatten(1)), self.glasses(x.flatten(1))
        right = (age, glasses.softmax(1))
        results: dict[str, Callable[[], object]] = {
            "": lambda: right,
            "a list": lambda: list(right),
            "one": lambda: age,
            "swapped": lambda: right[::-1],
            "logits": lambda: (age, glasses),
            "nan": lambda: (age * torch.nan, right[1]),
            "detached": lambda: (age, right[1].detach()),
            "constant": lambda: (age * 0, right[1]),
            "one batch": lambda: (age.sum(), right[1]),
        }
        return results[self.how]()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(TinyHeads().state_dict(), tmp_path / "tiny.pth")
    return tmp_path / "tiny.pth"


def _load(path: Path, how: str = "", size: int = 16, **card: str) -> AttributeModel:
    weights, inputs = WeightFile(str(path)), InputSpec((size, size))
    return load_attribute_model("tiny", weights, inputs, [AGE, GLASSES], {**CARD, **card}, lambda: TinyHeads(how))


@pytest.mark.parametrize("how", ["", "a list"])
def test_answers_are_the_networks_by_name(path: Path, how: str) -> None:
    model = _load(path, how)
    images = torch.rand(3, 3, 16, 16)
    age, glasses = model.network((images - 0.5) / 0.5)
    answers = model.logits(images)
    assert torch.equal(answers["age"], age)
    torch.testing.assert_close(answers["glasses"].softmax(1), glasses)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.train().training is False


@pytest.mark.parametrize(
    ("how", "hint"),
    [
        ("one", "has 1 outputs, and outputs describes 2"),
        ("swapped", r"age is \[2, 2\] for two images, not \[2, 1\]: correct the classes or the order"),
        ("logits", "glasses gives no probabilities, but its kind is 'probabilities'"),
        ("nan", "age is not finite"),
        ("detached", "glasses has no usable gradient"),
        ("constant", "age has no usable gradient"),
        ("one batch", r"age is \[\] for two images"),
    ],
)
def test_what_does_not_answer_as_described_is_refused_at_load(path: Path, how: str, hint: str) -> None:
    with pytest.raises(WeightError, match=hint) as error:
        _load(path, how)
    assert "\n" not in str(error.value)


def test_probabilities_called_logits_are_refused(path: Path) -> None:
    outputs = [AGE, AttributeOutput("glasses", "logits", ("without", "with"))]
    with pytest.raises(WeightError, match="glasses gives probabilities, but its kind is 'logits'"):
        load_attribute_model("tiny", WeightFile(str(path)), InputSpec((16, 16)), outputs, CARD, TinyHeads)


def test_wrong_input_size_is_refused_at_load(path: Path) -> None:
    with pytest.raises(WeightError, match=r"does not take two images of size \[32, 32\]: check inputs\.size"):
        _load(path, size=32)


def test_unknown_card_field_is_named(path: Path) -> None:
    with pytest.raises(WeightError, match="'clean_top1'"):
        _load(path, clean_top1="1")


def test_a_checkpoint_of_ones_own_works_from_a_config_folder(path: Path, tmp_path: Path) -> None:
    group = tmp_path / "conf" / "attribute_model"
    group.mkdir(parents=True)
    (group / "mine.yaml").write_text(
        f"""
defaults: [checkpoint, _self_]
name: mine
weights: {{path: {path}, state_key: net}}
network: {{_target_: torch.nn.Sequential, _args_: [{{_target_: torch.nn.Flatten}},
  {{_target_: torch.nn.Linear, in_features: 768, out_features: 3}}]}}
inputs: {{size: [16, 16], mean: 0.5, std: 0.5}}
outputs:
  - _target_: cloakbench.models.attributes.AttributeOutput
    name: hair
    kind: logits
    classes: [dark, fair, grey]
card: {{family: mine}}
"""
    )
    torch.save({"net": nn.Sequential(nn.Flatten(), nn.Linear(768, 3)).state_dict()}, path)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=["+attribute_model=mine", f"hydra.searchpath=[file://{tmp_path}/conf]"])
    model = instantiate(config.attribute_model)
    assert model.outputs[0].classes == ("dark", "fair", "grey")
    assert model.card.backbone == "mine"
    assert model.card.view == "aligned"


@pytest.mark.parametrize("preset", ["onnx", "checkpoint"])
def test_generic_presets_insist_on_what_they_cannot_know(preset: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=[f"+attribute_model={preset}"])
    with pytest.raises(MissingMandatoryValue):
        instantiate(config.attribute_model)
