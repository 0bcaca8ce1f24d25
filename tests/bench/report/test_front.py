"""The transfer front: one row for each method, budget and what it attacked; the worst target; rates over passes."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from cloakbench.bench.core.axes import BudgetSize
from cloakbench.bench.protocols.identification import front
from cloakbench.bench.protocols.identification.ranks import Ranks
from cloakbench.bench.report.drawing.plotting import Skipped
from cloakbench.bench.report.index import Measured, Run
from cloakbench.bench.report.table import Number

RANKS = Ranks("p2", (1, 5, 10))
PSR = "psr_p2_top1"


@pytest.fixture
def measured(make_results):
    methods = ("pgd", "ti_dim", "opom_convex_hull")
    return Measured(
        make_results(methods=methods, budgets=(2.0, 4.0, 8.0), transforms=("jpeg_75", "jpeg_50"), failures=False)
    )


def test_every_method_budget_and_attacked_network_is_a_row(measured):
    (table,) = front.front_tables(measured, RANKS)
    assert len(table.rows) == 3 * 3 * 2
    assert {row.label for row in table.rows} >= {"PGD, arcface", "PGD, cosface", "OPOM-ConvexHull, cosface"}
    keys = [column.key for column in table.columns]
    assert keys[-2:] == ["jpeg_75_percent", "jpeg_50_percent"] and "passes" in keys
    assert all(len(row.cells) == len(keys) for row in table.rows)


def test_a_row_says_what_was_measured_for_that_network_alone(measured):
    (table,) = front.front_tables(measured, RANKS)
    row = next(row for row in table.rows if row.label == "TI-DIM, cosface" and row.cells[0] == "8")
    cells = dict(zip((column.key for column in table.columns), row.cells, strict=True))
    run = Run("ti_dim", BudgetSize(8.0))
    others = [judge for judge in measured.judges(PSR) if judge != "cosface"]
    rates = {judge: measured.cell(PSR, run, "cosface", judge).value for judge in others}
    for key, expected in (
        ("black_box_percent", 100 * sum(rates.values()) / len(rates)),
        ("worst_percent", 100 * min(rates.values())),
        ("passes", 20),
    ):
        assert isinstance(number := cells[key], Number) and number.value == pytest.approx(expected), key
    assert rates[str(cells["worst_target"])] == min(rates.values())


def test_there_is_no_front_of_two_budgets(make_results):
    two = Measured(make_results(methods=("pgd",), budgets=(4.0, 8.0)))
    assert front.front_tables(two, RANKS) == []
    reason = "no method that attacks a network has rates at 3 budgets"
    assert front.psr_over_passes(two, RANKS) == Skipped(reason)


def test_rates_stand_over_passes_at_the_budget_that_most_have(measured):
    figure = front.psr_over_passes(measured, RANKS)
    assert isinstance(figure, Figure)
    panel = figure.axes[0]
    assert len(panel.containers) == 3 * 2 and panel.get_xscale() == "log" and panel.get_title() == "4/255"
    across = sorted(float(container.lines[0].get_xdata()[0]) for container in panel.containers)
    assert across == pytest.approx([20, 20, 20, 20, 51.2, 51.2])


def test_the_budget_of_the_figure_is_the_middle_one_of_those_most_runs_have():
    runs = [front.Attacked(Run(name, BudgetSize(size)), "a") for name in "pq" for size in (2.0, 4.0, 12.0)]
    assert front.common_budget([*runs, front.Attacked(Run("r", BudgetSize(12.0)), "a")]) == BudgetSize(12.0)
    assert front.common_budget(runs) == BudgetSize(4.0)
