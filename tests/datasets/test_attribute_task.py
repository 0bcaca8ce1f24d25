"""Attribute tasks: what labels mean, which photos have them, and what is wrong in a line."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import yaml
from documents import files
from hydra import compose, initialize_config_module
from hydra.utils import instantiate

from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets import listing
from cloakbench.datasets.attribute_task import UNLABELLED, AttributeTask, AttributeTaskError
from cloakbench.datasets.base import FaceSet

ABSENT_OR_PRESENT = {"absent": {"labels": [0]}, "present": {"labels": [1]}}


def task(**attributes: Any) -> AttributeTask:
    return AttributeTask("mine", attributes)


def faces(**labels: list[int]) -> FaceSet:
    count = len(next(iter(labels.values())))
    names = tuple(f"photo {number}" for number in range(count))
    columns = {name: torch.tensor(values) for name, values in labels.items()}
    return FaceSet(torch.zeros(count, 3, 2, 2, dtype=torch.uint8), names, names, attributes=columns)


def preset(name: str) -> AttributeTask:
    with initialize_config_module("cloakbench.conf", version_base="1.3"):
        return instantiate(compose(overrides=[f"+attribute_task={name}"]).attribute_task)


def test_the_presets_are_those_of_the_paper_and_their_stand_ins() -> None:
    classes = {name: [len(one.classes) for one in preset(name).attributes] for name in ("utkface3", "services3")}
    assert classes == {"utkface3": [2, 6, 5], "services3": [2, 6, 4]}
    assert preset("utkface3").names == ("gender", "age", "race")
    assert preset("celeba10").names == (
        *("attractive", "black_hair", "blond_hair", "chubby", "eyeglasses", "heavy_makeup", "male", "no_beard"),
        *("oval_face", "young"),
    )
    assert len(preset("world3").names) == 3 and len(preset("world10").names) == 10
    assert {len(one.classes) for name in ("celeba10", "world10") for one in preset(name).attributes} == {2}
    known = set(preset("world").names)
    for asked in (*preset("world3").attributes, *preset("world10").attributes):
        assert known & set(asked.called), asked.name


def test_chance_is_what_independent_guesses_miss() -> None:
    assert preset("utkface3").chance == pytest.approx(1 / 3)
    assert preset("celeba10").chance == pytest.approx(2.0**-10)
    draws = torch.rand(40_000, 3, generator=generator("guesses"))
    widths = torch.tensor([2, 6, 5])
    guesses, truth = (draws * widths).long(), torch.tensor([1, 3, 0])
    assert float((guesses != truth).all(dim=1).double().mean()) == pytest.approx(preset("utkface3").chance, abs=0.01)


def test_ages_are_binned_by_twenty_years_and_the_oldest_count_to_the_last() -> None:
    labels = preset("utkface3").labels(faces(gender=[0] * 8, race=[4] * 8, age=[0, 1, 19, 20, 39, 99, 100, 116]))
    assert labels.classes["age"].tolist() == [0, 0, 0, 1, 1, 4, 5, 5]
    assert labels.classes["race"].tolist() == [4] * 8 and labels.unlabelled == 0
    (age,) = (one for one in preset("utkface3").attributes if one.name == "age")
    assert age.centres == (10, 30, 50, 70, 90, 110)


def test_several_labels_may_be_one_class() -> None:
    coarse = task(age={"classes": {"young": {"labels": [0, 1]}, "old": {"labels": [3, 2]}}})
    assert coarse.labels(faces(age=[3, 0, 2, 1])).classes["age"].tolist() == [1, 0, 1, 0]


def test_photos_without_a_label_are_counted_and_left_out() -> None:
    assert UNLABELLED == listing.UNKNOWN
    both = task(
        hat={"classes": ABSENT_OR_PRESENT}, age={"bins": {"start": 0, "width": 50}, "classes": {"a": {}, "b": {}}}
    )
    labels = both.labels(faces(hat=[1, UNLABELLED, 0, 1], age=[60, 10, UNLABELLED, 4]))
    assert labels.rows.tolist() == [0, 3] and labels.unlabelled == 2
    assert {name: column.tolist() for name, column in labels.classes.items()} == {"hat": [1, 1], "age": [1, 0]}


def test_the_task_of_the_documents_means_what_it_says() -> None:
    config = yaml.safe_load(files("docs/adding.md", "yaml")["my_conf/attribute_task/my_task.yaml"])
    documented: AttributeTask = instantiate(config)
    labels = documented.labels(faces(Eyeglasses=[1, 0, 1], age=[29, 30, 95]))
    assert {name: column.tolist() for name, column in labels.classes.items()} == {
        "glasses": [1, 0, 1],
        "age": [0, 1, 2],
    }
    glasses, _ = documented.attributes
    assert [part.called for part in glasses.classes] == [
        ("absent", "no", "none"),
        ("present", "reading glasses", "sunglasses"),
    ]


def test_the_first_attributes_are_a_task() -> None:
    part = preset("celeba10").first(3)
    assert part.names == ("attractive", "black_hair", "blond_hair") and part.chance == 1 / 8
    for count in (0, 11):
        with pytest.raises(AttributeTaskError, match=f"10 attributes, so {count} of them cannot be taken"):
            preset("celeba10").first(count)


def one_line(error: pytest.ExceptionInfo[AttributeTaskError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_attribute_that_the_data_set_lacks_is_named_with_what_there_is() -> None:
    with pytest.raises(AttributeTaskError) as error:
        preset("utkface3").labels(faces(gender=[0], age=[3]))
    assert one_line(error).startswith(
        "attribute task utkface3: the data set has no label 'race' (labels: gender, age); use a task that fits"
    )


def test_a_label_of_no_class_is_named_with_its_photo() -> None:
    with pytest.raises(AttributeTaskError) as error:
        preset("utkface3").labels(faces(gender=[0, 0, 0], age=[3, 3, 3], race=[0, 7, 9]))
    assert one_line(error).startswith("attribute task utkface3: label 7 of race (of photo 1, 2 photos in all) belongs")
    with pytest.raises(AttributeTaskError, match="label -5 of age"):
        preset("utkface3").labels(faces(gender=[0], age=[-5], race=[0]))


def test_a_role_without_any_labelled_photo_is_refused() -> None:
    with pytest.raises(AttributeTaskError, match="none of the 2 photos has a label of each of hat"):
        task(hat={"classes": ABSENT_OR_PRESENT}).labels(faces(hat=[UNLABELLED, UNLABELLED]))


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({}, "it has no attributes"),
        ({"hat": {"classes": {"present": {"labels": [1]}}}}, "hat has 1 classes; give at least two"),
        ({"hat": {"classes": ABSENT_OR_PRESENT, "colour": 1}}, "hat has no setting colour; there are column"),
        ({"hat": {"classes": {"a": {"labels": [0]}, "b": {}}}}, r"hat.b has labels \[\]; give whole numbers"),
        ({"hat": {"classes": {"a": {"labels": [0]}, "b": {"labels": [0]}}}}, "hat: labels: 0 stands for two"),
        ({"hat": {"classes": {"a": {"labels": [0]}, "b": {"labels": [1], "called": ["a"]}}}}, "a stands for two"),
        ({"hat": {"bins": {"start": 0, "width": 2}, "classes": ABSENT_OR_PRESENT}}, "has labels beside bins"),
        ({"hat": {"bins": {"start": 0}, "classes": {"a": {}, "b": {}}}}, "hat.bins needs start and width"),
        ({"hat": {"bins": {"start": 0, "width": 0}, "classes": {"a": {}, "b": {}}}}, "hat.bins.width is 0"),
        (
            {"hat": {"classes": ABSENT_OR_PRESENT}, "cap": {"called": ["hat"], "classes": ABSENT_OR_PRESENT}},
            "attributes: hat stands for two things",
        ),
    ],
)
def test_a_task_that_is_wrong_in_itself_is_one_line(attributes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        AttributeTask("mine", attributes)
    assert "\n" not in str(error.value) and "mine" in str(error.value)
