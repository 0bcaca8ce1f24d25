"""What each vendor's adapter has to honour beside the common suite."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from emulators.fleet import blank, connected, face, noisy
from emulators.server import Asked, Said

from cloakbench.bench.core.status import OK
from cloakbench.models.pictures import Picture, PictureLimits
from cloakbench.models.services import (
    BAD_PICTURE,
    COMPARE,
    MALFORMED,
    NO_FACE,
    NOT_OFFERED,
    QUOTA,
    REFUSED,
    SEARCH,
    SERVICE_FAILED,
    THROTTLED,
    ServiceError,
    Thresholds,
)

Start = Callable[[str], Any]


def asked_of(pair: Any) -> list[Asked]:
    """Every request that the emulator is going to answer."""
    seen: list[Asked] = []
    respond = pair.emulator.respond

    def noted(asked: Asked) -> Said:
        seen.append(asked)
        return respond(asked)

    pair.emulator.respond = noted
    return seen


# Face++


def test_facepp_thresholds_belong_to_one_answer(start: Start) -> None:
    pair = start("facepp")
    first = pair.service.compare(face(1), face(2))
    pair.emulator.thresholds = {"1e-3": 10.0, "1e-4": 20.0, "1e-5": 30.0}
    second = pair.service.compare(face(1), face(2))
    assert first.thresholds == Thresholds({1e-3: 62.327, 1e-4: 69.101, 1e-5: 73.975}, None, "answer")
    assert second.thresholds == Thresholds({1e-3: 10.0, 1e-4: 20.0, 1e-5: 30.0}, None, "answer")
    assert pair.service.thresholds(COMPARE) is None and pair.service.thresholds(SEARCH) is None


def test_facepp_sees_no_face_below_150_pixels_and_says_so_beforehand_where_it_is_known(start: Start) -> None:
    pair = start("facepp")
    small = face(1, side_px=160)  # its face has three quarters of that
    assert pair.service.compare(small, face(1)).status == NO_FACE
    answer = pair.service.compare(replace(small, face_px=120.0), face(1))
    assert answer.status == BAD_PICTURE and "the smallest is 150" in answer.note
    assert pair.service.attributes(replace(small, face_px=120.0)).status == OK


def test_facepp_takes_two_megabytes_a_request_in_files_and_not_in_base64(start: Start) -> None:
    pair = start("facepp")
    seen = asked_of(pair)
    large = noisy(560)  # 0.94 MB: two fit into a request as they are, and would not as base64
    assert 2 * len(large.content) < 2 << 20 < 2 * len(large.content) * 4 / 3
    assert pair.service.compare(large, noisy(560, seed=1)).status == OK
    assert seen[0].headers["content-type"].startswith("multipart/form-data") and large.content in seen[0].body
    larger = noisy(700)
    answer = pair.service.compare(larger, larger)
    assert answer.status == BAD_PICTURE and "the request has" in answer.note and pair.emulator.total == 1


def test_facepp_413_in_plain_text_is_a_picture_that_is_too_large(start: Start) -> None:
    pair = start("facepp")
    pair.emulator.faults = ["too_large"]
    answer = pair.service.compare(face(1), face(2))
    assert answer.status == BAD_PICTURE and pair.emulator.total == 1


def test_facepp_403_is_the_rate_the_balance_or_a_refusal(start: Start) -> None:
    pair = start("facepp")
    for fault, status, calls in (("throttle", THROTTLED, 5), ("quota", QUOTA, 1), ("denied", REFUSED, 1)):
        pair.emulator.faults = [fault] * calls
        answer = pair.service.compare(face(1), face(2))
        assert (answer.status, answer.calls) == (status, calls)


def test_facepp_adds_five_tokens_with_one_call(start: Start) -> None:
    pair = start("facepp")
    pair.service.found("cb_1")
    answer = pair.service.enrol("cb_1", {f"p{number}": face(number) for number in range(5)})
    assert answer.status == OK and answer.calls == 6
    assert pair.emulator.calls["faceset/addface"] == 1 and len(pair.emulator.sets["cb_1"]) == 5


def test_facepp_searches_an_empty_set_without_failing(start: Start) -> None:
    pair = start("facepp")
    pair.service.found("cb_1")
    assert pair.service.search("cb_1", face(1), 5).matches == ()


def test_what_is_said_when_galleries_are_not_listed_is_one_line_without_keys(start: Start) -> None:
    pair = start("facepp")
    said = f"AUTHENTICATION_ERROR:{pair.emulator.key}\n{'ab' * 32}"
    pair.emulator.respond = lambda asked: Said({"error_message": said}, 401)
    with pytest.raises(ServiceError) as raised:
        pair.service.leftovers("cb_")
    assert str(raised.value) == "service facepp: AUTHENTICATION_ERROR:(left out) (left out)"


def test_facepp_lists_more_than_a_page_of_leftovers(start: Start) -> None:
    pair = start("facepp")
    pair.emulator.sets = {f"cb_{number}": [] for number in range(205)}
    assert len(pair.service.leftovers("cb_")) == 205


def test_matches_come_best_first_in_whatever_order_they_were_sent(start: Start) -> None:
    pair = start("facepp")
    results = [{"face_token": name, "confidence": score} for name, score in (("a", 12.5), ("b", 80.0), ("c", 12.5))]
    pair.emulator.respond = lambda asked: Said({"faces": [{}], "results": results, "thresholds": {"1e-3": 60.0}})
    assert [one.face for one in pair.service.search("cb_1", face(1), 3).matches] == ["b", "a", "c"]


# Baidu


@pytest.mark.parametrize("authentication", ["token", "bce"])
def test_baidu_is_opened_by_tokens_or_by_signatures(start: Start, authentication: str) -> None:
    pair = start("baidu")
    service = pair.again(authentication=authentication)
    assert service.compare(face(1), face(2)).status == OK
    assert service.compare(face(1), face(3)).status == OK
    assert pair.emulator.calls["token"] == (authentication == "token")


def test_baidu_buys_a_new_token_once_when_the_old_one_expires(start: Start) -> None:
    pair = start("baidu")
    pair.service.compare(face(1), face(2))
    pair.emulator.faults = ["match:expired"]
    answer = pair.service.compare(face(1), face(2))
    assert (answer.status, answer.calls, answer.retries) == (OK, 3, 1) and pair.emulator.sold == 2
    pair.emulator.faults = ["match:expired", "match:expired"]
    assert pair.service.compare(face(1), face(2)).status == REFUSED  # once, and not for ever
    assert pair.emulator.sold == 3


def test_baidu_buys_one_token_for_all_threads(start: Start) -> None:
    pair = start("baidu")
    threads = [threading.Thread(target=pair.service.compare, args=(face(1), face(2))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pair.emulator.calls == {"token": 1, "match": 8}


def test_baidu_is_asked_without_thresholds_and_controls(start: Start) -> None:
    pair = start("baidu")
    seen = asked_of(pair)
    pair.service.found("cb_1")
    pair.service.enrol("cb_1", {"p1": face(1)})
    assert pair.service.search("cb_1", face(2), 3).matches[0].score < 80  # below the vendor's default
    pair.service.compare(face(1), face(2))
    assert seen[-2].json()["match_threshold"] == 0
    assert pair.emulator.controls == {"NONE"}


def test_baidu_fails_with_status_200(start: Start) -> None:
    pair = start("baidu")
    pair.service.compare(face(1), face(2))
    for fault, status, calls in (("throttle", THROTTLED, 5), ("total_quota", QUOTA, 1), ("forbidden", REFUSED, 1)):
        pair.emulator.faults = [fault] * calls
        answer = pair.service.compare(face(1), face(2))
        assert (answer.status, answer.calls) == (status, calls)
    pair.emulator.faults = ["busy"]
    assert pair.service.compare(face(1), face(2)).status == OK


def test_baidu_publishes_no_far(start: Start) -> None:
    thresholds = start("baidu").service.thresholds(COMPARE)
    assert thresholds == Thresholds({}, 80.0, "documentation")


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


# Pictures


def test_pictures_keep_every_pixel_and_are_known_by_them() -> None:
    picture = face(1)
    again = Picture(base64.b64decode(picture.base64()), "png", 240, 240, picture.digest)
    assert again == picture
    assert face(1).digest != face(1, 1).digest
    assert Picture.of(_pixels(picture)).digest == picture.digest


def _pixels(picture: Picture) -> Any:
    import io

    import numpy as np
    import torch
    from PIL import Image

    return torch.from_numpy(np.array(Image.open(io.BytesIO(picture.content)))).permute(2, 0, 1)


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"least_bytes": 1 << 20}, "bytes, at least 1048576 are taken"),
        ({"file_bytes": 10}, "bytes, at most 10 are taken"),
        ({"base64_bytes": 10}, "bytes as base64, at most 10 are taken"),
        ({"frame_px": (1920, 100)}, "it has 240x240 pixels, at most 1920x100 are taken"),
    ],
)
def test_why_a_picture_is_not_taken_says_what_would_be(limits: dict[str, Any], why: str) -> None:
    assert PictureLimits(**limits).refusal(face(1)).endswith(why)


def test_answers_of_a_search_survive_json(start: Start) -> None:
    pair = start("facepp")
    pair.service.found("cb_1")
    pair.service.enrol("cb_1", {"p1": face(1)})
    answer = pair.service.search("cb_1", face(1, 1), 1)
    assert type(answer).from_json(json.loads(json.dumps(answer.to_json()))) == answer
