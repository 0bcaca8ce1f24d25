"""What the remote protocol makes of answers: rates with and without lost faces, model versions, ranks, classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra.utils import instantiate

from cloakbench.bench.config.checks.setting_checks import check_settings
from cloakbench.bench.config.compose import compose_config, resolved
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.ranges import SettingError
from cloakbench.bench.protocols.remote.attribute_columns import attribute_columns
from cloakbench.bench.protocols.remote.found import Answered, names_of
from cloakbench.bench.protocols.remote.protocol import Remote
from cloakbench.bench.protocols.remote.spoken import AnswerSheet, Form, classes_read, compared, searched
from cloakbench.bench.protocols.remote.versions import mark_stale
from cloakbench.models.services import COMPARE, NO_FACE, SEARCH, Match, ServiceAnswer, Thresholds
from cloakbench.models.vocabulary import Vocabulary

FARS = (1e-3, 1e-4)
PEOPLE = ["a", "a", "b", "b"]


def said(scores: Sequence[float | None], version: str = "1", day: int = 1) -> dict[str, Any]:
    """A sheet of comparisons; None for a photo without a face. Thresholds are 60 and 80."""
    sheet = AnswerSheet(len(scores), Form({COMPARE: 1}, FARS))
    for photo, score in enumerate(scores):
        date = f"2026-11-{day:02d}T00:00:00+00:00"
        found = Thresholds({1e-3: 60.0, 1e-4: 80.0}, source="answer")
        status = NO_FACE if score is None else "ok"
        answer = ServiceAnswer(
            COMPARE, status, score=score, thresholds=found, date=date, model_version=version, calls=1
        )
        sheet.put(photo, 0, answer, [] if score is None else compared(answer, None, FARS))
    return {name: tensor.numpy() for name, tensor in sheet.tensors().items()}


def found(protected: dict[str, Any], clean: dict[str, Any]) -> Answered:
    names = [f"photo {place}" for place in range(len(PEOPLE))]
    return Answered(names, PEOPLE, ["ok"] * 4, protected, clean, names_of(protected, [COMPARE]), 5)


def records_of(protected: dict[str, Any], clean: dict[str, Any]) -> pd.DataFrame:
    whole = found(protected, clean)
    only = {COMPARE: whole.protected[COMPARE]}
    narrow = Answered(whole.image_id, PEOPLE, whole.status, only, {COMPARE: clean[COMPARE]}, whole.versions, 5)
    return protocol().records(narrow)


def protocol(**settings: Any) -> Remote:
    return Remote(operations=["compare"], fars=FARS, **settings)


def value(rates: pd.DataFrame, metric: str) -> tuple[float, int, int]:
    row = rates.loc[rates["metric"] == metric].iloc[0]
    return float(row["value"]), int(row["n"]), int(row["n_failed"])


def test_a_lost_face_counts_as_dodged_and_is_left_out_of_the_twin() -> None:
    records = records_of(said([50, 70, None, 90]), said([90, 90, 90, 90]))
    [marked] = mark_stale([records], [COMPARE])
    rates = protocol().measurements(marked, 50, 0)
    assert value(rates, "remote_dodging_far_1e-3") == (0.5, 4, 0)
    assert value(rates, "remote_dodging_far_1e-3_found") == (pytest.approx(1 / 3), 3, 0)
    assert value(rates, "remote_dodging_far_1e-4")[0] == 0.75
    assert value(rates, "face_lost") == (0.25, 4, 0)


def test_a_pair_whose_clean_photo_has_no_face_is_no_trial() -> None:
    records = records_of(said([50, 70, None, 90]), said([90, 90, None, 90]))
    [marked] = mark_stale([records], [COMPARE])
    assert value(protocol().measurements(marked, 50, 0), "remote_dodging_far_1e-3") == (pytest.approx(1 / 3), 3, 0)


def test_answers_of_two_model_versions_never_share_a_rate() -> None:
    clean = said([90] * 4)
    old, new = records_of(said([50] * 4, "1", 1), clean), records_of(said([90] * 4, "2", 2), clean)
    marked = mark_stale([old, new], [COMPARE])
    stale, newest = (protocol().measurements(one, 50, 0) for one in marked)
    row = stale.loc[stale["metric"] == "remote_dodging_far_1e-3"].iloc[0]
    assert np.isnan(row["value"]) and "older model version" in row["note"] and "remote.expire=DATE" in row["note"]
    assert value(newest, "remote_dodging_far_1e-3") == (0.0, 4, 0)
    mixed = records_of(said([50, 50, 90, 90], "1", 1), clean)
    half = records_of(said([90] * 4, "2", 2), clean)
    both = pd.concat([mixed.iloc[:2], half.iloc[2:]], ignore_index=True)
    [marked_both] = mark_stale([both], [COMPARE])
    assert value(protocol().measurements(marked_both, 50, 0), "remote_dodging_far_1e-3") == (0.0, 2, 2)


def test_thresholds_of_an_answer_go_before_those_of_the_documentation() -> None:
    documented = Thresholds({1e-3: 40.0}, recommended=50.0)
    answer = ServiceAnswer(COMPARE, score=45.0)
    assert compared(answer, documented, FARS)[:3] == [45.0, 50.0, 40.0]
    own = ServiceAnswer(COMPARE, score=45.0, thresholds=Thresholds({1e-3: 60.0}, source="answer"))
    assert compared(own, documented, FARS)[2] == 60.0 and np.isnan(compared(own, documented, FARS)[1])


def test_ranks_leave_out_the_photo_itself() -> None:
    matches = tuple(Match(face, score) for face, score in (("own", 99.0), ("other", 80.0), ("mate", 70.0)))
    answer = ServiceAnswer(SEARCH, matches=matches)
    assert searched(answer, "own", frozenset({"mate"})) == [2.0, 2.0]
    assert searched(answer, "", frozenset({"nobody"})) == [0.0, 3.0]


def test_words_of_a_service_become_classes_of_the_task() -> None:
    task = instantiate(resolved(compose_config(["experiment=smoke", "attribute_task=services3"]).attribute_task))
    words = Vocabulary(gender={"Male": "male", "Female": "female"}, expression={"smile": "happy", "?": ""})
    assert classes_read({"gender": "Female", "age": 33.0, "expression": "smile"}, words, task) == [1.0, 1.0, 1.0]
    read = classes_read({"gender": "Male", "age": (60.0, 70.0), "expression": "?"}, words, task)
    assert read[:2] == [0.0, 3.0] and np.isnan(read[2])


def test_obfuscation_needs_every_attribute_wrong() -> None:
    labels = {"gender": np.array([0.0, 0.0, 0.0, -1.0]), "age": np.array([1.0, 1.0, 1.0, 1.0])}
    now = np.array([[1.0, 0.0], [1.0, 1.0], [np.nan, np.nan], [1.0, 0.0]])
    clean = np.array([[0.0, 1.0]] * 4)
    columns = attribute_columns(labels, now, clean, np.array([False, False, True, False]))
    assert columns["wrong_every"].tolist() == [1, 0, 1, 0] and columns["judged_every"].tolist() == [1, 1, 1, 0]
    assert columns["judged_found_every"].tolist() == [1, 1, 0, 0]
    assert columns["wrong_changed"].tolist() == [1, 0, 1, 1] and columns["judged_changed"].tolist() == [1, 1, 1, 1]
    assert columns["wrong_gender"].tolist() == [1, 1, 1, 0] and columns["wrong_found_gender"].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"operations": ["look"]}, "operations"),
        ({"operations": ["compare"], "fars": [2.0]}, "fars"),
        ({"operations": ["compare"], "photos_each": 0}, "photos_each"),
        ({"operations": ["compare"], "side_px": 0}, "side_px"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(SettingError, match=what):
        Remote(**settings)


def test_a_service_is_never_a_surrogate() -> None:
    config = compose_config(["experiment=smoke", "+service@surrogates.facepp=facepp"])
    with pytest.raises(ConfigError, match=r"surrogates\.facepp is a service.*can only judge"):
        check_settings(config)
