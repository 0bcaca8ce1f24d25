"""The checks on faces: against counting by hand, on a right recogniser, and on recognisers with one planted mistake."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.config.networks import build_recogniser
from cloakbench.bench.core.checks import CheckResult
from cloakbench.bench.recognisers.face_checks import (
    CheckSettings,
    Faces,
    check_on_faces,
    leave_one_out_hits,
    separation,
    wrong_inputs,
)
from cloakbench.bench.statistics.intervals import identity_weights
from cloakbench.datasets.base import FaceSet
from cloakbench.datasets.synthetic.world import SyntheticWorld
from cloakbench.models.base import InputSpec, Recogniser
from cloakbench.models.training.evaluate import leave_one_out

SETTINGS = CheckSettings(resamples=100)
CHECKS = ["colour order", "input scale, not 10 times", "input scale, not a tenth", "input range", "clean Top-1"]


@pytest.fixture(scope="module")
def faces(faces_cache: Path) -> Faces:
    options = {"references_per_identity": 0, "auxiliary_identities": 0, "impostor_identities": 0}
    world = SyntheticWorld(identities=15, probes_per_identity=4, distractors=30, cache=faces_cache, **options)
    return Faces(world.faces("probe"), world.faces("distractor"))


@pytest.fixture(scope="module")
def model() -> Recogniser:
    plain: Any = OmegaConf.to_container(compose_config(["model=cosface_ir"], "recogniser").model, resolve=True)
    return build_recogniser(plain, "cosface_ir")


def with_inputs(model: Recogniser, inputs: InputSpec) -> Recogniser:
    return Recogniser(model.network, inputs, model.card)


def verdicts(results: list[CheckResult]) -> dict[str, str]:
    return {r.name: "skipped" if r.skipped else "passed" if r.passed else "failed" for r in results}


def test_a_right_recogniser_passes_every_check(model: Recogniser, faces: Faces) -> None:
    results = check_on_faces(model, faces, settings=SETTINGS)
    assert verdicts(results) == dict.fromkeys(CHECKS, "passed")
    assert "60 photos of 15 people" in results[0].detail
    assert "of 60 photos of 15 people, 30 others in the gallery" in results[-1].detail


@pytest.mark.parametrize("mistake", CHECKS[:4])
def test_a_planted_mistake_is_found_by_its_own_check(mistake: str, model: Recogniser, faces: Faces) -> None:
    """A recogniser with the wrong convention: the check that undoes the mistake sees the better one."""
    opposite = {"input scale, not 10 times": "input scale, not a tenth"}
    opposite |= {value: key for key, value in opposite.items()}
    planted = with_inputs(model, wrong_inputs(model.inputs)[mistake])
    found = verdicts(check_on_faces(planted, faces, settings=SETTINGS))
    assert found[opposite.get(mistake, mistake)] == "failed"


def test_the_usual_mistakes_of_an_input_convention() -> None:
    centred = wrong_inputs(InputSpec(mean=0.5, std=0.5))
    assert centred["colour order"].channel_order == "bgr"
    assert (centred["input range"].mean, centred["input range"].std) == (0, 1)
    assert centred["input scale, not 10 times"].std == pytest.approx(0.05)
    raw = wrong_inputs(InputSpec(mean=0.0, std=1 / 255, channel_order="bgr"))
    assert raw["colour order"].channel_order == "rgb"
    assert (raw["input range"].mean, raw["input range"].std) == (0.5, 1 / 255)
    per_channel = wrong_inputs(InputSpec(std=(0.1, 0.2, 0.3)))
    assert per_channel["input scale, not a tenth"].std == pytest.approx((1, 2, 3))


def test_grey_faces_cannot_tell_the_colour_order(model: Recogniser, faces: Faces) -> None:
    grey = replace(faces.known, images=faces.known.images[:, :1].repeat(1, 3, 1, 1))
    result = check_on_faces(model, Faces(grey), settings=SETTINGS)[0]
    assert result.skipped
    assert "grey" in result.detail


class Standardising(Recogniser):
    """Brings every image to mean 0 and deviation 1 by itself, as some FaceNet ports do."""

    def embed(self, images: Tensor) -> Tensor:
        pixels = self.inputs.prepare(images)
        centred = pixels - pixels.mean(dim=(1, 2, 3), keepdim=True)
        scaled = centred / centred.std(dim=(1, 2, 3), keepdim=True)
        return F.normalize(self.network(scaled).flatten(1), dim=1)


def test_a_network_that_standardises_its_input_has_no_scale_to_get_wrong(model: Recogniser, faces: Faces) -> None:
    network = Standardising(model.network, model.inputs, model.card)
    found = verdicts(check_on_faces(network, faces, settings=SETTINGS))
    assert [found[name] for name in CHECKS[1:4]] == ["skipped"] * 3
    assert found["colour order"] == "passed"


def test_without_faces_every_check_is_skipped_with_the_reason(model: Recogniser, faces: Faces) -> None:
    results = check_on_faces(model, None, "no faces at hand")
    assert verdicts(results) == dict.fromkeys(CHECKS, "skipped")
    assert {result.detail for result in results} == {"no faces at hand"}
    few = Faces(faces.known.select(range(20)))
    assert (
        "5 people with two photos or more, and 10 are needed" in check_on_faces(model, few, settings=SETTINGS)[0].detail
    )


def test_top1_is_held_against_the_card(model: Recogniser, faces: Faces) -> None:
    def top1(network: Recogniser, stated: float | None) -> CheckResult:
        network = Recogniser(network.network, network.inputs, replace(network.card, clean_top1=stated))
        return check_on_faces(network, faces, settings=SETTINGS)[-1]

    assert top1(model, 0.5).passed
    assert "above the card's 50.00%" in top1(model, 0.5).detail
    assert "the card states none" in top1(model, None).detail
    wrong = with_inputs(model, replace(model.inputs, std=0.005, channel_order="bgr"))
    assert not top1(wrong, 0.986).passed
    assert "below the card's 98.60%" in top1(wrong, 0.986).detail
    assert not top1(wrong, None).passed
    assert top1(wrong, 0.01).passed


def test_an_embedding_that_is_not_finite_fails_the_check(model: Recogniser, faces: Faces) -> None:
    nan = with_inputs(model, replace(model.inputs, std=float("nan")))
    results = check_on_faces(nan, faces, settings=SETTINGS)
    assert not any(result.passed for result in results)
    assert "60 of 60 faces have no finite embedding" in results[0].detail


def points(seed: int, people: int, photos: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    person = torch.arange(people).repeat_interleave(photos)
    centres = torch.randn(people, 8, generator=draw)
    return F.normalize(centres[person] + 0.8 * torch.randn(len(person), 8, generator=draw), dim=1), person


def test_separation_and_its_resamples_agree_with_loops_over_pairs() -> None:
    embeddings, person = points(0, people=6, photos=3)
    found = separation(embeddings, person, resamples=30, seed=5)

    def by_hand(draw: np.ndarray) -> tuple[float, float]:
        genuine, impostor = [], []
        for i in range(len(person)):
            for j in range(i):
                a, b = int(person[i]), int(person[j])
                score = float(embeddings[i].double() @ embeddings[j].double())
                (genuine if a == b else impostor).extend([score] * int(draw[a] if a == b else draw[a] * draw[b]))
        gap = np.mean(genuine) - np.mean(impostor)
        return float(gap), float(gap / np.sqrt((np.var(genuine) + np.var(impostor)) / 2))

    assert (found.gap, found.d_prime) == pytest.approx(by_hand(np.ones(6, dtype=int)))
    draws = np.concatenate([*identity_weights(6, 30, 5)])
    assert found.replicates == pytest.approx(np.array([by_hand(draw)[1] for draw in draws]))


def test_hits_agree_with_the_zoo_training_and_with_a_loop() -> None:
    embeddings, person = points(1, people=200, photos=3)  # more rows than one chunk
    others, _ = points(2, people=50, photos=1)
    hits = leave_one_out_hits(embeddings, person, others)
    same = person[:, None] == person[None]
    assert hits.double().mean() == pytest.approx(
        leave_one_out(embeddings @ embeddings.T, same, (embeddings @ others.T).amax(1))
    )
    for row in (0, 17, 599):
        scores = torch.cat([embeddings, others]) @ embeddings[row]
        scores[row] = -2
        best = int(scores.argmax())
        assert bool(hits[row]) == (best < len(person) and int(person[best]) == int(person[row]))
    assert not leave_one_out_hits(torch.ones(4, 1), torch.tensor([0, 0, 1, 1]), torch.empty(0, 1)).any()


def test_only_the_first_photos_of_a_person_count(model: Recogniser, faces: Faces) -> None:
    known = faces.known
    again = FaceSet(
        known.images.repeat(2, 1, 1, 1),
        (*known.image_id, *(f"{name} again" for name in known.image_id)),
        (*known.identity, *known.identity),
    )
    assert "75 photos of 15 people" in check_on_faces(model, Faces(again), settings=SETTINGS)[0].detail
