"""Tencent and Aliyun: what their adapters have to honour beside the common suite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from emulators.fleet import asked_of, blank, face
from emulators.server import Said

from cloakbench.bench.core.status import OK
from cloakbench.models.services import (
    COMPARE,
    MALFORMED,
    NO_FACE,
    QUOTA,
    REFUSED,
    SEARCH,
    SERVICE_FAILED,
    Thresholds,
)

Start = Callable[[str], Any]


# Tencent


@pytest.mark.parametrize(
    ("comparison", "by_far"),
    [("CompareFace", {1e-3: 40.0, 1e-4: 50.0, 1e-5: 60.0}), ("DetectFaceSimilarity", {1e-4: 70.0})],
)
def test_tencent_compares_by_either_operation(start: Start, comparison: str, by_far: dict[float, float]) -> None:
    pair = start("tencent")
    service = pair.again(comparison=comparison)
    answer = service.compare(face(1), face(1, 1))
    assert answer.status == OK and pair.emulator.calls == {comparison: 1}
    assert answer.model_version == ("3.0" if comparison == "CompareFace" else "")
    assert service.thresholds(COMPARE).by_far == by_far
    assert comparison in service.card.api_version  # no answer of one stands for the other


def test_tencent_scores_searches_on_a_scale_that_grows_with_the_gallery(start: Start) -> None:
    service = start("tencent").service
    assert service.thresholds(SEARCH, 7).by_far == service.thresholds(SEARCH, 10_000).by_far
    assert service.thresholds(SEARCH, 10_000).by_far[1e-3] == 80.0
    assert service.thresholds(SEARCH, 10_001).by_far[1e-3] == 90.0
    assert service.thresholds(SEARCH, 100_001) is None  # none published at these rates


def test_tencent_asks_for_every_match_and_no_quality(start: Start) -> None:
    pair = start("tencent")
    pair.service.found("cb_1")
    pair.service.enrol("cb_1", {"p1": face(1)})
    pair.service.search("cb_1", face(1, 1), 1)
    assert pair.emulator.asked_thresholds == [0]


def test_tencent_reads_only_the_attributes_that_were_asked_for(start: Start) -> None:
    pair = start("tencent")
    seen = asked_of(pair)
    answer = pair.service.attributes(face(1))
    assert seen[0].json()["FaceAttributesType"] == "Age,Gender,Emotion"
    assert set(answer.attributes) == {"gender", "age", "expression"}  # Smile and Mask came back as 0
    assert answer.attributes["age"] > 0


def test_tencent_keeps_people_of_two_galleries_apart(start: Start) -> None:
    """Numbers of people are unique in an account; the second gallery would be empty otherwise."""
    pair = start("tencent")
    for gallery in ("cb_1", "cb_2"):
        pair.service.found(gallery)
        answer = pair.service.enrol(gallery, {"p1": face(1)})
        assert pair.service.search(gallery, face(1, 1), 1).matches[0].face == answer.handles["p1"]


def test_tencent_separates_arrears_from_a_service_that_was_never_opened(start: Start) -> None:
    pair = start("tencent")
    for fault, status in (("quota", QUOTA), ("not_opened", REFUSED)):
        pair.emulator.faults = [fault]
        assert pair.service.compare(face(1), face(2)).status == status


def test_tencent_words_outside_the_documentation_are_malformed(start: Start) -> None:
    pair = start("tencent")
    found = {"Age": 30, "Gender": {"Type": 1}, "Emotion": {"Type": 9}}
    said = {"Response": {"FaceDetailInfos": [{"FaceDetailAttributesInfo": found}], "RequestId": "1"}}
    pair.emulator.respond = lambda asked: Said(said)
    answer = pair.service.attributes(face(1))
    assert (answer.status, dict(answer.attributes)) == (MALFORMED, {}) and "expression '9'" in answer.note


# Aliyun


def test_aliyun_compares_by_base64_and_uploads_for_all_else(start: Start) -> None:
    pair = start("aliyun")
    assert pair.service.compare(face(1), face(2)).calls == 1
    answer = pair.service.attributes(face(1))
    assert answer.calls == 3
    assert pair.emulator.calls == {"CompareFace": 1, "AuthorizeFileUpload": 1, "PostObject": 1, "RecognizeFace": 1}
    assert list(pair.emulator.files.values()) == [face(1).content]


def test_aliyun_confidence_zero_with_empty_boxes_is_no_face_and_so_is_the_refusal(start: Start) -> None:
    pair = start("aliyun")
    for pair.emulator.refuses_faceless in (False, True):
        for a, b in ((blank(), face(1)), (face(1), blank())):
            answer = pair.service.compare(a, b)
            assert (answer.status, answer.score) == (NO_FACE, None)
    pair.emulator.score = lambda a, b: 0.0
    assert pair.service.compare(face(1), face(2)).score == 0.0  # two faces, as unlike as can be


def test_aliyun_thresholds_come_with_the_answer(start: Start) -> None:
    answer = start("aliyun").service.compare(face(1), face(2))
    assert answer.thresholds == Thresholds({1e-3: 61.0, 1e-4: 69.0, 1e-5: 75.0}, None, "answer")


@pytest.mark.parametrize("endpoint", ["elsewhere.example", "not-aliyuncs.com", "elsewhere.example/.aliyuncs.com"])
def test_aliyun_uploads_to_no_host_but_the_vendors(start: Start, endpoint: str) -> None:
    pair = start("aliyun")
    pair.emulator.endpoint = endpoint
    service = pair.again(bucket_url="https://{bucket}.{endpoint}")
    answer = service.attributes(face(1))
    assert answer.status == MALFORMED and "not the vendor's" in answer.note
    assert pair.emulator.calls == {"AuthorizeFileUpload": 1}


def test_aliyun_separates_what_is_used_up_from_what_was_not_bought(start: Start) -> None:
    pair = start("aliyun")
    for fault, status in (("quota", QUOTA), ("not_bought", REFUSED)):
        pair.emulator.faults = [fault]
        assert pair.service.compare(face(1), face(2)).status == status


def test_aliyun_does_not_delete_for_ever_what_stays(start: Start) -> None:
    pair = start("aliyun")
    pair.service.found("cb_1")
    pair.service.enrol("cb_1", {"p1": face(1)})
    respond, deleted = pair.emulator.respond, Said({"RequestId": "1"})
    stays = {"x-acs-action": "DeleteFaceEntity"}.items()
    pair.emulator.respond = lambda asked: deleted if stays <= asked.headers.items() else respond(asked)
    answer = pair.service.forget("cb_1")
    assert (answer.status, answer.calls) == (SERVICE_FAILED, 3) and "still there" in answer.note
