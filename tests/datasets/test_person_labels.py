"""Labels of rendered people that the renderer knows nothing of."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

import cloakbench.datasets.synthetic
from cloakbench.datasets.base import FaceSet
from cloakbench.datasets.synthetic import identity, nuisance, palette, person_labels
from cloakbench.datasets.synthetic.face_batch import ATTRIBUTES
from cloakbench.datasets.synthetic.world import SyntheticWorld, training_faces


@pytest.fixture(scope="module")
def drawn() -> FaceSet:
    return training_faces(seed=5, identities=24, images_per_identity=2)


@pytest.fixture(scope="module")
def many() -> dict[str, torch.Tensor]:
    """Labels of people nobody draws."""
    names = [f"unseen/{number}" for number in range(3000)]
    people = identity.sample_identities(names, scale=1.3)
    shots = nuisance.sample_nuisances(names, people)
    own = {name: people.column(name) for name in identity.LABELS} | {
        name: shots.column(name) for name in nuisance.LABELS
    }
    batch = person_labels.FaceBatch(tuple(names), tuple(names), 1.3, 1.0)
    return own | person_labels.person_labels(batch, own)


def test_a_world_and_training_faces_have_the_six_labels_and_ten_more(drawn: FaceSet) -> None:
    assert list(drawn.attributes) == [*ATTRIBUTES, *person_labels.LABELS] and len(person_labels.LABELS) == 10
    world = SyntheticWorld(identities=2, references_per_identity=1, probes_per_identity=2, distractors=0)
    assert list(world.faces("probe").attributes) == list(drawn.attributes)
    assert all(set(drawn.attributes[name].tolist()) <= {0, 1} for name in person_labels.LABELS)


def test_labels_are_the_persons_whatever_the_photo_but_for_the_smile(drawn: FaceSet) -> None:
    for name in set(person_labels.LABELS) - {"smiling"}:
        first, second = drawn.attributes[name].view(-1, 2).unbind(dim=1)
        assert torch.equal(first, second), name
    assert torch.equal(drawn.attributes["smiling"] == 1, drawn.attributes["expression"] == 1)
    assert nuisance.EXPRESSIONS[1] == "smile"


def test_labels_follow_from_the_parameters_of_the_person(drawn: FaceSet) -> None:
    for row, name in enumerate(drawn.identity):
        person = identity.sample_identities([name], scale=1.3)
        labels = {
            label: bool(values[row]) for label, values in drawn.attributes.items() if label in person_labels.LABELS
        }
        assert labels["beard"] == (float(person.column("beard")) > 0.25)
        assert labels["freckles"] == (float(person.column("freckles")) > 0)
        assert labels["child"] == (identity.AGE_BUCKETS[int(person.column("age"))] == "child")
        assert labels["dark_hair"] == (palette.HAIR_NAMES[int(person.column("hair_color"))] in ("black", "brown"))
        assert labels["grey_hair"] == (palette.HAIR_NAMES[int(person.column("hair_color"))] == "grey")


def test_no_label_is_nearly_everybodys_or_nobodys_and_none_contradicts_another(many: dict[str, torch.Tensor]) -> None:
    shares = {name: float(many[name].double().mean()) for name in person_labels.LABELS}
    assert all(0.05 < share < 0.65 for share in shares.values()), shares
    feminine, child = many["gender"] == 0, many["child"] == 1
    for name in ("beard", "moustache", "bald"):
        assert not many[name][feminine].any() and not many[name][child].any(), name
    assert not many["make_up"][~feminine].any() and not (many["dark_hair"] & many["grey_hair"]).any()


def test_the_renderer_does_not_import_the_labels() -> None:
    """So that a label more, or another bound, renames no photo that was drawn and kept."""
    folder = Path(cloakbench.datasets.synthetic.__path__[0])
    queue, seen = ["face_batch"], set()
    while queue:
        seen.add(module := queue.pop())
        for node in ast.walk(ast.parse((folder / f"{module}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cloakbench.datasets.synthetic"):
                names = [node.module.rpartition(".")[2], *(alias.name for alias in node.names)]
                queue += [name for name in names if (folder / f"{name}.py").exists() and name not in seen]
    assert len(seen) >= 8 and "person_labels" not in seen
