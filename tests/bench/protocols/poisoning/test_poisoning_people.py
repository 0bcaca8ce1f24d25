"""Who is published in poisoning, and on whose photos attackers train."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from tiny_poisoning import (
    answers,
    compose,
    protocol_of,
    publication_of,
    questions,
)

from cloakbench.bench.engine.worker import Worker
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import Outcome, run
from cloakbench.bench.experiment.run_status import look_up
from cloakbench.bench.protocols.poisoning.training import unprotected_rows


def test_unprotected_photos_are_a_share_of_each_person_drawn_by_the_seed() -> None:
    identity = ("ann",) * 10 + ("bob",) * 5 + ("cleo",)
    rows = unprotected_rows(identity, 0.2, 0, 1)
    assert [sum(identity[row] == name for row in rows) for name in ("ann", "bob", "cleo")] == [2, 1, 0]
    assert rows == unprotected_rows(identity, 0.2, 0, 1)
    assert any(rows != unprotected_rows(identity, 0.2, 0, seed) for seed in range(2, 6))
    assert unprotected_rows(identity, 0.0, 0, 1) == []


def test_training_photos_are_the_published_ones_and_the_drawn_originals(finished: tuple[Outcome, DictConfig]) -> None:
    experiment = prepare(finished[1])
    publication, protocol, worker = publication_of(experiment), protocol_of(experiment), Worker(experiment.spec)
    number = [cell.label for cell in publication.cells].index("random_sign 16/255")
    photos = look_up(experiment).cells("poisoning")[number]
    plain, shared = (
        one.condition for one in questions(experiment, judge="small", regime="standard") if one.condition.draw == 0
    )
    whole = protocol.training_photos(plain, photos, worker)
    mixed = protocol.training_photos(shared, photos, worker)
    original = publication.faces.images
    back = [row for row in range(len(whole)) if torch.equal(mixed[row], original[row])]
    assert back == unprotected_rows(publication.faces.identity, 0.25, 0, 0)
    kept = [row for row in range(len(whole)) if row not in back]
    assert torch.equal(mixed[kept], whole[kept])
    assert (whole.int() - original.int()).abs().max() == 16


def test_people_can_be_fewer_and_masks_come_from_the_photos_they_go_onto(tmp_path: Path, faces_cache: Path) -> None:
    experiment = prepare(compose(tmp_path, faces_cache, "protocols.poisoning.identities=2"))
    publication = publication_of(experiment)
    assert publication.faces.identities() == experiment.faces["test"].identities()
    assert len(publication.faces.identities()) == 2
    for cell, units in zip(publication.cells, publication.units, strict=True):
        assert len(units) == 1, cell.label
        for planned in units:
            chunk = planned.unit.chunk
            assert all(set(rows) <= set(chunk.probes) and len(rows) == 3 for rows in chunk.references)


@pytest.mark.slow
def test_other_people_are_classes_of_the_attacker_and_of_nobody_else(tmp_path: Path, faces_cache: Path) -> None:
    two = "protocols.poisoning.identities=2"
    alone = prepare(compose(tmp_path, faces_cache, two))
    config = compose(tmp_path, faces_cache, two, "protocols.poisoning.other_identities=null")
    experiment = prepare(config)
    publication, others = publication_of(experiment), experiment.faces["others"]
    assert len(others.identities()) == 1
    assert set(others.identity).isdisjoint(publication.faces.identity)
    assert [one.unit.key for one in experiment.units] == [one.unit.key for one in alone.units]
    outcome = run(config)
    assert outcome.results.setup["poisoning_other_identities"] == 1
    everybody = publication_of(prepare(compose(tmp_path, faces_cache))).faces
    assert torch.equal(
        others.images, everybody.images[[name not in publication.faces.identities() for name in everybody.identity]]
    )
    assert {answer for row in answers(experiment).values() for answer in row} <= {0, 1, 2}
    report = (outcome.folder / "report.md").read_text(encoding="utf-8")
    assert "An attacker who guesses scores 66.7." in report


def test_others_are_told_apart_by_whom_they_come_after(tmp_path: Path, faces_cache: Path) -> None:
    world = ("dataset.poison_identities=4", "protocols.poisoning.other_identities=1")
    after = {
        count: prepare(compose(tmp_path, faces_cache, *world, f"protocols.poisoning.identities={count}"))
        for count in (2, 3)
    }
    assert after[2].spec.faces["others"] != after[3].spec.faces["others"]
    inputs = [dict(questions(one)[0].judge.inputs)["others"] for one in after.values()]
    assert inputs[0] != inputs[1]
