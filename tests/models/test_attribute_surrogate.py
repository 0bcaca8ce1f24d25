"""Attribute networks in the order of a task, and sets of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.attribute_task import AttributeTask, AttributeTaskError
from cloakbench.methods.context import NetworkKind, ProtectContext
from cloakbench.models.attribute_surrogate import AttributeSurrogate
from cloakbench.models.attributes import AttributeCard, AttributeModel, AttributeOutput, AttributeSet
from cloakbench.models.base import InputSpec

SIDE = 8
GENDER = {"classes": {"female": {"labels": [1], "called": ["woman"]}, "male": {"labels": [0], "called": ["man"]}}}
AGE = {"bins": {"start": 0, "width": 20}, "classes": {"young": {}, "grown": {}, "old": {}}}
MOOD = {
    "called": ["expression"],
    "classes": {"good": {"labels": [0], "called": ["happy", "calm"]}, "bad": {"labels": [1], "called": ["sad"]}},
}


class Fixed(nn.Module):
    """Linear answers of the widths asked for, from fixed weights."""

    def __init__(self, *widths: int, scale: float = 1.0) -> None:
        super().__init__()
        self.widths = widths
        stream = generator("fixed", *widths)
        self.weight = nn.Parameter(scale * torch.randn(sum(widths), 3 * SIDE * SIDE, generator=stream))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return (images.flatten(1) @ self.weight.T).split(self.widths, dim=1)


def model(name: str, *outputs: AttributeOutput, view: Any = "aligned", scale: float = 1.0) -> AttributeModel:
    network = Fixed(*(len(output.classes) or 1 for output in outputs), scale=scale)
    card = AttributeCard(name, f"family of {name}", "linear", "noise", f"digest of {name}", view=view)
    return AttributeModel(network, InputSpec((SIDE, SIDE), 0.0, 1.0), outputs, card)


def photos(count: int = 4) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=generator("photos"))


MAN_OR_WOMAN = AttributeOutput("gender", "logits", ("man", "woman"))
YEARS = AttributeOutput("age", "value", unit="years")
THREE_MOODS = AttributeOutput("expression", "logits", ("sad", "calm", "happy"))


def test_answers_come_in_the_order_of_the_task_and_its_classes() -> None:
    one = model("all", THREE_MOODS, MAN_OR_WOMAN)
    surrogate = AttributeSurrogate(one, AttributeTask("mine", {"gender": GENDER, "mood": MOOD}))
    raw, scores = one.logits(photos()), surrogate.logits(photos())
    assert list(scores) == ["gender", "mood"] == list(surrogate.names)
    assert torch.equal(scores["gender"], raw["gender"][:, [1, 0]])
    # Two classes of the network are one of the task: their probabilities add up.
    expected = raw["expression"].softmax(1)
    torch.testing.assert_close(scores["mood"].softmax(1), torch.stack([expected[:, 1:].sum(1), expected[:, 0]], 1))
    assert surrogate.answered_together == (("gender", "mood"),)


def test_a_value_scores_bins_by_the_squared_error_in_bin_widths() -> None:
    one = model("years", YEARS, scale=6.0)
    surrogate = AttributeSurrogate(one, AttributeTask("mine", {"age": AGE}))
    years = one.logits(photos(200))["age"]
    scores = surrogate.logits(photos(200))["age"]
    torch.testing.assert_close(scores, -(((years - torch.tensor([10.0, 30.0, 50.0])) / 20) ** 2))
    bins = (years.squeeze(1) / 20).floor().clamp(0, 2).long()
    assert torch.equal(scores.argmax(dim=1), bins) and set(bins.tolist()) == {0, 1, 2}
    assert surrogate.by_value == {"age"}


def test_a_set_is_one_label_of_which_only_the_networks_that_are_asked_are_run_and_counted() -> None:
    label = AttributeSet("set", [model("a", MAN_OR_WOMAN), model("b", YEARS), model("c", THREE_MOODS)])
    assert [output.name for output in label.outputs] == ["gender", "age", "expression"]
    assert list(label.logits(photos())) == ["gender", "age", "expression"]
    surrogate = AttributeSurrogate(label, AttributeTask("mine", {"mood": MOOD, "gender": GENDER}))
    assert len(surrogate.networks) == 2 and sorted(surrogate.answered_together) == [("gender",), ("mood",)]
    context = ProtectContext({NetworkKind.ATTRIBUTE_SURROGATE: (surrogate,)})
    (counted,) = context.attribute_surrogates
    images = photos().requires_grad_()
    scores = counted.logits(images)
    torch.autograd.grad(scores["gender"].sum(), images, retain_graph=True)
    assert (context.spent.forward_images, context.spent.backward_images) == (2 * 4, 4)
    torch.autograd.grad(scores["gender"].sum() + scores["mood"].sum(), images)
    assert context.spent.backward_images == 4 + 2 * 4


def test_surrogates_are_frozen_and_pass_gradients_to_the_pixels() -> None:
    surrogate = AttributeSurrogate(model("all", MAN_OR_WOMAN), AttributeTask("mine", {"gender": GENDER}))
    assert not any(parameter.requires_grad for parameter in surrogate.parameters())
    assert not any(part.training for part in surrogate.train().modules())
    images = photos().requires_grad_()
    (slope,) = torch.autograd.grad(surrogate.logits(images)["gender"][:, 0].sum(), images)
    assert (slope.abs().amax(dim=(1, 2, 3)) > 0).all()


@pytest.mark.parametrize(
    ("outputs", "attributes", "words"),
    [
        ([MAN_OR_WOMAN], {"race": GENDER}, r"answers race 0 times, and must once \(it answers gender\)"),
        ([YEARS], {"age": GENDER}, "answers age by a value, and the task has no bins for it"),
        (
            [THREE_MOODS],
            {"expression": GENDER},
            "answers expression as sad, calm, happy, the task asks for fem",
        ),
        (
            [AttributeOutput("gender", "logits", ("man", "woman", "other"))],
            {"gender": GENDER},
            "answers gender as man, woman, other, the task asks for female, male",
        ),
    ],
)
def test_a_model_that_does_not_fit_a_task_is_one_line(
    outputs: list[AttributeOutput], attributes: dict[str, Any], words: str
) -> None:
    with pytest.raises(AttributeTaskError, match=words) as error:
        AttributeSurrogate(model("all", *outputs), AttributeTask("mine", attributes))
    assert str(error.value).startswith("attribute model all and attribute task mine: ") and "\n" not in str(error.value)


def test_a_set_says_what_its_members_are_and_refuses_what_cannot_be_one() -> None:
    first, second = model("a", MAN_OR_WOMAN), model("b", YEARS)
    card = AttributeSet("set", [first, second]).card
    assert (card.name, card.family, card.backbone) == ("set", "family of a; family of b", "linear")
    assert card.weights_sha256 != AttributeSet("set", [second, first]).card.weights_sha256
    with pytest.raises(ValueError, match="set needs at least one member"):
        AttributeSet("set", [])
    with pytest.raises(ValueError, match="two of its members answer gender"):
        AttributeSet("set", [first, model("c", MAN_OR_WOMAN)])
    with pytest.raises(ValueError, match=r"different crops \(a: aligned, d: box\)"):
        AttributeSet("set", [first, model("d", YEARS, view="box")])
