"""Means of records against numpy; what has no value is a gap with its reason."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cloakbench.bench.core.status import METHOD_FAILED, OK, UNAVAILABLE
from cloakbench.bench.engine.means import Values, mean_measurements
from cloakbench.bench.engine.rates import Trials, rate_measurements


def records(*status: str) -> pd.DataFrame:
    """Three photos of each person, in the order of ``status``."""
    return pd.DataFrame({"identity": [f"p{row // 3}" for row in range(len(status))], "status": list(status)})


def row(values: Values, *status: str, resamples: int = 50) -> pd.Series:
    return mean_measurements(records(*status), {"m": values}, resamples, seed=0).iloc[0]


def test_the_mean_is_over_people_drawn_with_replacement() -> None:
    values = np.random.default_rng(0).normal(size=60) + np.repeat(np.arange(20), 3)
    found = row(Values(values), *[OK] * 60, resamples=4000)
    assert found["value"] == pytest.approx(values.mean())
    people = values.reshape(20, 3).mean(axis=1)
    drawn = np.random.default_rng(1).choice(people, size=(4000, 20)).mean(axis=1)
    assert (found["low"], found["high"]) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.15)
    assert (found["n"], found["n_failed"], found["n_identities"], found["status"]) == (60, 0, 20, OK)


def test_a_photo_without_a_value_is_in_no_mean_and_is_told() -> None:
    found = row(Values(np.array([1, 2, np.nan, np.nan, 5, 6]), undefined="dark"), *[OK] * 3, METHOD_FAILED, OK, OK)
    assert (found["value"], found["n"], found["n_failed"]) == (3.5, 4, 1)
    assert found["note"] == "1 of 6 photos failed; 1 of 6 photos dark, not in n"


def test_gaps_have_a_status_and_never_a_number() -> None:
    nothing = np.full(3, np.nan)
    failed = row(Values(nothing), *[METHOD_FAILED] * 3)
    absent = row(Values(nothing, gap="no weights"), *[OK] * 3)
    undefined = row(Values(nothing), *[OK] * 3)
    assert [one["status"] for one in (failed, absent, undefined)] == [METHOD_FAILED, UNAVAILABLE, UNAVAILABLE]
    assert absent["note"] == "no weights"
    for one in (failed, absent, undefined):
        assert one["n"] == 0 and np.isnan([one["value"], one["low"], one["high"]]).all()


def test_a_number_for_a_failed_photo_or_beside_a_gap_is_never_counted() -> None:
    values = np.array([1.0, 0.0, 3.0])
    found = row(Values(values), OK, METHOD_FAILED, OK)
    assert (found["value"], found["n"], found["n_failed"]) == (2.0, 2, 1)
    absent = row(Values(values, gap="no weights"), *[OK] * 3)
    assert absent["n"] == 0 and np.isnan([absent["value"], absent["low"], absent["high"]]).all()


def test_a_trial_of_a_failed_photo_is_never_counted() -> None:
    trials = Trials(np.array([1.0, 1.0, 0.0]), np.ones(3))
    found = rate_measurements(records(OK, METHOD_FAILED, OK).assign(note=""), {"m": trials}, 50, seed=0).iloc[0]
    assert (found["value"], found["n"], found["n_failed"]) == (0.5, 2, 1)


def test_a_metric_of_other_records_is_refused() -> None:
    with pytest.raises(ValueError, match="every metric must have 3 values"):
        row(Values(np.zeros(2)), *[OK] * 3)
