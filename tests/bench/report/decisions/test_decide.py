"""Decisions from records: planted methods whose single intervals overlap, budgets, surrogates, gaps and small rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap
from statsmodels.stats.multitest import multipletests

from cloakbench.bench.core.axes import NO_BUDGET, BudgetSize
from cloakbench.bench.report import archive
from cloakbench.bench.report.decisions.decide import with_decisions
from cloakbench.bench.report.decisions.differences_table import differences_table
from cloakbench.bench.report.decisions.ranking import identical_notes, ranking_of, rankings_of
from cloakbench.bench.report.decisions.tables import paired_tables, ties
from cloakbench.bench.report.index import ALL, Measured, Place, Run
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.report.reporters import Plain
from cloakbench.bench.report.results import MEASUREMENT_COLUMNS, PROTOCOL_COLUMNS, PhotoRecords, Results
from cloakbench.bench.report.sweeps.combine import combine
from cloakbench.bench.report.table_text import to_markdown
from cloakbench.bench.statistics.intervals import ratio_interval
from cloakbench.bench.statistics.photo_trials import photo_trials
from cloakbench.bench.statistics.tie_groups import tie_groups

PEOPLE, PHOTOS, RESAMPLES = 40, 8, 400
JUDGES = ("near", "farther")
PSR = Metric("psr", "PSR", "photos")
PLACE = Place("toy", "psr", "none")
NOTHING = float("nan")
AXES = ["method", "variant", "epsilon_255", "surrogate", "judge", "condition", "image_id", "identity"]


@dataclass(frozen=True)
class Counted:
    events: np.ndarray
    trials: np.ndarray


class Reporter(Plain):
    """A protocol with one rate."""

    def trials(self, records: pd.DataFrame) -> Mapping[str, Counted]:
        events = records["missed"].to_numpy(dtype=np.float64)
        return {"psr": Counted(np.nan_to_num(events), (~np.isnan(events)).astype(float))}


REPORTER = Reporter("toy", "Toy", "", ("psr",))


def cell(method: str, gain: float, *, surrogate: str = "net", judge: str = "near", epsilon: float = 8) -> pd.DataFrame:
    """Records of one cell: photos that are missed by everybody's weakness, or by the method's own ``gain``."""
    rng = np.random.default_rng(len(judge))
    missed = rng.random(PEOPLE * PHOTOS) < np.repeat(rng.beta(0.5, 0.5, PEOPLE), PHOTOS)
    lucky = np.random.default_rng([len(judge), int(np.nan_to_num(epsilon))]).random(len(missed)) < gain
    rows = range(len(missed))
    return pd.DataFrame(
        {
            "method": method, "variant": "", "epsilon_255": epsilon, "surrogate": surrogate, "judge": judge,
            "condition": "none",
            "image_id": [f"photo{row:03}" for row in rows], "identity": [f"p{row // PHOTOS:02}" for row in rows],
            "missed": (missed | lucky).astype(float), "similarity": gain, "status": "ok",
        }
    )  # fmt: skip


def methods(gains: Mapping[str, float], judges: Iterable[str] = JUDGES, **axes: Any) -> pd.DataFrame:
    return pd.concat([cell(name, gain, judge=j, **axes) for name, gain in gains.items() for j in judges])


def results(records: pd.DataFrame, publication: str = "", compared_with: str = "") -> Results:
    """What a run with these records measured."""
    axes = ["method", "variant", "epsilon_255", "surrogate", "judge", "condition"]
    lines = []
    for key, own in records.groupby(axes, dropna=False, sort=False):
        known = own["missed"].notna()
        rate = ratio_interval(own["missed"].fillna(0), known.astype(float), own["identity"], RESAMPLES, 0)
        line = dict(zip(axes, key, strict=True)) | {"protocol": "toy", "metric": "psr", "note": "", "n_failed": 0}
        line |= {"value": rate.value, "low": rate.low, "high": rate.high, "n": int(known.sum())}
        line |= {"n_identities": rate.n_identities, "status": "ok" if known.any() else "unavailable"}
        lines.append(line | {"white_box": line["judge"] == line["surrogate"], "same_family": False})
    protocol = {"label": "toy", "name": "toy", "title": "Toy", "publication": publication, "config": "{}"}
    return with_decisions(
        Results(
            name="toy",
            dataset="toy 1",
            manifest_sha256="",
            measurements=pd.DataFrame(lines, columns=list(MEASUREMENT_COLUMNS)),
            models=pd.DataFrame(columns=["name"]),
            costs=pd.DataFrame(),
            methods=pd.DataFrame(columns=["key", "variant", "varied", "title"]),
            thresholds=pd.DataFrame(),
            setup={"seed": 0, "resamples": RESAMPLES, "compared_with": compared_with},
            protocols=pd.DataFrame([protocol], columns=list(PROTOCOL_COLUMNS)),
            records=PhotoRecords(["toy"], lambda _: records),
            metrics=pd.DataFrame([{"protocol": "toy", **vars(PSR)}]),
        ),
        [REPORTER],
    )


def ranked(found: Results, surrogate: str = ALL) -> dict[str, str]:
    """Method to letters, best first."""
    ranking = ranking_of(found, PLACE, BudgetSize(8.0), surrogate)
    return {} if ranking is None else {row.run.method: row.group for row in ranking.rows}


def test_methods_with_overlapping_intervals_are_separated_and_equal_ones_share_a_letter() -> None:
    found = results(methods({"plain": 0.0, "better": 0.08, "twin": 0.08}))
    assert ranked(found) == {"better": "a", "twin": "a", "plain": "b"}
    ranking = ranking_of(found, PLACE, BudgetSize(8.0))
    assert ranking is not None
    better, _, plain = (row.estimate for row in ranking.rows)
    assert plain.high > better.value > plain.value > better.low
    assert [one.decided for one in ranking.comparisons] == [False, True, True]
    assert [one.neighbours for one in ranking.comparisons] == [True, False, True]


@pytest.mark.slow
def test_holm_is_that_of_the_library_over_all_pairs_of_a_ranking() -> None:
    found = results(methods({f"m{i}": 0.02 * i for i in range(6)}))
    assert len(found.pairs) == 15
    assert found.pairs["p_holm"].tolist() == pytest.approx(multipletests(found.pairs["p"], method="holm")[1])
    assert found.pairs["neighbours"].sum() == 5


def test_letters_and_decisions_tell_the_same() -> None:
    found = results(methods({f"m{i}": 0.02 * i for i in range(6)}))
    place = {name: i for i, name in enumerate(found.rankings["method"])}
    apart = np.zeros((6, 6), dtype=bool)
    for a, b, decided in found.pairs[["method_a", "method_b", "decided"]].to_numpy():
        apart[place[a], place[b]] = apart[place[b], place[a]] = decided
    assert apart.any()
    assert not apart[np.triu_indices(6, 1)].all()
    assert tie_groups(apart) == found.rankings["group"].tolist()


def test_interval_of_a_mean_is_that_of_a_bootstrap_of_scipy_over_people() -> None:
    records = methods({"plain": 0.0})
    by_person = [own.groupby("identity")["missed"].mean().to_numpy() for _, own in records.groupby("judge")]
    theirs = bootstrap(
        tuple(by_person),
        lambda near, far, axis: (near.mean(axis=axis) + far.mean(axis=axis)) / 2,
        paired=True,
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    measured = Measured(results(records))
    mean = measured.black_box("psr", Run("plain", BudgetSize(8.0)), "net")
    assert (mean.low, mean.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)  # 400 draws
    ends = [measured.cell("psr", Run("plain", BudgetSize(8.0)), "net", judge) for judge in JUDGES]
    assert mean.value == pytest.approx(np.mean([cell.value for cell in ends]))
    assert mean.high - mean.low < 0.9 * np.mean([cell.high - cell.low for cell in ends])


def test_every_mean_of_the_index_has_the_value_of_its_joint_mean() -> None:
    records = pd.concat(
        [methods({"pgd": 0.2, "fgsm": 0.1}, ("net", "near", "other"), surrogate=net) for net in ("net", "other")]
        + [methods({"identity": 0.0}, ("net", "near", "other"), surrogate="", epsilon=NOTHING)]
    )
    found = results(records)
    measured = Measured(found)
    for line in found.means.itertuples():
        run = Run(line.method, BudgetSize.of(line.epsilon_255))
        if line.surrogate == ALL:
            mean = measured.white_box("psr", run) if line.white_box else measured.black_box("psr", run)
        elif line.white_box:
            mean = measured.white_box("psr", run, line.surrogate)
        else:
            mean = measured.black_box("psr", run, line.surrogate)
        assert (mean.value, mean.low, mean.high) == pytest.approx((line.value, line.low, line.high))
    assert len(found.means) == 2 * 3 * 2 + 3
    assert set(found.rankings["method"]) == {"pgd", "fgsm", "identity"}


def test_white_box_cells_are_in_no_comparison() -> None:
    records = methods({"pgd": 0.1, "fgsm": 0.1}, ("near", "net"))
    records.loc[(records["judge"] == "net") & (records["method"] == "pgd"), "missed"] = 1.0
    found = results(records)
    assert found.pairs["difference"].tolist() == [0.0]


def test_every_budget_has_its_ranking_and_methods_without_one_are_in_all() -> None:
    clean = methods({"identity": 0.0}, epsilon=NOTHING, surrogate="")
    found = results(pd.concat([methods({"pgd": 0.1}, epsilon=4), methods({"pgd": 0.3}, epsilon=8), clean]))
    assert {one.budget.epsilon_255: [row.run.method for row in one.rows] for one in rankings_of(found, PLACE)} == {
        4: ["pgd", "identity"],
        8: ["pgd", "identity"],
    }


def test_every_surrogate_has_a_ranking_and_the_mean_over_those_that_most_methods_share_another() -> None:
    found = results(
        pd.concat(
            [methods({"pgd": 0.2, "fgsm": 0.1}, surrogate=net) for net in ("net", "other")]
            + [methods({"apf": 0.4}, surrogate="pair"), methods({"identity": 0.0}, surrogate="")]
        )
    )
    block = ["pgd", "fgsm", "identity"]
    assert {one.surrogate: [row.run.method for row in one.rows] for one in rankings_of(found, PLACE)} == {
        "net": block,
        "other": block,
        "pair": ["apf", "identity"],
        ALL: block,
    }


def test_a_method_that_lacks_a_judge_is_in_no_ranking() -> None:
    records = methods({"pgd": 0.2, "fgsm": 0.1})
    records.loc[(records["method"] == "fgsm") & (records["judge"] == "near"), "missed"] = np.nan
    assert list(ranked(results(records))) == ["pgd"]


def test_rows_of_few_photos_are_listed_without_letters_and_compared_with_nobody() -> None:
    records = methods({"pgd": 0.2, "fgsm": 0.0, "costly": 0.9})
    records = records[(records["method"] != "costly") | (records["image_id"] < "photo100")]
    found = results(records)
    ranking = ranking_of(found, PLACE, BudgetSize(8.0))
    assert ranking is not None
    assert [(row.run.method, row.small, row.group, row.estimate.n) for row in ranking.rows] == [
        ("costly", True, "", 100),
        ("pgd", False, "a", 320),
        ("fgsm", False, "b", 320),
    ]
    assert found.rankings["rank"].isna().tolist() == [True, False, False]
    assert set(found.pairs["method_a"]) | set(found.pairs["method_b"]) == {"pgd", "fgsm"}
    assert Measured(found).is_small("psr", Run("costly", BudgetSize(8.0)))


def test_photos_of_others_than_the_probes_make_one_ranking_of_all_budgets_and_surrogates() -> None:
    records = pd.concat(
        [
            methods({"em": 0.3}, epsilon=16, surrogate=""),
            methods({"em": 0.1}, epsilon=8, surrogate=""),
            methods({"opom": 0.5}),
            methods({"identity": 0.0}, epsilon=NOTHING, surrogate=""),
        ]
    )
    [ranking] = rankings_of(results(records, publication="toy"), PLACE)
    assert (ranking.budget, ranking.surrogate) == (NO_BUDGET, "")
    assert [(row.run.method, row.run.budget.epsilon_255, row.surrogate) for row in ranking.rows] == [
        ("opom", 8.0, "net"),
        ("em", 16.0, ""),
        ("em", 8.0, ""),
        ("identity", None, ""),
    ]
    assert ties(ranking, Run("em", BudgetSize(8.0)), "") == ranking.rows[2].group


def test_methods_with_equal_records_are_named_and_their_comparison_has_no_interval() -> None:
    found = results(methods({"plus": 0.1, "center": 0.1, "other": 0.3}))
    assert identical_notes(Measured(found), "toy") == ("center: identical to plus on all 640 records.",)
    printed, linked = paired_tables(Measured(found), "toy", PSR)
    assert not linked
    assert [table.name for table in printed] == ["toy_compared_eps8"]
    text = to_markdown(printed[0])
    assert "identical records" in text
    assert "±" not in text


def test_protocols_with_a_metric_of_one_name_have_rankings_of_their_own() -> None:
    found = results(methods({"pgd": 0.1, "fgsm": 0.4}))
    frames = {name: getattr(found, name) for name in ("rankings", "pairs")}
    twice = {name: pd.concat([frame, frame.assign(protocol="other")]) for name, frame in frames.items()}
    ranking = ranking_of(replace(found, **twice), PLACE, BudgetSize(8.0))
    assert ranking == ranking_of(found, PLACE, BudgetSize(8.0))
    assert ranking is not None
    assert [row.run.method for row in ranking.rows] == ["fgsm", "pgd"]


def test_variants_are_rows_of_their_own() -> None:
    parts = [methods({"pgd": gain}).assign(variant=name) for name, gain in (("steps=2", 0.0), ("steps=9", 0.3))]
    assert ranked(results(pd.concat(parts))) == {"pgd (steps=9)": "a", "pgd (steps=2)": "b"}


def test_runs_that_share_a_table_have_each_cell_once_and_are_compared_with_each_other() -> None:
    clean = methods({"identity": 0.0}, surrogate="", epsilon=NOTHING)
    runs = [results(pd.concat([methods({name: gain}), clean])) for name, gain in (("pgd", 0.05), ("fgsm", 0.3))]
    both = combine(runs)
    assert both.rankings.empty
    assert len(both.records["toy"]) == 3 * len(clean)
    assert ranked(with_decisions(both, [REPORTER])) == {"fgsm": "a", "pgd": "b", "identity": "c"}


def test_decisions_do_not_depend_on_the_order_of_records() -> None:
    records = methods({"plain": 0.0, "better": 0.08, "twin": 0.02})
    one, other = results(records), results(records.sample(frac=1, random_state=0))
    keys = ["method_a", "method_b"]
    pd.testing.assert_frame_equal(
        one.pairs.sort_values(keys, ignore_index=True), other.pairs.sort_values(keys, ignore_index=True)
    )
    pd.testing.assert_frame_equal(
        one.means.sort_values("method", ignore_index=True), other.means.sort_values("method", ignore_index=True)
    )


def test_a_record_without_a_trial_takes_nothing_from_the_others_of_its_photo() -> None:
    """As where one of several seeds gave no answer: protocols leave such events empty."""
    records = pd.concat([methods({"pgd": 0.1, "fgsm": 0.4})] * 2, ignore_index=True)
    empty = np.arange(len(records)) < len(records) // 2
    counted = Counted(np.where(empty, np.nan, records["missed"]), (~empty).astype(float))
    [(_, photos)] = photo_trials(records, {"psr": counted}, ["psr"])
    [(_, once)] = photo_trials(
        records[~empty], {"psr": Counted(counted.events[~empty], counted.trials[~empty])}, ["psr"]
    )
    assert photos.trials.all()
    np.testing.assert_array_equal(photos.events, once.events)


def test_records_of_an_older_version_are_decided_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such records had no variants, and no columns that were empty throughout."""
    records = methods({"plus": 0.1, "center": 0.1}, epsilon=NOTHING, surrogate="")
    old = records.drop(columns=["variant", "epsilon_255", "surrogate"])
    run = replace(
        results(records), costs=pd.DataFrame({"method": ["plus"]}), records=PhotoRecords(["toy"], lambda _: old)
    )
    with monkeypatch.context() as patch:
        patch.setattr(archive, "_FRAMES", tuple(name for name in archive._FRAMES if name not in archive._NEWER))
        archive.save_results(run, tmp_path)
    assert archive.load_results(tmp_path).identical["method"].tolist() == ["center"]


def test_a_protocol_that_breaks_is_not_taken_for_one_that_decides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(results(methods({"pgd": 0.1})), costs=pd.DataFrame({"method": ["pgd"]}))
    with monkeypatch.context() as patch:
        patch.setattr(archive, "_FRAMES", tuple(name for name in archive._FRAMES if name != "means"))
        archive.save_results(
            replace(run, records=PhotoRecords(["toy"], lambda _: run.records["toy"].loc[:, AXES])), tmp_path
        )
    monkeypatch.setattr(archive, "_NEWER", ("means", *archive._NEWER))
    monkeypatch.setattr(archive, "reporters", lambda _: (REPORTER,))
    with pytest.raises(KeyError, match="missed"):
        archive.load_results(tmp_path)


def test_without_records_the_ends_of_cells_are_averaged_and_nothing_is_decided() -> None:
    records = methods({"pgd": 0.1})
    found = with_decisions(results(records), [Plain("toy", "Toy", "")])
    assert found.means.empty
    assert ranked(found) == {}
    measured = Measured(found)
    cells = [measured.cell("psr", Run("pgd", BudgetSize(8.0)), "net", judge) for judge in JUDGES]
    assert measured.black_box("psr", Run("pgd", BudgetSize(8.0)), "net").low == pytest.approx(
        np.mean([c.low for c in cells])
    )


def test_differences_from_a_named_method_are_those_of_the_same_photos() -> None:
    records = pd.concat(
        [
            methods({"plain": 0.0, "better": 0.08, "twin": 0.08}),
            cell("identity", 0.0, surrogate="", epsilon=NOTHING),
            cell("plain", 0.0, judge="net"),
            cell("better", 0.3, judge="net"),
        ]
    )
    found = results(records, compared_with="better")
    lines = {(line.method, line.white_box): line for line in found.differences.itertuples()}
    assert set(lines) == {("plain", False), ("twin", False), ("plain", True)}
    plain = lines["plain", False]
    overall = found.means.loc[(found.means["surrogate"] == ALL) & ~found.means["white_box"].astype(bool)]
    rates = dict(zip(overall["method"], overall["value"], strict=True))
    assert plain.difference == pytest.approx(rates["plain"] - rates["better"])
    assert plain.high < 0
    assert plain.n_photos == PEOPLE * PHOTOS
    assert lines["twin", False].difference == 0
    table = differences_table(Measured(found))
    assert table is not None
    assert {row.label: row.cells[-3] for row in table.rows} == {
        "plain at 8/255": "PSR on other networks, PSR on the attacked network",
        "twin at 8/255": "no number by more than its interval",
    }
    assert "| plain at 8/255 |" in to_markdown(table)


def test_without_a_named_method_there_are_no_differences() -> None:
    found = results(methods({"plain": 0.0, "better": 0.08}))
    assert found.differences.empty
    assert differences_table(Measured(found)) is None
