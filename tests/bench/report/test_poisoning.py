"""The poisoning table and figure: what is printed, what is a gap, and that other tables do not see attackers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from cloakbench.bench.protocols.poisoning.figures import poisoning_figure
from cloakbench.bench.protocols.poisoning.report import poisoning_checks, poisoning_table
from cloakbench.bench.protocols.poisoning.scenarios import scenario_name
from cloakbench.bench.report.drawing.plotting import Skipped
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.results import MEASUREMENT_COLUMNS, PROTOCOL_COLUMNS, Results
from cloakbench.bench.report.table import Number
from cloakbench.bench.report.table_text import to_csv, to_markdown
from cloakbench.bench.report.terminal import summary
from cloakbench.bench.report.writer import write_report

RATES = {
    ("identity", math.nan): (0.05, 0.03),
    ("random_sign", 8.0): (0.06, 0.04),
    ("em_class", 8.0): (0.4, 0.5),
    ("rem", 8.0): (0.3, math.nan),
}
NEW, NEW_TITLES = ["em_class", "rem"], ["EM class-wise", "REM (reduced)"]


def poisoned(results: Results) -> Results:
    """A run with a poisoning track: two attackers, one of them also with unprotected photos."""
    rows: list[dict[str, Any]] = []

    def add(metric: str, method: tuple[str, float], value: float, target: str = "", transform: str = "none") -> None:
        failed = math.isnan(value)
        row: dict[str, Any] = dict.fromkeys(MEASUREMENT_COLUMNS, "")
        row |= {"protocol": "poisoning", "metric": metric, "method": method[0], "epsilon_255": method[1]}
        row |= {"judge": target, "condition": transform, "value": value, "low": value - 0.02, "high": value + 0.02}
        row |= {"n": 0 if failed else 100, "n_failed": 100 * failed, "n_identities": 20, "white_box": False}
        row |= {"same_family": False, "status": "target_failed" if failed else "ok"}
        row |= {"note": "1 of 3 trainings failed" if failed else ""}
        rows.append(row)

    for method, (one, two) in RATES.items():
        add("ssim", method, 0.9)
        for attacker, rate in (("ir", one), ("mobilefacenet", two)):
            add("psr_poisoning", method, rate, attacker, "standard")
            add("psr_poisoning_seed_sd", method, 0.01, attacker, "standard")
            add("train_accuracy", method, 1.0, attacker, "standard")
        add("psr_poisoning", method, one / 2, "ir", "standard_unprotected_0.2")
    costs = pd.DataFrame(
        {"method": ["em_class"], "epsilon_255": [8.0], "surrogate": [""], "scope": ["dataset"],
         "publication": ["poisoning"], "images": [400], "seconds_per_image": [0.1],
         "forward_per_image": [40.0], "backward_per_image": [39.0],
         "training_seconds": [0.0], "training_passes": [0], "peak_memory_mib": [500.0], "status": ["ok"],
         "converged": ["no"]}
    )  # fmt: skip
    settings = {"_target_": "cloakbench.bench.protocols.poisoning.protocol.Poisoning", "_recursive_": False}
    settings |= {"methods": {}, "attackers": {"ir": {}, "mobilefacenet": {}}, "regimes": {"standard": {}}}
    tracks = pd.DataFrame(
        [("poisoning", "poisoning", "Poisoning", "poisoning", json.dumps(settings))], columns=list(PROTOCOL_COLUMNS)
    )
    return replace(
        results,
        measurements=pd.concat([results.measurements, pd.DataFrame(rows)], ignore_index=True),
        costs=pd.concat([results.costs, costs], ignore_index=True),
        methods=pd.concat([results.methods, results.methods.iloc[:2].assign(key=NEW, title=NEW_TITLES)]),
        setup={**results.setup, "poisoning_identities": 20},
        protocols=pd.concat([results.protocols, tracks], ignore_index=True),
    )


@pytest.fixture
def run(small) -> Results:
    return poisoned(small)


def test_the_table_has_a_row_per_method_and_a_column_per_planned_scenario(run) -> None:
    table = poisoning_table(Measured(run))
    assert table is not None
    assert [row.label for row in table.rows] == [
        "Clean photo",
        "Random sign (control)",
        "EM class-wise",
        "REM (reduced)",
    ]
    keys = [column.key for column in table.columns]
    assert keys[1:4] == ["standard_ir_percent", "standard_mobilefacenet_percent", "standard_unprotected_0.2_ir_percent"]
    em = dict(zip(keys, table.rows[2].cells, strict=True))
    mean = em["mean_percent"]
    assert isinstance(mean, Number)
    assert (mean.value, mean.low, mean.high) == pytest.approx((45, 43, 47))
    assert em["converged"] == "no"
    assert em["n"] == "100"
    text = to_markdown(table)
    assert "An attacker who guesses scores 95.0" in text
    assert "20 % unprotected" in text
    assert "standard_ir_percent_low" in to_csv(table)


def test_rates_stand_beside_the_norms_of_the_photos_that_were_trained_on(run) -> None:
    elsewhere = run.costs["publication"] != "poisoning"
    told = {"norm": "l2", "size_255": 1200.0, "linf_255": 31.0, "l2_255": run.costs["images"].where(elsewhere, 1201.0)}
    table = poisoning_table(Measured(replace(run, costs=run.costs.assign(**told))))
    assert table is not None and [column.key for column in table.columns[:3]] == ["epsilon_255", "linf_255", "l2_255"]
    em = next(row for row in table.rows if row.label == "EM class-wise")
    assert [em.cells[0], *(cell.text for cell in em.cells[1:3])] == ["L2 1200", "31.0", "1201.0"]


def test_a_failed_attacker_is_a_gap_and_so_is_the_mean(run) -> None:
    table = poisoning_table(Measured(run))
    assert table is not None
    keys = [column.key for column in table.columns]
    rem = dict(zip(keys, table.rows[3].cells, strict=True))
    assert math.isnan(rem["standard_mobilefacenet_percent"].value)
    assert math.isnan(rem["mean_percent"].value)
    assert rem["standard_ir_percent"].value == pytest.approx(30)


def test_other_tables_and_means_do_not_see_attackers(run, small) -> None:
    with_track, without = Measured(run), Measured(small)
    assert with_track.judges("psr_p2_top1") == without.judges("psr_p2_top1")
    assert with_track.surrogates == without.surrogates
    assert with_track.runs == without.runs
    assert with_track.metrics == without.metrics
    assert with_track.absent() == without.absent()


def test_the_figure_draws_and_says_when_it_cannot(run, small) -> None:
    assert isinstance(poisoning_figure(Measured(run)), Figure)
    assert poisoning_figure(Measured(small)) == Skipped("the run has no poisoning")


def test_weak_attackers_and_searches_that_gave_up_are_flagged(run) -> None:
    assert poisoning_checks(Measured(run)) == [
        "EM class-wise at 8/255: the search for the noise did not reach its stop error"
    ]
    weak = run.measurements.assign(value=run.measurements["value"].where(run.measurements["method"] != "identity", 0.6))
    flags = poisoning_checks(Measured(replace(run, measurements=weak)))
    assert "ir (standard training) misnames 60.0 % of the test photos" in flags[0]


def test_a_method_that_is_not_above_its_control_is_flagged(run) -> None:
    idle = run.measurements["value"].where(
        ~((run.measurements["method"] == "em_class") & (run.measurements["metric"] == "psr_poisoning")), 0.05
    )
    flags = poisoning_checks(Measured(replace(run, measurements=run.measurements.assign(value=idle))))
    assert flags[0] == (
        "EM class-wise at 8/255 does not poison: PSR 5.0 % is not above 5.0 % of its control, Random sign (control)"
    )


def test_the_report_has_a_section_and_lists_the_failure(run, tmp_path) -> None:
    write_report(run, tmp_path)
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Poisoning" in report
    assert "figures/poisoning.png" in report
    assert "1 of 3 trainings failed" in report.split("## Failures")[1]
    summary(run)


def test_a_track_alone_makes_a_report(run, tmp_path) -> None:
    only = run.measurements["protocol"] == "poisoning"
    alone = replace(
        run,
        measurements=run.measurements[only],
        costs=run.costs[run.costs["method"] == "em_class"],
        thresholds=run.thresholds.iloc[:0],
        examples=(),
    )
    write_report(alone, tmp_path, figures=False)
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Poisoning" in report
    assert "## Identification" not in report
    summary(alone)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("standard", "Standard training"),
        ("standard_unprotected_0.2", "20 % unprotected"),
        ("augmented_unprotected_0.05", "5 % unprotected, strong augmentation"),
        ("my_regime", "my_regime"),
    ],
)
def test_scenario_names(key: str, name: str) -> None:
    assert scenario_name(key) == name
