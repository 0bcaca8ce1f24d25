"""Every question is written down before it is asked, and never asked again once it is answered."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from cloakbench.bench.services.journal import Journal, ServiceQuestion
from cloakbench.models.services import (
    BAD_PICTURE,
    COMPARE,
    MALFORMED,
    NO_FACE,
    QUOTA,
    REFUSED,
    SERVICE_FAILED,
    THROTTLED,
    Match,
    ServiceAnswer,
    Thresholds,
)

QUESTION = ServiceQuestion("facepp", "v3", COMPARE, ("a", "b"))
ANSWER = ServiceAnswer(
    COMPARE,
    score=71.5,
    thresholds=Thresholds({1e-3: 62.3, 1e-5: 73.9}, source="answer"),
    matches=(Match("p1", 3.0),),
    attributes={"age": (20.0, 30.0), "gender": "Male"},
    date="2026-11-27T04:00:00+00:00",
)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def test_an_answer_is_found_again_as_it_was(journal: Journal) -> None:
    assert journal.answer(QUESTION) is None
    journal.note(QUESTION)
    assert journal.answer(QUESTION) is None and journal.record(QUESTION).possibly_billed == 1
    journal.put(QUESTION, ANSWER)
    assert journal.answer(QUESTION) == ANSWER and journal.record(QUESTION).possibly_billed == 0


@pytest.mark.parametrize("status", [NO_FACE, BAD_PICTURE])
def test_results_without_a_score_are_kept(journal: Journal, status: str) -> None:
    journal.note(QUESTION)
    journal.put(QUESTION, ServiceAnswer(COMPARE, status))
    assert journal.answer(QUESTION) == ServiceAnswer(COMPARE, status)


@pytest.mark.parametrize("status", [REFUSED, QUOTA, THROTTLED, MALFORMED, SERVICE_FAILED])
def test_failures_are_noted_and_asked_again(journal: Journal, status: str) -> None:
    journal.note(QUESTION)
    journal.put(QUESTION, ServiceAnswer(COMPARE, status))
    assert journal.answer(QUESTION) is None
    record = journal.record(QUESTION)
    assert record.possibly_billed == 0 and [one for _, one in record.asked] == [status]


def test_questions_differ_by_all_that_decides_an_answer(journal: Journal) -> None:
    others = [
        replace(QUESTION, service="baidu"),
        replace(QUESTION, operation="search"),
        replace(QUESTION, pictures=("b", "a")),
        replace(QUESTION, parameters={"k": 1}),
        replace(QUESTION, api_version="v4"),
    ]
    journal.note(QUESTION)
    journal.put(QUESTION, ANSWER)
    assert all(journal.answer(one) is None for one in others)
    assert len({one.key for one in others[:-1]} | {QUESTION.key}) == 5


def test_an_answer_of_another_api_version_is_known_and_not_taken(journal: Journal) -> None:
    journal.note(QUESTION)
    journal.put(QUESTION, ANSWER)
    newer = replace(QUESTION, api_version="2020-03-03, CompareFace")
    assert journal.answer(newer) is None
    assert journal.other_versions(newer) == ("v3",) and journal.other_versions(QUESTION) == ()


def test_what_is_older_than_a_day_is_asked_anew(journal: Journal) -> None:
    journal.note(QUESTION)
    journal.put(QUESTION, ANSWER)
    assert journal.answer(QUESTION, date(2026, 11, 27)) == ANSWER
    assert journal.answer(QUESTION, date(2026, 11, 28)) is None
    assert journal.answer(QUESTION) == ANSWER


def test_a_picture_that_was_never_sent_has_no_day_and_stays(journal: Journal) -> None:
    unsent = ServiceAnswer(COMPARE, BAD_PICTURE, "it has 9000000 of 2097152 bytes")
    journal.note(QUESTION)
    journal.put(QUESTION, unsent)
    assert journal.answer(QUESTION, date(2026, 11, 28)) == unsent


@pytest.mark.parametrize("damage", [b"", b"{", b'{"seal": "x", "value": {}}'])
def test_a_damaged_answer_counts_as_absent(journal: Journal, tmp_path: Path, damage: bytes) -> None:
    journal.note(QUESTION)
    journal.put(QUESTION, ANSWER)
    (file,) = tmp_path.rglob("*.json")
    file.write_bytes(damage)
    assert journal.answer(QUESTION) is None
    file.write_bytes(b"x" + damage)
    journal.note(QUESTION)
    assert journal.record(QUESTION).possibly_billed == 1


def test_an_answer_in_a_folder_of_two_digits_is_found(journal: Journal, tmp_path: Path) -> None:
    journal.note(QUESTION)
    journal.put(QUESTION, ANSWER)
    (file,) = tmp_path.rglob("*.json")
    (file.parents[1] / QUESTION.key[:2]).mkdir()
    file.rename(file.parents[1] / QUESTION.key[:2] / file.name)
    assert journal.answer(QUESTION) == ANSWER
    assert journal.other_versions(QUESTION) == ()


def test_an_answer_of_another_question_is_not_taken(journal: Journal, tmp_path: Path) -> None:
    """The seal is over the name of the file, too."""
    journal.note(QUESTION)
    journal.put(QUESTION, ANSWER)
    (file,) = tmp_path.rglob("*.json")
    other = replace(QUESTION, pictures=("a", "c"))
    target = file.parents[1] / other.key[:1] / f"{other.key}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(file.read_bytes())
    assert journal.answer(other) is None


def test_of_two_who_ask_the_same_one_waits_and_finds_the_answer(journal: Journal) -> None:
    order: list[str] = []

    def ask(name: str) -> None:
        with journal.claimed(QUESTION):
            if journal.answer(QUESTION) is not None:
                order.append(f"{name} found")
                return
            journal.note(QUESTION)
            time.sleep(0.05)
            journal.put(QUESTION, ANSWER)
            order.append(f"{name} asked")

    threads = [threading.Thread(target=ask, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one[2:] for one in order] == ["asked", "found"]


def test_all_records_of_a_service_are_read_one_after_the_other(journal: Journal) -> None:
    for number in range(20):
        question = replace(QUESTION, pictures=(str(number),))
        journal.note(question)
        if number % 2:
            journal.put(question, ANSWER)
    found = list(journal.records("facepp"))
    assert len(found) == 20 and sum(one.answer == ANSWER for one in found) == 10
    assert sum(one.possibly_billed for one in found) == 10 and list(journal.records("baidu")) == []


def test_a_person_can_read_what_was_asked(journal: Journal, tmp_path: Path) -> None:
    journal.note(replace(QUESTION, parameters={"k": 5}))
    (file,) = tmp_path.rglob("*.json")
    said = json.loads(file.read_text())["value"]["question"]
    assert said["operation"] == COMPARE and said["pictures"] == ["a", "b"] and said["parameters"] == {"k": 5}
