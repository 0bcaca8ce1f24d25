"""What a multirun sets beside method and budget: variants of methods, parts that share no table, curves, seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.labels import method_order
from cloakbench.bench.report.results import MEASUREMENT_COLUMNS, Results
from cloakbench.bench.report.sweeps.combine import combine
from cloakbench.bench.report.sweeps.figures import sweep_figures
from cloakbench.bench.report.sweeps.parts import Sweep, SweepJob, all_measurements, arrange
from cloakbench.bench.report.sweeps.tables import sweep_tables
from cloakbench.bench.report.sweeps.writer import write_sweep
from cloakbench.bench.report.writer import write_report

Make = Callable[..., Results]


def run(make_results: Make, number: float = 0.0, methods: tuple[str, ...] = ("pgd",), **changes: Any) -> Results:
    """A run whose methods' rates are moved by ``number``, and whose controls are not."""
    results = make_results(budgets=(8.0,), transforms=(), methods=methods, failures=False)
    frame = results.measurements
    moved = frame["value"].where(frame["method"].isin(["identity", "random_sign"]), (frame["value"] + number) / 2)
    return replace(results, measurements=frame.assign(value=moved), **changes)


def other_controls(results: Results) -> Results:
    """The same run with another clean row."""
    frame = results.measurements
    return replace(results, measurements=frame.assign(value=frame["value"].where(frame["method"] != "identity", 0.07)))


def jobs(make_results: Make, *settings: Mapping[str, Any], method: str | None = "pgd") -> list[SweepJob]:
    return [SweepJob(run(make_results, number / 10), given, method) for number, given in enumerate(settings)]


def rows_of(sweep: Sweep) -> set[str]:
    """What the rows of the only part are called."""
    [part] = sweep.parts
    return {run.method for run in Measured(part.results).runs}


@pytest.mark.slow
def test_a_setting_of_a_method_makes_rows_a_column_and_a_curve(make_results: Make, tmp_path: Path) -> None:
    sweep = arrange(jobs(make_results, *({"method.steps": steps} for steps in (10, 2, 3))))
    [part] = sweep.parts
    assert [run.method for run in Measured(part.results).runs] == [
        "identity",
        "random_sign",
        "pgd (steps=2)",
        "pgd (steps=3)",
        "pgd (steps=10)",
    ]
    [table] = sweep_tables(sweep)
    assert [(row.label, row.cells[0]) for row in table.rows] == [
        ("Clean photo", ""),
        ("Random sign (control)", ""),
        ("PGD", "2"),
        ("PGD", "3"),
        ("PGD", "10"),
    ]
    figures = sweep_figures(sweep)
    assert list(figures) == ["variants_steps"]
    drawn = figures["variants_steps"][0].axes[0]
    assert [tick.get_text() for tick in drawn.get_xticklabels()] == ["2", "3", "10"]
    write_sweep(sweep, [tmp_path] * 3, tmp_path / "sweep")
    csv = pd.read_csv(tmp_path / "sweep" / "tables" / "measurements.csv")
    assert set(csv["method"]) == {"identity", "random_sign", "pgd"}
    assert list(csv) == list(MEASUREMENT_COLUMNS)
    assert set(csv.loc[csv["method"] == "pgd", "variant"]) == {"steps=2", "steps=3", "steps=10"}
    assert csv.loc[csv["method"] == "identity", "variant"].isna().all()
    text = (tmp_path / "sweep" / "report.md").read_text(encoding="utf-8")
    assert "variants_steps.png" in text and "PGD (steps=3)" in text
    costs = pd.read_csv(tmp_path / "sweep" / "tables" / "passes.csv")
    assert {"PGD (steps=2)", "PGD (steps=10)"} <= set(costs["method"])


def test_equal_numbers_under_two_values_are_two_rows(make_results: Make) -> None:
    """A setting without effect is a flat curve, not a missing point."""
    same = [SweepJob(run(make_results), {"method.steps": steps}, "pgd") for steps in (2, 3)]
    assert rows_of(arrange(same)) >= {"pgd (steps=2)", "pgd (steps=3)"}


def test_a_setting_of_one_method_leaves_the_others_alone(make_results: Make) -> None:
    both = [
        SweepJob(run(make_results, methods=("pgd", "fgsm")), {"methods.pgd.decay": decay, "method@methods.x": "y"})
        for decay in (0.5, 1.0)
    ]
    sweep = arrange(both)
    assert rows_of(sweep) == {"identity", "random_sign", "fgsm", "pgd (decay=0.5)", "pgd (decay=1)"}
    [table] = sweep_tables(sweep)
    assert "FGSM" not in {row.label for row in table.rows}


def test_settings_that_share_their_last_word_are_told_apart(make_results: Make) -> None:
    given = [{"method.a.steps": a, "method.b.steps": b} for a in (1, 2) for b in (1, 2)]
    sweep = arrange(jobs(make_results, *given))
    assert "pgd (a.steps=1, b.steps=2)" in rows_of(sweep)
    given = [{"dataset.size": a, "surrogates.x.size": b} for a in (1, 2) for b in (1, 2)]
    assert arrange(jobs(make_results, *given)).names == ("dataset.size", "surrogates.x.size")


def test_a_setting_of_two_methods_goes_by_one_name(make_results: Make) -> None:
    given = [{"methods.pgd.steps": a, "methods.fgsm.steps": b} for a in (1, 2) for b in (3, 4)]
    sweep = arrange([SweepJob(run(make_results, methods=("pgd", "fgsm")), one) for one in given])
    assert sweep.names == ("steps",)
    assert rows_of(sweep) == {"identity", "random_sign"} | {
        f"{method} (steps={steps})" for method, some in (("pgd", (1, 2)), ("fgsm", (3, 4))) for steps in some
    }


def test_methods_and_budgets_make_no_variants(make_results: Make) -> None:
    given = [{"method": name, "method.epsilon_255": 8, "runtime.workers": n} for n, name in enumerate(("pgd", "fgsm"))]
    sweep = arrange([SweepJob(run(make_results, methods=(one["method"],)), one, one["method"]) for one in given])
    assert sweep.names == ()
    assert len(sweep.parts) == 1
    assert sweep_tables(sweep) == [] and sweep_figures(sweep) == {}
    assert set(all_measurements(sweep)["variant"]) == {""}


def test_seeds_are_parts_with_mean_and_spread(make_results: Make, tmp_path: Path) -> None:
    given = []
    for seed, number in ((0, 0.1), (1, 0.3), (2, 0.8)):
        results = run(make_results, number)
        given.append(SweepJob(other_controls(replace(results, setup={**results.setup, "seed": seed})), {"seed": seed}))
    sweep = arrange(given)
    assert [dict(part.settings) for part in sweep.parts] == [{"seed": 0}, {"seed": 1}, {"seed": 2}]
    rows, spread = sweep_tables(sweep)
    assert [row.cells[0] for row in rows.rows if row.label == "PGD"] == ["0", "1", "2"]
    [pgd] = [row for row in spread.rows if row.label == "PGD"]
    assert pgd.cells[:2] == ("8", "3")
    rates = [
        100 * Measured(part.results).black_box("psr_p2_top1", Measured(part.results).runs[-1]).value
        for part in sweep.parts
    ]
    assert pgd.cells[2].value == pytest.approx(sum(rates) / 3)  # type: ignore[union-attr]
    assert pgd.cells[3].value == pytest.approx(pd.Series(rates).std())  # type: ignore[union-attr]
    assert sweep_figures(sweep) == {}
    folders = [tmp_path / "runs" / str(seed) for seed in range(3)]
    write_sweep(sweep, folders, tmp_path / "sweeps" / "one")
    text = (tmp_path / "sweeps" / "one" / "report.md").read_text(encoding="utf-8")
    assert "(<../../runs/1/report.md>)" in text and "(seed=1)" in text
    csv = pd.read_csv(tmp_path / "sweeps" / "one" / "tables" / "measurements.csv")
    assert set(csv["variant"]) == {"seed=0", "seed=1", "seed=2"}


@pytest.mark.slow
def test_seeds_and_steps_average_the_curve_and_make_reports_of_parts(make_results: Make, tmp_path: Path) -> None:
    given = []
    for seed in (0, 1):
        for steps in (2, 4):
            results = run(make_results, steps / 10 + seed / 20)
            setup = {**results.setup, "seed": seed}
            given.append(SweepJob(replace(results, setup=setup), {"seed": seed, "method.steps": steps}, "pgd"))
    sweep = arrange(given)
    assert len(sweep.parts) == 2
    _, spread = sweep_tables(sweep)
    assert [row.cells[0] for row in spread.rows if row.label == "PGD"] == ["2", "4"]
    [(figure, caption)] = sweep_figures(sweep).values()
    assert "Mean over the seeds" in caption
    points = figure.axes[0].containers[0].lines[0].get_ydata()
    assert len(points) == 2 and points[0] < points[1]
    write_sweep(sweep, [tmp_path] * 4, tmp_path / "sweep")
    for number in range(2):
        assert (tmp_path / "sweep" / f"part{number}_seed_{number}" / "report.md").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"manifest_sha256": "0" * 64},
        {"setup": {"identities": 3, "seed": 0}},
    ],
)
def test_other_photos_and_setups_share_no_table(make_results: Make, change: dict[str, Any]) -> None:
    given = [
        SweepJob(run(make_results, 0.1), {"dataset.identities": 50}),
        SweepJob(run(make_results, 0.2, **change), {"dataset.identities": 3}),
    ]
    sweep = arrange(given)
    assert [dict(part.settings) for part in sweep.parts] == [{"identities": 50}, {"identities": 3}]
    assert "variants_identities" in sweep_figures(sweep)
    assert set(all_measurements(sweep)["variant"]) == {"identities=3", "identities=50"}


def test_a_target_under_two_settings_shares_no_table(make_results: Make) -> None:
    given = [
        SweepJob(run(make_results), {"target.inputs.mean": 0.5}),
        SweepJob(other_controls(run(make_results)), {"target.inputs.mean": 0.4}),
    ]
    assert len(arrange(given).parts) == 2


def test_what_no_setting_explains_is_a_part_for_each_run(make_results: Make) -> None:
    assert len(arrange([SweepJob(run(make_results)), SweepJob(run(make_results, 0.5))]).parts) == 2


@pytest.mark.slow
def test_many_lines_are_rows_of_panels(make_results: Make) -> None:
    given = [{"method.steps": a, "method.decay": b} for a in (1, 100) for b in range(12)]
    figures = sweep_figures(arrange(jobs(make_results, *given)))
    figure, caption = figures["variants_steps"]
    assert figure.axes[0].get_xscale() == "log"
    assert "6 more combinations" in caption


def with_variants(results: Results, own: str, **rates: float) -> Results:
    """A run in which pgd has variants, ``steps_2=0.5`` for a rate of 0.5 with ``steps=2``."""
    frame, methods, costs = results.measurements, results.methods, results.costs
    pgd = frame["method"] == "pgd"
    texts = {name.replace("_", "="): value for name, value in rates.items()}
    return replace(
        results,
        measurements=pd.concat([frame, *(frame[pgd].assign(variant=v, value=rate) for v, rate in texts.items())]),
        methods=pd.concat(
            [
                methods.assign(varied=[own if key == "pgd" else "" for key in methods["key"]]),
                *(methods[methods["key"] == "pgd"].assign(variant=v, varied=v) for v in texts),
            ]
        ),
        costs=pd.concat([costs, *(costs[costs["method"] == "pgd"].assign(variant=v) for v in texts)]),
    )


@pytest.mark.slow
def test_variants_of_one_run_are_a_table_and_a_curve_through_its_own_setting(
    make_results: Make, tmp_path: Path
) -> None:
    results = with_variants(run(make_results, methods=("pgd", "fgsm")), "steps=10", steps_2=0.25, steps_20=0.75)
    sweep = Sweep.of(results)
    assert sweep.names == ("steps",)
    [table] = sweep_tables(sweep)
    assert [(row.label, row.cells[0]) for row in table.rows][2:] == [("PGD", "2"), ("PGD", "10"), ("PGD", "20")]
    [(figure, _)] = sweep_figures(sweep).values()
    points = figure.axes[0].containers[0].lines[0]
    assert list(np.round(points.get_xdata())) == [2, 10, 20]
    assert points.get_ydata()[0] == 25 and points.get_ydata()[2] == 75
    write_report(results, tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Variants" in text and "variants_steps.png" in text
    for name in ("identification_p2_eps8", "quality", "methods", "passes"):
        rows = (tmp_path / "tables" / f"{name}.csv").read_text(encoding="utf-8")
        assert "PGD (steps=2)" in rows and "PGD (steps=20)" in rows
    assert Sweep.of(run(make_results)).names == ()


def test_a_multirun_over_runs_with_variants_has_both_in_one_column(make_results: Make) -> None:
    given = [
        SweepJob(with_variants(run(make_results, number), "steps=10", steps_2=number), {"methods.pgd.decay": number})
        for number in (0.25, 0.5)
    ]
    sweep = arrange(given)
    assert sweep.names == ("decay", "steps")
    assert rows_of(sweep) - {"identity", "random_sign"} == {
        *("pgd (decay=0.25)", "pgd (decay=0.5)", "pgd (decay=0.25, steps=2)", "pgd (decay=0.5, steps=2)"),
    }


def test_a_plain_run_joined_with_one_that_has_variants_is_a_point_of_their_curve(make_results: Make) -> None:
    plain = run(make_results)
    joined = Sweep.of(combine([plain, with_variants(plain, "steps=10", steps_2=0.25)]))
    [table] = sweep_tables(joined)
    assert [row.cells[0] for row in table.rows if row.label == "PGD"] == ["2", "10"]


def test_names_of_variants() -> None:
    keys = ["pgd (steps=10)", "zeta", "pgd (steps=2)", "identity", "pgd (step=0.5)", "pgd (step=0.25)", "pgd"]
    assert method_order(keys, ["pgd"]) == [
        "identity",
        "pgd",
        "pgd (step=0.25)",
        "pgd (step=0.5)",
        "pgd (steps=2)",
        "pgd (steps=10)",
        "zeta",
    ]
