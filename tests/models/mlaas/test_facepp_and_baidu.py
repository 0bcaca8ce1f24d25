"""Face++ and Baidu: what their adapters have to honour beside the common suite."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from emulators.fleet import asked_of, face, noisy
from emulators.server import Said

from cloakbench.bench.core.status import OK
from cloakbench.models.services import (
    BAD_PICTURE,
    COMPARE,
    NO_FACE,
    QUOTA,
    REFUSED,
    SEARCH,
    THROTTLED,
    ServiceError,
    Thresholds,
)

Start = Callable[[str], Any]


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
