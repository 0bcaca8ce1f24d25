"""Attribute networks in a Python call: by name, made in Python, and where they or their task do not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cloakbench

TASK = {
    "_target_": "cloakbench.datasets.attribute_task.AttributeTask",
    "name": "two",
    "attributes": {
        "gender": {"classes": {"feminine": {"labels": [0]}, "masculine": {"labels": [1]}}},
        "child": {"classes": {"absent": {"labels": [0]}, "present": {"labels": [1]}}},
    },
}


class Guesser(nn.Module):
    """Two attributes off one convolution."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Conv2d(3, 4, 9, 8), nn.PReLU(), nn.Flatten(), nn.Linear(676, 4))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.layers(images).split(2, dim=1)


def own(seed: int = 1, name: str = "own") -> cloakbench.AttributeModel:
    outputs = tuple(
        cloakbench.AttributeOutput(attribute, "logits", classes)
        for attribute, classes in (("gender", ("feminine", "masculine")), ("child", ("absent", "present")))
    )
    card = cloakbench.AttributeCard(name, "guessers", "one convolution", "none", "")
    return cloakbench.AttributeModel(Guesser(seed), cloakbench.InputSpec(mean=0.5, std=0.5), outputs, card)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_network_of_ones_own_and_a_named_one_judge_and_are_attacked(evaluate: Any, workers: int) -> None:
    more = {"attribute_targets": [own(), own(2, "other"), "attributes_vgg16"], "attribute_task": TASK}
    found = evaluate(
        "fgsm_m", attribute_surrogates=own(), protocols="attributes", budgets_255=[8], workers=workers, **more
    )
    assert not found.problems
    rates = found.measurements.query("metric == 'mosr'")
    assert set(rates["judge"]) == {"own", "other", "attributes_vgg16"} and (rates["n"] == 6).all()
    attacked = rates[rates["method"] == "fgsm_m"].set_index("judge")
    assert list(attacked["white_box"][["own", "other", "attributes_vgg16"]]) == [True, False, False]
    changed = found.measurements.query("metric == 'mosr_changed' and method == 'fgsm_m' and judge == 'own'")
    assert float(changed["value"].iloc[0]) > 0, "its own gradient moves no answer"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"attribute_targets": "nobody"}, "nobody"),
        ({"attribute_targets": nn.Linear(1, 1)}, "a Linear has no name"),
        ({"attribute_targets": {"mine": nn.Linear(1, 1)}}, "attribute_targets.mine is a Linear: .*AttributeModel"),
        ({"attribute_targets": "attributes_vgg16", "attribute_task": "celeba10"}, "answers attractive 0 times"),
        ({"attribute_targets": "attributes_vgg16", "attribute_task": 3}, "attribute_task is a int: give the name"),
        ({"attribute_targets": "attributes_vgg16"}, "attributes has no task: choose one"),
    ],
)
def test_what_does_not_fit_is_one_line(evaluate: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        evaluate("identity", protocols="attributes", **more)
    assert "\n" not in str(caught.value)
