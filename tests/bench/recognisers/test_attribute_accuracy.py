"""Accuracy of attribute networks over labelled photos, against sums by hand, and the command that prints it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from cloakbench.bench.cli.main import main
from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.recognisers.attribute_accuracy import attribute_accuracies
from cloakbench.datasets.attribute_task import AttributeTask
from cloakbench.datasets.base import FaceSet
from cloakbench.models.attribute_surrogate import AttributeSurrogate
from cloakbench.models.attributes import AttributeCard, AttributeModel, AttributeOutput
from cloakbench.models.base import InputSpec
from cloakbench.models.conformance import check_attribute_model, smooth_images

TASK = AttributeTask(
    "toy",
    {
        "tint": {"classes": {"red": {"labels": [0]}, "green": {"labels": [1]}, "blue": {"labels": [2]}}},
        "light": {"classes": {"dark": {"labels": [0]}, "bright": {"labels": [1]}}},
    },
)


class Colours(nn.Module):
    """Says which channel is brightest, and whether the photo is."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        means = images.mean(dim=(2, 3))
        level = means.mean(dim=1, keepdim=True)
        return means, torch.cat([0.5 - level, level - 0.5], dim=1)


def network(view: str = "aligned", module: nn.Module | None = None) -> AttributeModel:
    outputs = (
        AttributeOutput("tint", "logits", ("red", "green", "blue")),
        AttributeOutput("light", "logits", ("dark", "bright")),
    )
    card = AttributeCard("toy", "none", "colours", "none", "", view=view)  # type: ignore[arg-type]
    return AttributeModel(module or Colours(), InputSpec(size=(8, 8), mean=0.0, std=1.0), outputs, card)


def faces(tint: list[int], light: list[int], people: list[str]) -> FaceSet:
    draws = generator("toy colours")
    images = torch.randint(0, 256, (len(people), 3, 8, 8), generator=draws, dtype=torch.uint8)
    names = tuple(f"{person}-{place}" for place, person in enumerate(people))
    return FaceSet(images, names, tuple(people), None, {"tint": torch.tensor(tint), "light": torch.tensor(light)})


def test_balanced_accuracy_and_confusion_are_those_by_hand() -> None:
    generated = generator("labels")
    tint, light = (torch.randint(width, (40,), generator=generated).tolist() for width in (3, 2))
    people = [f"p{place % 8}" for place in range(40)]
    asked = faces(tint, light, people)
    found, unlabelled = attribute_accuracies(AttributeSurrogate(network(), TASK), asked, 7, torch.device("cpu"), 200, 0)
    assert [each.name for each in found] == ["tint", "light"] and unlabelled == 0
    pixels = asked.images.double() / 255
    answers: Mapping[str, list[int]] = {
        "tint": pixels.mean(dim=(2, 3)).argmax(dim=1).tolist(),
        "light": (pixels.mean(dim=(1, 2, 3)) > 0.5).long().tolist(),
    }
    for each, labels in zip(found, (tint, light), strict=True):
        said = answers[each.name]
        pairs = pd.crosstab(pd.Series(labels), pd.Series(said)).reindex(
            index=range(len(each.classes)), columns=range(len(each.classes)), fill_value=0
        )
        assert (each.confusion == pairs.to_numpy()).all()
        recalls = [
            np.mean([answer == label for answer, own in zip(said, labels, strict=True) if own == label])
            for label in sorted(set(labels))
        ]
        assert each.value == pytest.approx(np.mean(recalls))
        assert each.accuracy == pytest.approx(np.mean(np.array(said) == labels))
        assert each.low <= each.value <= each.high and each.high - each.low > 0.02
        assert (each.photos, each.people) == (40, 8)


def test_intervals_come_from_drawing_people() -> None:
    """Photos of one person told alike: eight people are eight trials, however many photos they have."""

    class ByPerson(nn.Module):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            right = (images[:, 0, 0, 0] > 0.5).float()
            return torch.stack([right, 1 - right, 0 * right], dim=1), torch.stack([right, 1 - right], dim=1)

    def width(photos: int) -> float:
        people = [f"p{person}" for person in range(8) for _ in range(photos)]
        told = faces([0] * len(people), [0] * len(people), people)
        told.images[:, 0, 0, 0] = torch.tensor([255 * (int(person[1:]) % 2) for person in people])
        surrogate = AttributeSurrogate(network(module=ByPerson()), TASK)
        (tint, _), _ = attribute_accuracies(surrogate, told, 50, torch.device("cpu"), 500, 0)
        assert tint.value == 0.5 and tint.classes == ("red",)  # others are on no photo
        return tint.high - tint.low

    assert width(1) == width(20) > 0.4


def test_photos_without_a_label_are_counted_and_one_person_gives_no_interval() -> None:
    told = faces([0, -1, 2, 1], [0, 1, -1, 1], ["p"] * 4)
    found, unlabelled = attribute_accuracies(AttributeSurrogate(network(), TASK), told, 2, torch.device("cpu"), 50, 0)
    assert unlabelled == 2 and found[0].photos == 2 and np.isnan(found[0].low)


def test_a_network_that_keeps_the_contract_passes_and_one_that_breaks_it_is_told() -> None:
    class Fine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tint, self.light = nn.Linear(192, 3), nn.Linear(192, 2)

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            pixels = images.flatten(1)
            return self.tint(pixels), self.light(pixels)

    class Company(Fine):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            return super().forward(images - images.mean(dim=0))

    class Wide(Fine):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            return super().forward(images)[::-1]

    images = smooth_images()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = [kind() for kind in (Fine, Company, Wide)]
    fine, company, wide = (check_attribute_model(network(module=one), images) for one in made)
    assert all(result.passed for result in fine) and len(fine) == 7
    assert "batch invariance" in [result.name for result in company if not result.passed]
    assert "tint: (4, 2), declared (4, 3)" in next(result.detail for result in wide if result.name == "answers")


def test_the_commands_check_and_verify_an_embedded_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "attribute_model=attributes_vgg16"]) == 0
    assert "12 attributes, finite float32" in capsys.readouterr().out
    few = ["dataset.identities=3", "dataset.distractors=0", f"paths.results={tmp_path}"]
    name = "attribute_model=attributes_vgg16"
    assert main(["verify", name, "dataset=synthetic", "attribute_task=world3", *few]) == 0
    shown = capsys.readouterr().out
    assert "asked world3: balanced accuracy" in shown and "gender: feminine" in shown
    (folder,) = (tmp_path / "verify").iterdir()
    about = json.loads((folder / "attributes.json").read_text())
    assert list(about["attributes"]) == ["gender", "age", "complexion"]
    confusion = pd.read_csv(folder / "confusion.csv")
    gender = confusion[confusion["attribute"] == "gender"]
    right = gender.loc[gender["label"] == gender["answer"], "photos"].sum()
    assert right / gender["photos"].sum() == pytest.approx(about["attributes"]["gender"]["accuracy"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "attribute_model=nobody"], "nobody"),
        (
            ["verify", "attribute_model=attributes_vgg16", "attribute_task=celeba10"],
            "the model answers attractive 0 times",
        ),
        (
            ["verify", "attribute_model=attributes_vgg16", "attribute_task=utkface3"],
            "attribute task utkface3: the model answers",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main(words) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and re.search(message, said[0])
