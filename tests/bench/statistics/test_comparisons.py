"""Rankings from records: planted methods whose single intervals overlap, budgets, surrogates, gaps and small rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from cloakbench.bench.statistics.comparisons import PAIR_COLUMNS, ROW_COLUMNS, Comparisons, compare_methods
from cloakbench.bench.statistics.intervals import ratio_interval
from cloakbench.bench.statistics.photo_trials import photo_trials, photo_values
from cloakbench.bench.statistics.rankings import ALL, Sampling, joint_means
from cloakbench.bench.statistics.tie_groups import tie_groups

PEOPLE, PHOTOS = 40, 8
JUDGES = ("near", "far")


@dataclass(frozen=True)
class Counted:
    events: np.ndarray
    trials: np.ndarray
    gap: str = ""


def cell(method: str, gain: float, *, surrogate: str = "net", judge: str = "near", epsilon: float = 8) -> pd.DataFrame:
    """Records of one cell: photos that are missed by everybody's weakness, or by the method's own ``gain``."""
    rng = np.random.default_rng(len(judge))
    missed = rng.random(PEOPLE * PHOTOS) < np.repeat(rng.beta(0.5, 0.5, PEOPLE), PHOTOS)
    lucky = np.random.default_rng([len(judge), int(np.nan_to_num(epsilon))]).random(len(missed)) < gain
    rows = range(len(missed))
    return pd.DataFrame(
        {
            "method": method, "epsilon_255": epsilon, "surrogate": surrogate, "judge": judge,
            "image_id": [f"photo{row:03}" for row in rows], "identity": [f"p{row // PHOTOS:02}" for row in rows],
            "missed": (missed | lucky).astype(float), "status": "ok",
        }
    )  # fmt: skip


def counted(records: pd.DataFrame) -> dict[str, Counted]:
    events = records["missed"].to_numpy(dtype=np.float64)
    return {"psr": Counted(np.nan_to_num(events), (~np.isnan(events)).astype(float))}


def methods(gains: dict[str, float], **axes: object) -> pd.DataFrame:
    return pd.concat([cell(name, gain, judge=j, **axes) for name, gain in gains.items() for j in JUDGES])  # type: ignore[arg-type]


def compared(records: pd.DataFrame) -> Comparisons:
    return compare_methods(photo_trials(records, counted, "psr"), "psr", Sampling(400, 0))


def test_methods_with_overlapping_intervals_are_separated_and_equal_ones_share_a_letter() -> None:
    found = compared(methods({"plain": 0.0, "better": 0.08, "twin": 0.08}))
    assert found.rows["method"].tolist() == ["better", "twin", "plain"]
    assert found.rows["rank"].tolist() == [1, 2, 3]
    assert found.rows["group"].tolist() == ["a", "a", "b"]
    low, high = found.rows["low"].tolist(), found.rows["high"].tolist()
    assert high[2] > low[0]
    assert found.rows["value"].iloc[2] > low[0]
    assert found.pairs["decided"].tolist() == [False, True, True]
    assert found.pairs["neighbours"].tolist() == [True, False, True]
    assert (found.pairs["p_holm"] >= found.pairs["p"]).all()


def test_value_of_a_row_is_the_mean_of_the_rates_over_judges() -> None:
    records = methods({"plain": 0.0})
    rates = [
        ratio_interval(own["missed"], np.ones(len(own)), own["identity"], 10, 0).value
        for _, own in records.groupby("judge")
    ]
    assert compared(records).rows["value"].tolist() == pytest.approx([np.mean(rates)])


def test_means_without_comparisons_are_those_of_the_comparison() -> None:
    records = methods({"plain": 0.0, "better": 0.08})
    means = joint_means(photo_trials(records, counted, "psr"), "psr", Sampling(400, 0))
    pd.testing.assert_frame_equal(means, compared(records).rows.drop(columns="group"))


def test_letters_and_decisions_tell_the_same() -> None:
    found = compared(methods({f"m{i}": 0.02 * i for i in range(6)}))
    place = {name: i for i, name in enumerate(found.rows["method"])}
    apart = np.zeros((6, 6), dtype=bool)
    for a, b, decided in found.pairs[["method_a", "method_b", "decided"]].to_numpy():
        apart[place[a], place[b]] = apart[place[b], place[a]] = decided
    assert apart.any()
    assert not apart[np.triu_indices(6, 1)].all()
    assert tie_groups(apart) == found.rows["group"].tolist()
    assert len(found.pairs) == 15
    assert found.pairs["neighbours"].sum() == 5


def test_every_budget_has_its_ranking_and_methods_without_one_are_in_all() -> None:
    clean = methods({"identity": 0.0}, epsilon=float("nan"), surrogate="")
    records = pd.concat([methods({"pgd": 0.1}, epsilon=4), methods({"pgd": 0.3}, epsilon=8), clean])
    rows = compared(records).rows
    assert rows.groupby("ranking_epsilon_255")["method"].agg(list).to_dict() == {
        4: ["pgd", "identity"],
        8: ["pgd", "identity"],
    }
    assert rows["epsilon_255"].tolist()[0] == 4


def test_every_surrogate_has_a_ranking_and_the_mean_over_those_that_most_methods_share_another() -> None:
    records = pd.concat(
        [methods({"pgd": 0.2, "fgsm": 0.1}, surrogate=net) for net in ("net", "other")]
        + [methods({"apf": 0.4}, surrogate="pair"), methods({"identity": 0.0}, surrogate="")]
    )
    rows = compared(records).rows
    rankings = {name: list(own["method"]) for name, own in rows.groupby("ranking_surrogate", sort=False)}
    block = ["pgd", "fgsm", "identity"]
    assert rankings == {"net": block, "other": block, "pair": ["apf", "identity"], ALL: block}


def test_a_method_that_lacks_a_judge_is_in_no_ranking() -> None:
    records = methods({"pgd": 0.2, "fgsm": 0.1})
    records.loc[(records["method"] == "fgsm") & (records["judge"] == "far"), "missed"] = np.nan
    assert compared(records).rows["method"].tolist() == ["pgd"]


def test_rows_of_few_photos_are_listed_without_rank_and_letters_and_compared_with_nobody() -> None:
    records = methods({"pgd": 0.2, "fgsm": 0.0, "costly": 0.9})
    records = records[(records["method"] != "costly") | (records["image_id"] < "photo100")]
    found = compared(records)
    costly = found.rows[found.rows["method"] == "costly"].iloc[0]
    assert (costly["small"], costly["group"], costly["n_photos"]) == (True, "", 100)
    assert pd.isna(costly["rank"])
    assert found.rows.loc[~found.rows["small"].astype(bool), "rank"].tolist() == [1, 2]
    assert set(found.pairs["method_a"]) | set(found.pairs["method_b"]) == {"pgd", "fgsm"}


def test_variants_are_rows_of_their_own() -> None:
    records = pd.concat(
        [methods({"pgd": gain}).assign(variant=name) for name, gain in (("steps 2", 0), ("steps 9", 0.3))]
    )
    assert compared(records).rows["variant"].tolist() == ["steps 9", "steps 2"]


def test_a_quantity_with_a_unit_is_ranked_by_its_direction() -> None:
    records = methods({"loud": 0.0, "soft": 0.0})
    records["linf_255"] = np.where(records["method"] == "loud", 8.0, 4.0)
    found = compare_methods(
        photo_values(records, "linf_255"), "linf_255", Sampling(100, 0, bounded=False), higher_is_better=False
    )
    assert found.rows["method"].tolist() == ["soft", "loud"]
    assert found.pairs["difference"].tolist() == [-4.0]
    assert found.pairs["decided"].tolist() == [True]


def test_results_do_not_depend_on_the_order_of_records() -> None:
    records = methods({"plain": 0.0, "better": 0.08, "twin": 0.02})
    shuffled = records.sample(frac=1, random_state=0)
    one, other = compared(records), compared(shuffled)
    pd.testing.assert_frame_equal(one.rows, other.rows)
    pd.testing.assert_frame_equal(one.pairs, other.pairs)


def test_nothing_to_compare_gives_empty_frames_with_all_columns() -> None:
    records = methods({"pgd": 0.1})
    found = compared(records.assign(missed=np.nan))
    assert (found.rows.empty, list(found.rows)) == (True, list(ROW_COLUMNS))
    assert (found.pairs.empty, list(found.pairs)) == (True, list(PAIR_COLUMNS))


def test_records_of_two_conditions_at_once_are_refused() -> None:
    records = pd.concat([methods({"pgd": 0.1}), methods({"pgd": 0.1})])
    with pytest.raises(ValueError, match="a photo is twice in pgd, , 8"):
        photo_trials(records, counted, "psr")


def test_cells_whose_metric_is_a_gap_give_no_trials() -> None:
    def gap(records: pd.DataFrame) -> dict[str, Counted]:
        return {"psr": Counted(np.ones(len(records)), np.ones(len(records)), "no gallery")}

    assert photo_trials(methods({"pgd": 0.1}), gap, "psr").empty
