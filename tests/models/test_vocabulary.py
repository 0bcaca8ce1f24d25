"""Words of services in the classes of a task."""

from __future__ import annotations

import pytest

from cloakbench.models.vocabulary import EXPRESSIONS, GENDERS, Vocabulary

WORDS = Vocabulary({"M": "male", "F": "female"}, {"CALM": "neutral", "UNKNOWN": ""})


def test_ranges_become_their_middle_and_what_is_not_said_stays_a_gap() -> None:
    assert WORDS.task_words({"gender": "F", "age": (20.0, 30.0), "expression": "UNKNOWN"}) == {
        "gender": "female",
        "age": 25.0,
    }
    assert WORDS.task_words({"age": 31.0, "expression": "CALM"}) == {"age": 31.0, "expression": "neutral"}
    assert WORDS.task_words({}) == {}


def test_words_outside_the_tables_are_never_guessed() -> None:
    assert WORDS.unknown({"gender": "F", "expression": "CALM", "age": 1.0}) == ""
    assert WORDS.unknown({"gender": "X"}) == "gender 'X'"
    with pytest.raises(KeyError):
        WORDS.task_words({"gender": "X"})


def test_meanings_are_classes_of_the_task() -> None:
    with pytest.raises(ValueError, match=f"smiling is none of {', '.join(EXPRESSIONS)}"):
        Vocabulary({}, {"a": "smiling"})
    with pytest.raises(ValueError, match=f"man is none of {', '.join(GENDERS)}"):
        Vocabulary({"a": "man"})
