"""What decides nothing: rows of few photos, methods under two names, curves that are flat."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cloakbench.bench.statistics.flat_curves import flat_families
from cloakbench.bench.statistics.same_algorithm import same_algorithm
from cloakbench.bench.statistics.small_samples import is_small, pareto_front


def test_rows_of_less_than_half_the_photos_or_of_few_people_are_small() -> None:
    methods = [True] * 4
    assert is_small([500, 260, 20, 500], [50, 26, 10, 9], methods).tolist() == [False, False, True, True]
    assert is_small([30, 30], [3, 3], methods[:2]).tolist() == [False, False]  # nobody has more
    assert is_small([], [], []).tolist() == []
    controls = [True, True, True, False]  # which cost nothing
    assert is_small([100, 80, 40, 500], [50, 20, 10, 50], controls).tolist() == [False, False, True, False]
    assert is_small([20, 500], [20, 50], [False, False]).tolist() == [True, False]


def test_front_is_that_of_a_search_over_all_pairs_and_leaves_small_rows_out() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 8, (2, 40)).astype(float)
    x[3], eligible = np.nan, np.arange(40) != 5
    x[5] = y[5] = 99
    rows = [i for i in range(40) if i not in (3, 5)]
    expected = {
        i for i in rows if not any(x[j] >= x[i] and y[j] >= y[i] and (x[j], y[j]) != (x[i], y[i]) for j in rows)
    }
    front = pareto_front(x, y, eligible)
    assert set(front) == expected
    assert x[front].tolist() == sorted(x[front])


def records(**similarity: float) -> pd.DataFrame:
    frames = [
        pd.DataFrame(
            {
                "method": method,
                "epsilon_255": 8.0,
                "surrogate": "net",
                "judge": judge,
                "image_id": ["b", "a"],
                "status": "ok",
                "note": method,
                "own_similarity": [value, np.nan],
                "p2_rank": [3, 1],
            }
        )
        for judge in ("near", "far")
        for method, value in similarity.items()
    ]
    return pd.concat(frames, ignore_index=True).astype({"p2_rank": "Int64"})


def test_methods_that_agree_on_every_record_are_one_algorithm() -> None:
    found = records(uap=0.1, plus=0.5, center=0.5, hull=0.5000001)
    assert same_algorithm(found, ignore={"note"}) == [("plus", "center")]
    assert same_algorithm(found) == []


def test_one_record_apart_is_another_algorithm_whatever_the_order_of_rows() -> None:
    found = records(plus=0.5, center=0.5).sample(frac=1, random_state=1)
    assert same_algorithm(found, ignore={"note"}) in ([("plus", "center")], [("center", "plus")])
    found.iloc[0, found.columns.get_loc("p2_rank")] = 7  # type: ignore[call-overload]
    assert same_algorithm(found, ignore={"note"}) == []
    assert same_algorithm(found.iloc[1:], ignore={"note"}) == []


def test_methods_that_failed_on_everything_do_not_agree() -> None:
    assert same_algorithm(records(one=0.5, two=0.5).assign(status="method_failed"), ignore={"note"}) == []


def test_a_family_is_flat_only_when_every_curve_is() -> None:
    nothing = float("nan")
    flat = flat_families(
        {
            "jpeg": [[0.60, 0.61, 0.595], [0.1, 0.1, nothing]],
            "blur": [[0.60, 0.60], [0.1, 0.13]],
            "noise": [[0.60], [nothing, 0.2]],
        }
    )
    assert flat == {"jpeg": pytest.approx(0.015)}
