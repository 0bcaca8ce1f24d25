"""One suite over the adapters of all vendors, each against the emulator of its vendor."""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import replace
from typing import Any

import pytest
from emulators.fleet import blank, connected, face, huge
from emulators.pixels import looks

from cloakbench.bench.core.status import OK
from cloakbench.models.pictures import Picture
from cloakbench.models.service_keys import ServiceKeys
from cloakbench.models.services import (
    ATTRIBUTES,
    BAD_PICTURE,
    COMPARE,
    ENDS_SERVICE,
    ENROL,
    MALFORMED,
    NO_FACE,
    NOT_OFFERED,
    QUOTA,
    REFUSED,
    SEARCH,
    SERVICE_FAILED,
    THROTTLED,
    ServiceAnswer,
    ServiceError,
)

COMPARED_CALLS = {"facepp": 1, "baidu": 2, "tencent": 1, "aliyun": 1, "rekognition": 1, "azure": 3, "local": 1}
"""Requests that the first comparison takes: Baidu buys a token, Azure makes ids of both pictures."""


def test_one_person_scores_higher_than_two(vendor: Any) -> None:
    same = vendor.service.compare(face(1), face(1, 1))
    different = vendor.service.compare(face(1), face(2))
    assert same.status == different.status == OK
    low, high = vendor.service.card.scale
    assert low <= different.score < same.score <= high
    assert same.score == pytest.approx(high, abs=0.05 * high)


def test_an_answer_says_where_it_comes_from_and_what_it_took(vendor: Any) -> None:
    answer = vendor.service.compare(face(1), face(2))
    assert answer.operation == "compare" and answer.date.endswith("+00:00") and answer.request_id
    assert answer.calls == vendor.emulator.total == COMPARED_CALLS[vendor.name] and answer.retries == 0
    assert str(answer.score)[:4] in answer.body
    assert ServiceAnswer.from_json(json.loads(json.dumps(answer.to_json()))) == answer


def test_a_card_says_how_many_requests_a_question_takes(vendor: Any) -> None:
    """Before pictures leave it is said how many calls they take, and what these cost."""
    service, each = vendor.service, vendor.service.card.requests_each
    service.compare(face(1), face(2))  # Baidu's token is no part of a question
    service.found("cb_1")
    most = service.card.enrol_most
    assert service.enrol("cb_1", {f"p{number}": face(number) for number in range(most)}).calls == pytest.approx(
        most * each.get(ENROL, 1)
    )
    service.settle("cb_1")
    assert service.search("cb_1", face(1), 1).calls == each.get(SEARCH, 1)
    assert service.compare(face(1), face(2)).calls == each.get(COMPARE, 1)
    if ATTRIBUTES in service.card.operations:
        assert service.attributes(face(1)).calls == each.get(ATTRIBUTES, 1)


def test_galleries_are_filled_searched_and_forgotten(vendor: Any) -> None:
    service, most = vendor.service, vendor.service.card.enrol_most
    names = [f"p{number}" for number in range(7)]
    assert service.found("cb_run1").status == OK
    handles: dict[str, str] = {}
    for begin in range(0, len(names), most):
        photos = {name: face(int(name[1:])) for name in names[begin : begin + most]}
        answer = service.enrol("cb_run1", photos)
        assert answer.status == OK and answer.outcomes == dict.fromkeys(photos, OK)
        handles |= answer.handles
    assert service.settle("cb_run1").status == OK
    found = service.search("cb_run1", face(4, 1), 5)
    assert found.status == OK and len(found.matches) == 5
    assert found.matches[0].face == handles["p4"]
    assert [one.score for one in found.matches] == sorted((one.score for one in found.matches), reverse=True)
    assert service.leftovers("cb_") == ("cb_run1",) and service.leftovers("other") == ()
    assert service.forget("cb_run1").status == OK
    assert service.leftovers("cb_") == ()


def test_making_and_forgetting_a_gallery_twice_is_no_failure(vendor: Any) -> None:
    """A run that was killed between a call and its note does it again."""
    for _ in range(2):
        assert vendor.service.found("cb_run1").status == OK
    for _ in range(2):
        answer = vendor.service.enrol("cb_run1", {"p1": face(1)})
        assert answer.status == OK and answer.outcomes == {"p1": OK} and set(answer.handles) == {"p1"}
    for _ in range(2):
        assert vendor.service.forget("cb_run1").status == OK


def test_pictures_without_a_face_are_not_enrolled_and_the_others_are(vendor: Any) -> None:
    vendor.service.found("cb_run1")
    outcomes: dict[str, str] = {}
    for name, photo in {"nobody": blank(), "somebody": face(1), "huge": huge()}.items():
        answer = vendor.service.enrol("cb_run1", {name: photo})
        assert answer.status == OK and set(answer.handles) == ({name} if name == "somebody" else set())
        outcomes |= answer.outcomes
    assert outcomes == {"nobody": NO_FACE, "somebody": OK, "huge": BAD_PICTURE}


def test_no_face_is_a_result_and_never_a_score(vendor: Any) -> None:
    for a, b in ((blank(), face(1)), (face(1), blank()), (blank(), blank())):
        answer = vendor.service.compare(a, b)
        assert (answer.status, answer.score, answer.thresholds) == (NO_FACE, None, None)
    vendor.service.found("cb_run1")
    vendor.service.enrol("cb_run1", {"p1": face(1)})
    vendor.service.settle("cb_run1")
    answer = vendor.service.search("cb_run1", blank(), 1)
    assert (answer.status, answer.matches) == (NO_FACE, ())
    assert vendor.service.attributes(blank()).status in (NO_FACE, NOT_OFFERED)


def test_attributes_are_read_or_not_offered(vendor: Any) -> None:
    answer = vendor.service.attributes(face(1))
    if ATTRIBUTES not in vendor.service.card.operations:
        assert answer.status == NOT_OFFERED and answer.note and vendor.emulator.total == 0
        return
    assert answer.status == OK and set(answer.attributes) == {"gender", "age", "expression"}
    female, years, smiling = looks(face(1).content)
    said = vendor.service.card.vocabulary.task_words(answer.attributes)
    assert said == {
        "gender": "female" if female else "male",
        "age": years,
        "expression": "happy" if smiling else "neutral",
    }
    assert ServiceAnswer.from_json(json.loads(json.dumps(answer.to_json()))) == answer


def test_what_passes_is_tried_again_and_the_answer_is_the_same(vendor: Any) -> None:
    vendor.service.compare(face(1), face(2))  # Baidu's token is not what is tried here
    calls = vendor.emulator.total
    plain = vendor.service.compare(face(1), face(2))
    needed = vendor.emulator.total - calls
    vendor.emulator.faults = ["throttle", "error500", "throttle", "broken"]
    answer = vendor.service.compare(face(1), face(2))
    assert (answer.status, answer.score) == (OK, plain.score)
    assert (answer.calls, answer.retries) == (needed + 4, 4)


@pytest.mark.parametrize(("fault", "status"), [("throttle", THROTTLED), ("error500", SERVICE_FAILED)])
def test_retries_are_bounded(vendor: Any, fault: str, status: str) -> None:
    vendor.service.compare(face(1), face(2))
    calls, vendor.emulator.faults = vendor.emulator.total, [fault] * 50
    answer = vendor.service.compare(face(1), face(2))
    assert (answer.status, answer.score) == (status, None)
    assert vendor.emulator.total - calls == answer.calls == 5


def test_a_service_that_does_not_answer_in_time_has_failed(vendor: Any) -> None:
    service = vendor.again(attempts=2, timeout_seconds=0.1)
    vendor.emulator.hang_seconds, vendor.emulator.faults = 0.3, ["hang", "hang"]
    answer = service.compare(face(1), face(2))
    assert answer.status == SERVICE_FAILED and "no answer in time" in answer.note and answer.calls == 2


def test_a_service_that_is_not_there_has_failed(vendor: Any) -> None:
    answer = vendor.again(base_url="http://127.0.0.1:9", attempts=1).compare(face(1), face(2))
    assert answer.status == SERVICE_FAILED and "127.0.0.1:9" in answer.note


@pytest.mark.parametrize("fault", ["cut", "plain"])
def test_what_is_no_answer_is_malformed_and_never_a_number(vendor: Any, fault: str) -> None:
    vendor.service.compare(face(1), face(2))
    calls, vendor.emulator.faults = vendor.emulator.total, [fault]
    answer = vendor.service.compare(face(1), face(2))
    assert (answer.status, answer.score) == (MALFORMED, None)
    assert vendor.emulator.total - calls == 1


@pytest.mark.parametrize("wrong", [-0.5, 1.5, float("nan"), float("inf")])
def test_a_score_outside_its_scale_is_malformed(vendor: Any, wrong: float) -> None:
    vendor.emulator.score = lambda a, b: wrong
    answer = vendor.service.compare(face(1), face(2))
    assert (answer.status, answer.score) == (MALFORMED, None)


def test_a_wrong_key_is_refused_after_one_call(vendor: Any) -> None:
    for keys in (ServiceKeys("SOMEBODY-ELSES", "SECRET"), ServiceKeys(vendor.emulator.key, "WRONG-SECRET")):
        if vendor.name in ("azure", "local") and keys.key == vendor.emulator.key:
            continue  # they have one key and no secret
        calls = vendor.emulator.total
        answer = vendor.again(connection=connected(vendor.emulator, keys=keys)).compare(face(1), face(2))
        assert answer.status == REFUSED and answer.status in ENDS_SERVICE
        assert answer.calls == vendor.emulator.total - calls == 1
        assert answer.note and "\n" not in answer.note


def test_a_used_up_quota_ends_a_service_without_another_try(vendor: Any) -> None:
    vendor.service.compare(face(1), face(2))
    calls, vendor.emulator.faults = vendor.emulator.total, ["quota"]
    answer = vendor.service.compare(face(1), face(2))
    assert answer.status == QUOTA and answer.status in ENDS_SERVICE
    assert vendor.emulator.total - calls == 1


def test_pictures_over_the_limits_are_not_sent(vendor: Any) -> None:
    for picture in (huge(), replace(face(1), kind="gif"), replace(face(1), width_px=40_000)):
        answer = vendor.service.compare(picture, face(2))
        assert answer.status == BAD_PICTURE and answer.note
    assert vendor.emulator.total == 0


def test_the_vendor_may_refuse_a_picture_itself(vendor: Any) -> None:
    content = b"GIF89a" + bytes(2000)
    answer = vendor.service.compare(Picture(content, "png", 240, 240, "0"), face(2))
    assert (answer.status, answer.score) == (BAD_PICTURE, None) and vendor.emulator.total > 0


def test_no_key_token_or_signature_is_in_what_is_kept(vendor: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    keys = ServiceKeys(vendor.emulator.key, "WRONG-SECRET-OF-OURS")
    kept = [repr(keys), repr(vendor.service.__dict__)]
    for service, echoes in (
        (vendor.service, True),
        (vendor.again(connection=connected(vendor.emulator, keys=keys)), False),
    ):
        vendor.emulator.faults, vendor.emulator.echoes = ["throttle"], echoes
        answers = [service.compare(face(1), face(2)), service.attributes(face(1)), service.found("cb_1")]
        kept += [json.dumps(answer.to_json()) for answer in answers]
    assert "(left out)" in kept[2]
    kept += [record.getMessage() for record in caplog.records]
    planted = (vendor.emulator.key, vendor.emulator.secret, keys.secret, "emulated-access-token", "lentsignature")
    for text in kept:
        assert not any(secret in text for secret in planted), text
        assert not re.search(r"\b[0-9a-f]{64}\b", text), text  # an HMAC


def test_a_service_asks_for_a_permit_before_each_request(vendor: Any) -> None:
    asked: list[str] = []
    vendor.again(connection=connected(vendor.emulator, permit=asked.append)).compare(face(1), face(2))
    assert len(asked) == vendor.emulator.total == COMPARED_CALLS[vendor.name]


def test_without_a_permit_nothing_is_sent(vendor: Any) -> None:
    def spent(action: str) -> None:
        raise ServiceError("the limit is reached")

    service = vendor.again(connection=connected(vendor.emulator, permit=spent))
    with pytest.raises(ServiceError, match="the limit is reached"):
        service.compare(face(1), face(2))
    assert vendor.emulator.total == 0


def test_a_search_for_more_than_is_given_is_an_error(vendor: Any) -> None:
    with pytest.raises(ServiceError, match=f"gives 1 to {vendor.service.card.most_matches} faces"):
        vendor.service.search("cb_run1", face(1), vendor.service.card.most_matches + 1)


def test_retry_after_is_obeyed(vendor: Any) -> None:
    waits: list[float] = []
    service = vendor.again(connection=connected(vendor.emulator, sleep=waits.append))
    service.compare(face(1), face(2))
    vendor.emulator.retry_after, vendor.emulator.faults = "7", ["throttle"]
    assert service.compare(face(1), face(2)).status == OK
    assert waits == [7.0]
    vendor.emulator.retry_after, vendor.emulator.faults = "3600", ["throttle"]
    assert service.compare(face(1), face(2)).status == THROTTLED  # an hour is too long to wait
    assert waits == [7.0]


def test_pauses_grow_and_are_spread(vendor: Any) -> None:
    waits: list[float] = []
    draws = iter([0.0, 1.0, 0.5])
    connection = connected(vendor.emulator, sleep=waits.append, draw=lambda: next(draws))
    service = vendor.again(connection=connection, attempts=4)
    vendor.emulator.faults = ["error500"] * 4
    service.compare(face(1), face(2))
    assert waits == [0.375, 1.25, 2.0]


def test_a_clock_that_is_wrong_is_refused_with_a_hint(vendor: Any) -> None:
    if vendor.name in ("facepp", "azure", "baidu", "local"):
        pytest.skip("no time is signed")
    late = connected(vendor.emulator, now=lambda: time.time() - 7200)
    answer = vendor.again(connection=late).compare(face(1), face(2))
    assert answer.status == REFUSED and "clock" in answer.note and answer.calls == 1
