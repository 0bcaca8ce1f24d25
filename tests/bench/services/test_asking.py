"""A service is asked what is not stored yet, within its limits, and leaves nothing behind."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from emulators.askers import PLAN, asker_at, everything, told
from emulators.azure import AzureEmulator
from emulators.facepp import FaceppEmulator
from emulators.fleet import EMULATORS, blank, face, service_of
from emulators.rekognition import RekognitionEmulator

from cloakbench.bench.core.status import OK
from cloakbench.bench.services.asking import NotStoredError, side_by_side
from cloakbench.bench.services.spending import LimitReachedError
from cloakbench.models.service_keys import ServiceKeys
from cloakbench.models.services import (
    NO_FACE,
    NOT_OFFERED,
    QUOTA,
    REFUSED,
    SERVICE_FAILED,
    THROTTLED,
    ServiceAnswer,
    ServiceError,
)


@pytest.fixture
def emulator() -> Iterator[FaceppEmulator]:
    emulator = FaceppEmulator()
    with emulator.running():
        yield emulator


@pytest.mark.parametrize("name", list(EMULATORS))
def test_a_second_run_makes_no_call_and_a_replay_needs_no_service(tmp_path: Path, name: str) -> None:
    emulator = EMULATORS[name]()
    with emulator.running():
        first = asker_at(emulator, tmp_path, name)
        answers = everything(first, people=2)
        first.close()
        calls = emulator.total
        assert first.tally.asked == Counter({OK: 4 if name == "azure" else 6})
        second = asker_at(emulator, tmp_path, name)
        assert everything(second, people=2) == answers
        second.close()
        assert emulator.total == calls and second.tally.stored == (4 if name == "azure" else 6)
    replayed = asker_at(emulator, tmp_path, name, replay=True)  # nobody listens there now
    assert everything(replayed, people=2) == answers
    replayed.close()


def test_searches_name_photos_of_the_plan(emulator: FaceppEmulator, tmp_path: Path) -> None:
    asker = asker_at(emulator, tmp_path)
    found = asker.search(PLAN, face(3, 1), 5)
    assert found.matches[0].face == "photo 3" and {one.face for one in found.matches} <= set(PLAN.photos)
    asker.close()
    assert emulator.sets == {} and list((tmp_path / "galleries").rglob("*.json")) == []


def test_a_gallery_is_filled_once_and_only_when_a_search_needs_it(emulator: FaceppEmulator, tmp_path: Path) -> None:
    asker = asker_at(emulator, tmp_path)
    asker.compare(face(1), face(2))
    assert emulator.sets == {}
    for person in range(4):
        asker.search(PLAN, face(person, 1), 1)
    assert emulator.calls["faceset/create"] == 1 and emulator.calls["faceset/addface"] == 2
    asker.close()
    again = asker_at(emulator, tmp_path, run="another run")
    again.search(PLAN, face(2, 1), 1)
    assert emulator.calls["faceset/create"] == 1  # every search is stored
    again.search(PLAN, face(5, 1), 1)
    assert emulator.calls["faceset/create"] == 2
    again.close()


def test_a_protected_picture_is_another_question(emulator: FaceppEmulator, tmp_path: Path) -> None:
    asker = asker_at(emulator, tmp_path)
    asker.compare(face(1), face(1, 1))
    asker.compare(face(1), face(1, 2))
    asker.compare(face(1, 1), face(1))  # which of two comes first is for the service to say
    assert emulator.calls["compare"] == 3


def test_no_face_is_stored_and_failures_are_not(emulator: FaceppEmulator, tmp_path: Path) -> None:
    asker = asker_at(emulator, tmp_path, attempts=1)
    for _ in range(2):
        assert asker.compare(blank(), face(1)).status == NO_FACE
    assert emulator.total == 1
    emulator.faults = ["throttle", "error500"]
    statuses = [asker.compare(face(1), face(2)).status for _ in range(4)]
    assert statuses == [THROTTLED, SERVICE_FAILED, OK, OK] and emulator.total == 4
    assert asker.tally.asked == {NO_FACE: 1, THROTTLED: 1, SERVICE_FAILED: 1, OK: 1}


def test_faults_in_a_third_of_all_calls_change_no_answer(emulator: FaceppEmulator, tmp_path: Path) -> None:
    plain = asker_at(emulator, tmp_path / "plain")
    expected = told(everything(plain))
    plain.close()
    kinds = ["throttle", "", "", "error500", "", "", "broken", "", ""]
    emulator.faults = kinds * 20
    faulty = asker_at(emulator, tmp_path / "faulty")
    assert told(everything(faulty)) == expected
    faulty.close()
    assert faulty.tally.retries > 5 and set(faulty.tally.asked) == {OK}


@pytest.mark.parametrize("connections", [1, 8])
def test_a_wrong_key_stops_after_one_call(tmp_path: Path, emulator: FaceppEmulator, connections: int) -> None:
    asker = asker_at(emulator, tmp_path, keys=ServiceKeys("WRONG-KEY", "WRONG-SECRET"))
    pairs = [(face(person), face(person, 1)) for person in range(12)]
    answers = [one for _, one in side_by_side(lambda pair: asker.compare(*pair), pairs, connections)]
    assert {one.status for one in answers} == {REFUSED} and emulator.total == 1
    assert asker.ended is not None and "AUTHENTICATION_ERROR" in asker.ended.note
    assert sorted(one.calls for one in answers) == [0] * 11 + [1]
    calls = emulator.total
    assert asker_at(emulator, tmp_path).compare(*pairs[5]).status == OK and emulator.total == calls + 1


def test_used_up_quota_ends_one_service_and_not_the_others(emulator: FaceppEmulator, tmp_path: Path) -> None:
    asker = asker_at(emulator, tmp_path)
    assert asker.compare(face(1), face(2)).status == OK
    emulator.faults = ["quota"]
    assert asker.compare(face(1), face(3)).status == QUOTA
    answer = asker.compare(face(1), face(4))
    assert answer.status == QUOTA and answer.note.startswith("not asked after: AUTHORIZATION_ERROR")
    assert emulator.total == 2 and asker.compare(face(1), face(2)).status == OK  # what is stored is given
    other = RekognitionEmulator()
    with other.running():
        assert asker_at(other, tmp_path, "rekognition").compare(face(1), face(2)).status == OK


@pytest.mark.parametrize("connections", [1, 6])
def test_max_calls_is_reached_and_never_passed(emulator: FaceppEmulator, tmp_path: Path, connections: int) -> None:
    pairs = [(face(person), face(person, 1)) for person in range(30)]
    asker = asker_at(emulator, tmp_path, max_calls=20)
    emulator.faults = ["throttle", "", "", "error500"]
    done: list[ServiceAnswer] = []
    with pytest.raises(LimitReachedError, match=r"remote\.max_calls=20 is reached"):
        for _, answer in side_by_side(lambda pair: asker.compare(*pair), pairs, connections):
            done.append(answer)
    assert emulator.total == 20 and done
    more = asker_at(emulator, tmp_path)
    answers = [one for _, one in side_by_side(lambda pair: more.compare(*pair), pairs, connections)]
    assert {one.status for one in answers} == {OK} and emulator.total == 32  # the two retries on top
    assert more.tally.possibly_billed == 0  # what was not sent was not billed


def test_max_cost_stops_before_it_is_passed(emulator: FaceppEmulator, tmp_path: Path) -> None:
    asker = asker_at(emulator, tmp_path, max_cost=1.0, price_per_call={"compare": 0.3, "attributes": 0.0})
    for person in range(3):
        assert asker.compare(face(person), face(9)).status == OK
    with pytest.raises(LimitReachedError, match=r"remote.max_cost=1 would be passed"):
        asker.compare(face(4), face(9))
    assert asker.attributes(face(1)).status == OK  # free of charge
    assert emulator.calls == {"compare": 3, "detect": 1}


def test_max_cost_keeps_what_deleting_a_gallery_costs(emulator: FaceppEmulator, tmp_path: Path) -> None:
    prices = {"search": 0.1, "forget": 0.25}
    asker = asker_at(emulator, tmp_path, max_cost=0.5, price_per_call=prices)
    assert [asker.search(PLAN, face(person), 2).status for person in range(2)] == [OK, OK]
    with pytest.raises(LimitReachedError, match=r"remote.max_cost=0.5 would be passed"):
        asker.search(PLAN, face(3), 2)
    asker.close()
    assert emulator.sets == {} and emulator.calls["faceset/delete"] == 1


def test_old_answers_are_asked_for_anew(emulator: FaceppEmulator, tmp_path: Path) -> None:
    asker_at(emulator, tmp_path).compare(face(1), face(2))
    today = datetime.now(UTC).date()
    asker_at(emulator, tmp_path, expire=today - timedelta(days=1)).compare(face(1), face(2))
    assert emulator.total == 1
    asker_at(emulator, tmp_path, expire=today + timedelta(days=1)).compare(face(1), face(2))
    assert emulator.total == 2


def test_a_replay_names_what_is_missing(emulator: FaceppEmulator, tmp_path: Path) -> None:
    asker = asker_at(emulator, tmp_path, replay=True)
    with pytest.raises(NotStoredError, match="service facepp, compare: it has no stored answer"):
        asker.compare(face(1), face(2))
    assert emulator.total == 0


def test_a_stored_answer_of_another_api_version_is_one_line(tmp_path: Path) -> None:
    emulator = EMULATORS["tencent"]()
    with emulator.running():
        asker_at(emulator, tmp_path, "tencent").compare(face(1), face(2))
        other = asker_at(emulator, tmp_path, "tencent", replay=True, comparison="DetectFaceSimilarity")
        with pytest.raises(NotStoredError, match=r"of API version 2020-03-03_CompareFace, not 2020-03-03, Detect"):
            other.compare(face(1), face(2))


def test_what_is_not_offered_is_an_answer_without_a_call(tmp_path: Path) -> None:
    emulator = AzureEmulator()
    with emulator.running():
        assert asker_at(emulator, tmp_path, "azure").attributes(face(1)).status == NOT_OFFERED
    assert emulator.total == 0 and not (tmp_path / "journal").exists()


def test_a_gallery_that_cannot_be_filled_is_the_answer_to_its_searches(
    emulator: FaceppEmulator, tmp_path: Path
) -> None:
    asker = asker_at(emulator, tmp_path)
    asker.compare(face(1), face(2))
    emulator.faults = ["faceset/addface:quota"]
    answer = asker.search(PLAN, face(1, 1), 1)
    assert (answer.operation, answer.status, answer.matches) == ("search", QUOTA, ())
    asker.close()
    assert emulator.sets == {}


def test_a_gallery_that_is_not_deleted_stays_noted_until_it_is(
    emulator: FaceppEmulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asker = asker_at(emulator, tmp_path, attempts=1)
    asker.search(PLAN, face(1, 1), 1)
    emulator.faults = ["faceset/delete:error500"]
    with caplog.at_level(logging.WARNING):
        asker.close()
    assert "is not deleted" in caplog.text and len(emulator.sets) == 1
    emulator.sets["of somebody else"] = []
    cleaner = asker_at(emulator, tmp_path, run="cleaning")
    (gone,) = cleaner._galleries.clean()
    assert gone.startswith("cb_") and set(emulator.sets) == {"of somebody else"}
    assert list((tmp_path / "galleries").rglob("*.json")) == []


def test_searches_for_too_many_are_an_error(emulator: FaceppEmulator, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="gives 1 to 5 faces, not 6"):
        asker_at(emulator, tmp_path).search(PLAN, face(1), 6)


@pytest.mark.parametrize("name", ["facepp", "rekognition", "azure"])
def test_a_photo_that_was_enrolled_twice_takes_no_others_place(tmp_path: Path, name: str) -> None:
    """A reply was lost, so the photo was sent once more, and the service has it twice."""
    found = []
    for faults in ([], ["detect:error500"] if name == "facepp" else [f"{_ENROLS[name]}:broken"] * 2):
        emulator = EMULATORS[name]()
        with emulator.running():
            asker = asker_at(emulator, tmp_path / str(len(faults)), name)
            asker.compare(face(8), face(9))
            emulator.faults = list(faults)
            answer = asker.search(PLAN, face(0, 1), 5)
            assert emulator.faults == []
            found.append([(one.face, one.score) for one in answer.matches])
            asker.close()
    assert found[0] == found[1] and len(dict(found[0])) == 5


_ENROLS = {"rekognition": "IndexFaces", "azure": "POST list persistedfaces"}


class Killed(BaseException):
    """Stands for kill -9: nothing is tidied up but what the operating system does."""


@pytest.mark.parametrize(
    "name", ["facepp", *(pytest.param(one, marks=pytest.mark.slow) for one in ("azure", "tencent"))]
)
def test_a_run_that_dies_before_any_of_its_calls_ends_in_the_same_answers(tmp_path: Path, name: str) -> None:
    emulator = EMULATORS[name]()
    with emulator.running():
        whole = asker_at(emulator, tmp_path / "whole", name)
        expected = told(everything(whole, people=2))
        whole.close()
        calls = emulator.total
        for moment in range(1, calls, 3):
            emulator.calls.clear()
            countdown = iter(range(moment))

            def dies(action: str, left: Iterator[int] = countdown) -> None:
                if next(left, None) is None:
                    raise Killed

            folder = tmp_path / str(moment)
            with pytest.raises(Killed):
                dying = asker_at(emulator, folder, name, before=dies)
                everything(dying, people=2)
                dying.close()
            resumed = asker_at(emulator, folder, name)
            assert told(everything(resumed, people=2)) == expected
            resumed.close()
            assert service_of(name, emulator).leftovers("cb_") == ()
            assert resumed.tally.possibly_billed <= 1  # one connection
            assert emulator.total <= calls + 8  # what a question and a batch take, and the look for leftovers
    assert calls > 10


def test_side_by_side_keeps_the_order_and_takes_few_questions_ahead() -> None:
    taken: list[int] = []
    at_once, most, lock = 0, 0, threading.Lock()

    def questions() -> Iterator[int]:
        for number in range(200):
            taken.append(number)
            yield number

    def ask(number: int) -> ServiceAnswer:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        with lock:
            at_once -= 1
        return ServiceAnswer("compare", score=float(number))

    for place, (question, answer) in enumerate(side_by_side(ask, questions(), 4)):
        assert question == place == answer.score
        assert len(taken) <= place + 9
    assert len(taken) == 200 and most <= 4


def test_planted_keys_are_in_nothing_that_a_run_leaves(
    emulator: FaceppEmulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    emulator.echoes = True
    asker = asker_at(emulator, tmp_path, calls_per_second=1000.0)
    everything(asker, people=2)
    wrong = asker_at(emulator, tmp_path, keys=ServiceKeys(emulator.key, "PLANTED-SECRET"))
    wrong.compare(face(7), face(8))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5
    left = [path.read_text() for path in files] + [path.name for path in files] + [caplog.text]
    for secret in (emulator.key, emulator.secret, "PLANTED-SECRET"):
        assert not any(secret in text for text in left)
    asker.close()


def test_tallies_are_plain(emulator: FaceppEmulator, tmp_path: Path) -> None:
    asker = asker_at(emulator, tmp_path)
    asker.compare(face(1), face(2))
    plain: dict[str, Any] = json.loads(json.dumps(vars(asker.tally)))
    assert plain == {"stored": 0, "asked": {"ok": 1}, "retries": 0, "possibly_billed": 0}
