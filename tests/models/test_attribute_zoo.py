"""Training an attribute classifier of the zoo, stopping and continuing it, and loading what it wrote."""

from __future__ import annotations

import copy
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.nn.modules.batchnorm import _BatchNorm

from cloakbench.bench.core.random_streams import generator
from cloakbench.models.attribute_zoo.balance import (
    BalancedCrossEntropy,
    balanced_accuracies,
    balanced_accuracy,
    classes_in_batches,
)
from cloakbench.models.attribute_zoo.loading import load_embedded_attributes
from cloakbench.models.attribute_zoo.member import AttributeMemberJob
from cloakbench.models.attribute_zoo.network import SharedAttributes, attribute_network
from cloakbench.models.attributes import AttributeModel, AttributeSet
from cloakbench.models.base import InputSpec
from cloakbench.models.training import resumable
from cloakbench.models.training.command import run_zoo
from cloakbench.models.weight_file import WeightError
from cloakbench.models.zoo import read_weights

TESTS = Path(__file__).resolve().parent
BACKBONE: dict[str, Any] = {
    "_target_": "cloakbench.models.backbones.vgg.VGG",
    "_partial_": True,
    "convolutions": [1, 1],
    "channels": [4, 6],
    "pool": 4,
}
TASK = {
    "_target_": "cloakbench.datasets.attribute_task.AttributeTask",
    "name": "toy",
    "attributes": {
        "band": {"classes": {"absent": {"labels": [0]}, "present": {"labels": [1]}}},
        "tint": {"classes": {"red": {"labels": [0]}, "green": {"labels": [1]}, "blue": {"labels": [2]}}},
    },
}
SETTINGS: dict[str, Any] = {
    "seed": 5,
    "model": {
        "family": "vgg",
        "attribute_models": "shared",
        "backbone": BACKBONE,
        "embedding_size": 8,
        "inputs": {"_target_": "cloakbench.models.base.InputSpec"},
    },
    "task": TASK,
    "judged_by": {
        "coarse": {
            "_target_": "cloakbench.datasets.attribute_task.AttributeTask",
            "name": "coarse",
            "attributes": {
                "tint": {
                    "classes": {
                        "warm": {"labels": [0], "called": ["red"]},
                        "cold": {"labels": [1, 2], "called": ["green", "blue"]},
                    }
                }
            },
        }
    },
    "judged_on": {"_target_": "faces.toy_labelled", "identities": 10, "images_per_identity": 3, "seed": 10},
    "label_smoothing": 0.05,
    "faces": {"_target_": "faces.toy_labelled", "identities": 24, "images_per_identity": 6, "seed": 1},
    "training": {
        "_target_": "cloakbench.models.training.recipe.Recipe",
        "epochs": 12,
        "batch_size": 16,
        "learning_rate": 0.1,
        "warmup_share": 0.1,
        "floor_share": 0.002,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "ramp_share": 0.0,
        "flip": True,
        "adversarial_share": 0.0,
        "adversarial_epsilon_255": 4,
        "adversarial_from": 0.5,
    },
}
UNSEEN = {"_target_": "faces.toy_labelled", "identities": 12, "images_per_identity": 3, "seed": 9}
BOTH = ("shared", "separate")
_JUDGED = ("tasks", "judged_on", "judges", "judging_digest")


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


@pytest.fixture(autouse=True)
def toy_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets Hydra find ``faces.toy_labelled``."""
    monkeypatch.syspath_prepend(str(TESTS))


def settings_of(attribute_models: str = "shared", **changes: Any) -> dict[str, Any]:
    settings = copy.deepcopy(SETTINGS) | changes
    settings["model"]["attribute_models"] = attribute_models
    return settings


def job(folder: Path, attribute_models: str = "shared", **changes: Any) -> AttributeMemberJob:
    settings = settings_of(attribute_models, **changes)
    return AttributeMemberJob("toy", settings, UNSEEN, folder / "weights", folder / "checkpoints", "cpu", 1)


def quiet(step: int, steps: int, loss: float) -> None:
    """No progress bar."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    sys.path.insert(0, str(TESTS))
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in BOTH}
    for kind, folder in folders.items():
        job(folder, kind).train(quiet)
    return folders


def card_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "weights" / "toy.json").read_text(encoding="utf-8"))


def load(folder: Path, attribute_models: Any, name: str = "toy", size: int = 8) -> AttributeModel:
    return load_embedded_attributes(
        name=name,
        family="vgg",
        stands_for="VGG-16",
        attribute_models=attribute_models,
        backbone=instantiate(BACKBONE, _convert_="all"),
        embedding_size=size,
        inputs=InputSpec(),
        folder=folder / "weights",
    )


@pytest.mark.parametrize("kind", BOTH)
def test_training_learns_what_people_show_whom_it_never_saw(trained: dict[str, Path], kind: str) -> None:
    card = card_of(trained[kind])
    assert set(card["clean"]) == {"band", "tint"} and min(card["clean"].values()) > 0.9
    assert set(card["tasks"]) == {"coarse"} and card["tasks"]["coarse"]["tint"] > 0.9
    assert card["classes"] == {"band": ["absent", "present"], "tint": ["red", "green", "blue"]}
    assert card["images_seen"] == 12 * 9 * 16 and card["training_set"] == "144 rendered faces of 24 identities"
    assert AttributeMemberJob.accuracy(card) == ("mean balanced accuracy", sum(card["clean"].values()) / 2)


@pytest.mark.parametrize("kind", BOTH)
def test_a_loaded_member_is_frozen_and_answers_as_it_was_measured(trained: dict[str, Path], kind: str) -> None:
    model, card = load(trained[kind], kind), card_of(trained[kind])
    faces = instantiate(UNSEEN)
    found = classes_in_batches(model, faces.images, 10, torch.device("cpu"))
    assert balanced_accuracies(found, faces.attributes) == pytest.approx(card["clean"], abs=1e-4)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(isinstance(part, _BatchNorm) or part.training for part in model.train().modules())
    assert isinstance(model, AttributeSet) == (kind == "separate") and len(model.members) == 1 + (kind == "separate")
    assert (model.card.name, model.card.family, model.card.stands_for) == ("toy", "vgg", "VGG-16")
    state = read_weights("toy", card["sha256"], trained[kind] / "weights")
    network = attribute_network(
        kind,
        instantiate(BACKBONE, _convert_="all"),
        {"band": 2, "tint": 3},
        8,
        (112, 112),  # type: ignore[arg-type]
    ).eval()
    network.load_state_dict(state)
    images = torch.rand(3, 3, 112, 112, generator=generator("images")).requires_grad_()
    for expected, answer in zip(network(InputSpec().prepare(images)), model.logits(images).values(), strict=True):
        torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-5)
        assert torch.autograd.grad(answer.sum(), images, retain_graph=True)[0].abs().amax(dim=(1, 2, 3)).min() > 0


def test_separate_networks_share_nothing() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = attribute_network(
            "separate", instantiate(BACKBONE, _convert_="all"), {"band": 2, "tint": 3}, 8, (112, 112)
        )
    images = torch.rand(4, 3, 112, 112, generator=generator("images"))
    band, _ = network(images)
    band.sum().backward()
    touched = {name.split(".")[1] for name, weight in network.named_parameters() if weight.grad is not None}
    assert touched == {"band"}
    assert all(isinstance(part, SharedAttributes) for part in network.get_submodule("networks").children())


@pytest.mark.parametrize("kind", BOTH)
def test_same_settings_same_bytes_also_after_a_kill(
    trained: dict[str, Path], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(resumable, "REPORT_EVERY", 1)

    def kill(step: int, steps: int, loss: float) -> None:
        if step == 20:
            raise Killed

    with pytest.raises(Killed):
        job(tmp_path, kind).train(kill)
    steps: list[int] = []
    job(tmp_path, kind).train(lambda step, total, loss: steps.append(step))
    assert steps[0] <= 21
    written = [(folder / "weights" / "toy.safetensors").read_bytes() for folder in (tmp_path, trained[kind])]
    assert written[0] == written[1]


def test_what_counts_as_done(trained: dict[str, Path]) -> None:
    assert job(trained["shared"]).is_done()
    assert not job(trained["shared"], "separate").is_done() and not job(trained["shared"], seed=6).is_done()
    task = copy.deepcopy(TASK)
    task["attributes"]["tint"]["classes"]["violet"] = task["attributes"]["tint"]["classes"].pop("blue")  # type: ignore
    assert not job(trained["shared"], task=task).is_done()
    assert job(trained["shared"], faces=SETTINGS["faces"] | {"cache": "elsewhere"}).is_done()


def test_other_judges_ask_a_trained_member_again_and_train_nothing(trained: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(trained["separate"] / "weights", tmp_path / "weights")
    others = {**SETTINGS["judged_on"], "identities": 8, "seed": 11}
    again = job(tmp_path, "separate", judged_on=others)
    assert not again.is_done()
    steps: list[int] = []
    card = again.train(lambda step, total, loss: steps.append(step))
    assert again.is_done() and steps == [] and card == card_of(tmp_path)
    before = card_of(trained["separate"])
    assert (before["judged_on"], card["judged_on"]) == tuple(
        f"{3 * count} rendered faces of {count} identities" for count in (10, 8)
    )
    faces = instantiate(others)
    found = classes_in_batches(load(tmp_path, "separate"), faces.images, 10, torch.device("cpu"))
    warm = balanced_accuracies({"tint": found["tint"].clamp(max=1)}, {"tint": faces.attributes["tint"].clamp(max=1)})
    assert card["tasks"]["coarse"] == pytest.approx(warm, abs=1e-4)
    assert {key: card[key] for key in card if key not in _JUDGED} == {
        key: before[key] for key in before if key not in _JUDGED
    }


def test_bad_weights_are_named(trained: dict[str, Path]) -> None:
    with pytest.raises(WeightError, match="run `make zoo`"):
        load(trained["shared"], "shared", "nobody")
    for wrong in ({"size": 6}, {"attribute_models": "separate"}):
        with pytest.raises(WeightError, match=r"do not fit conf/attribute_model/toy.yaml: .*; run `make zoo`"):
            load(trained["shared"], **({"attribute_models": "shared"} | wrong))
    with pytest.raises(ValueError, match="attribute_models is together: it must be one of shared, separate"):
        load(trained["shared"], "together")


@pytest.mark.slow
def test_the_zoo_command_trains_recognisers_and_attribute_classifiers(trained: dict[str, Path], tmp_path: Path) -> None:
    config = {
        "members": {"toy": settings_of() | {"evaluation": UNSEEN}},
        "evaluation": {"_target_": "faces.ToyWorld", "seed": 77},
        "only": None,
        "workers": 1,
        "threads": 1,
        "device": "cpu",
        "output": str(tmp_path / "weights"),
        "checkpoints": str(tmp_path / "checkpoints"),
    }
    run_zoo(OmegaConf.create(config))
    written = [(folder / "weights" / "toy.safetensors").read_bytes() for folder in (tmp_path, trained["shared"])]
    assert written[0] == written[1]


def test_every_class_weighs_the_same_in_the_loss() -> None:
    stream = generator("balance")
    labels = torch.stack([torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([2, 0, 0, 1, 1, 1])], dim=1)
    answers = [torch.randn(6, width, generator=stream) for width in (2, 3)]
    expected = []
    for logits, column in zip(answers, labels.unbind(1), strict=True):
        each = F.cross_entropy(logits, column, reduction="none")
        expected.append(torch.stack([each[column == one].mean() for one in column.unique()]).mean())
    torch.testing.assert_close(BalancedCrossEntropy(labels, [2, 3])(answers, labels), torch.stack(expected).mean())
    smoothed = F.cross_entropy(answers[0], labels[:, 0], torch.tensor([1 / 4, 1 / 2]), label_smoothing=0.0)
    torch.testing.assert_close(BalancedCrossEntropy(labels[:, :1], [2])(answers[:1], labels[:, :1]), smoothed)
    even = torch.tensor([[0], [1]])  # classes of one size: torch's own mean
    found = BalancedCrossEntropy(even, [2], 0.1)([answers[0][:2]], even)
    torch.testing.assert_close(found, F.cross_entropy(answers[0][:2], even[:, 0], label_smoothing=0.1))
    with pytest.raises(ValueError, match="attribute 2 has a class that no training photo shows"):
        BalancedCrossEntropy(labels, [2, 4])


def test_balanced_accuracy_is_the_mean_recall() -> None:
    labels, found = torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([0, 0, 0, 1, 1, 0])
    assert balanced_accuracy(found, labels, 2) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert balanced_accuracy(torch.zeros(6, dtype=torch.long), labels, 2) == 0.5
    with pytest.raises(ValueError, match="a photo of every class"):
        balanced_accuracy(found, labels, 3)
