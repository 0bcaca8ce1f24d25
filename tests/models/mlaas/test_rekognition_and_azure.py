"""Rekognition and Azure: what their adapters have to honour beside the common suite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from emulators.fleet import asked_of, connected, face
from emulators.server import Said

from cloakbench.bench.core.status import OK
from cloakbench.models.services import (
    COMPARE,
    MALFORMED,
    NOT_OFFERED,
    REFUSED,
)

Start = Callable[[str], Any]


# Rekognition


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rekognition", {"__type": "com.amazon.coral.service#ExpiredTokenException", "message": "expired"}),
        ("aliyun", {"Code": "InvalidSecurityToken.Expired", "Message": "expired", "RequestId": "1"}),
        ("tencent", {"Response": {"Error": {"Code": "AuthFailure.TokenFailure", "Message": "expired"}}}),
    ],
)
def test_temporary_keys_that_expired_end_a_service(start: Start, name: str, said: dict[str, Any]) -> None:
    pair = start(name)
    pair.emulator.respond = lambda asked: Said(said, 200 if name == "tencent" else 400)
    answer = pair.service.compare(face(1), face(2))
    assert (answer.status, answer.calls) == (REFUSED, 1)


def test_rekognition_is_asked_without_thresholds_and_filters(start: Start) -> None:
    pair = start("rekognition")
    seen = asked_of(pair)
    assert pair.service.compare(face(1), face(2)).score < 80  # below the vendor's default
    pair.service.found("cb_1")
    pair.service.enrol("cb_1", {"p1": face(1)})
    assert pair.service.search("cb_1", face(2), 5).matches[0].score < 80
    assert [one.json().get("QualityFilter") for one in seen] == ["NONE", None, "NONE", "NONE"]
    assert seen[0].json()["SimilarityThreshold"] == 0 and seen[3].json()["FaceMatchThreshold"] == 0


def test_rekognition_publishes_no_far(start: Start) -> None:
    assert start("rekognition").service.thresholds(COMPARE).by_far == {}


def test_rekognition_faces_without_a_similarity_are_malformed(start: Start) -> None:
    pair = start("rekognition")
    said = Said({"SourceImageFace": {}, "FaceMatches": [], "UnmatchedFaces": [{}]}, kind="application/x-amz-json-1.1")
    pair.emulator.respond = lambda asked: said
    answer = pair.service.compare(face(1), face(2))
    assert (answer.status, answer.score) == (MALFORMED, None)


def test_rekognition_takes_the_best_of_several_faces(start: Start) -> None:
    pair = start("rekognition")
    matches = [{"Similarity": 71.5, "Face": {}}, {"Similarity": 98.5, "Face": {}}, {"Similarity": 3.0, "Face": {}}]
    pair.emulator.respond = lambda asked: Said({"FaceMatches": matches}, kind="application/x-amz-json-1.1")
    assert pair.service.compare(face(1), face(2)).score == 98.5


def test_rekognition_age_is_a_range(start: Start) -> None:
    low, high = start("rekognition").service.attributes(face(1)).attributes["age"]
    assert high - low == 8.0


# Azure


def test_azure_without_approval_is_refused_with_the_page_to_apply_at(start: Start) -> None:
    pair = start("azure")
    pair.emulator.approved = False
    answer = pair.service.compare(face(1), face(2))
    assert answer.status == REFUSED and answer.calls == 1
    assert "missing approval" in answer.note and "https://aka.ms/facerecognition" in answer.note


def test_azure_takes_the_largest_of_several_faces(start: Start) -> None:
    """The emulator puts a tiny face with an id that nobody knows in front."""
    assert start("azure").service.compare(face(1), face(1, 1)).status == OK


def test_azure_trains_a_list_before_it_is_searched(start: Start) -> None:
    pair = start("azure")
    pair.service.found("cb_1")
    pair.service.enrol(
        "cb_1",
        {
            "p1": face(1),
        },
    )
    answer = pair.service.search("cb_1", face(1), 1)
    assert answer.status == MALFORMED and "NotTrained" in answer.note
    waits: list[float] = []
    pair.emulator.training_looks = 3
    service = pair.again(connection=connected(pair.emulator, sleep=waits.append))
    assert service.settle("cb_1").calls == 4 and waits == [1.0, 1.0]
    assert service.search("cb_1", face(1, 1), 1).status == OK


def test_azure_ranks_faces_below_its_own_threshold_too(start: Start) -> None:
    pair = start("azure")
    pair.service.found("cb_1")
    pair.service.enrol("cb_1", {"p1": face(1)})
    pair.service.settle("cb_1")
    pair.emulator.score = lambda a, b: 0.1
    assert [one.score for one in pair.service.search("cb_1", face(2), 1).matches] == [0.1]


def test_azure_waits_for_another_operation_on_the_list(start: Start) -> None:
    pair = start("azure")
    pair.service.found("cb_1")
    pair.emulator.faults = ["conflict"]
    answer = pair.service.enrol("cb_1", {"p1": face(1)})
    assert (answer.status, answer.retries) == (OK, 1)


def test_azure_offers_no_attributes_and_says_why(start: Start) -> None:
    answer = start("azure").service.attributes(face(1))
    assert answer.status == NOT_OFFERED and "retired" in answer.note and answer.calls == 0
