"""Norms in tables of rates: what was used stands beside each rate, and rows of another ball are marked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from cloakbench.bench.core.axes import BudgetSize
from cloakbench.bench.protocols.identification.ranks import Ranks
from cloakbench.bench.protocols.identification.tables import identification_tables, matrix_tables
from cloakbench.bench.protocols.quality.report import quality_checks
from cloakbench.bench.report.generic import default_section
from cloakbench.bench.report.index import Measured, Run
from cloakbench.bench.report.norms import Norms
from cloakbench.bench.report.reported.beside import side_by_side_tables
from cloakbench.bench.report.reported.lookup import Lookup
from cloakbench.bench.report.reported.pairings import load_pairings
from cloakbench.bench.report.reported.printed import load_lines
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.sweeps.parts import SweepJob, arrange
from cloakbench.bench.report.sweeps.tables import sweep_tables
from cloakbench.bench.report.table import OTHER_BALL, Number, Table
from cloakbench.bench.report.table_text import to_csv, to_latex, to_markdown
from cloakbench.bench.report.tables_facts import passes_table
from cloakbench.bench.report.terminal import summary

PGD, MASK = Run("pgd", BudgetSize(8.0)), Run("opom_convex_hull", BudgetSize(8.0))


def in_unlike_balls(results: Results) -> Results:
    """A run in which masks lie in an L2 ball of 1200, and all else in the Linf ball of its budget."""
    costs = results.costs
    long = costs["method"] == "opom_convex_hull"
    clean = costs["method"] == "identity"
    return replace(
        results,
        costs=costs.assign(
            norm=np.where(clean, "", np.where(long, "l2", "linf")),
            size_255=np.where(clean, np.nan, np.where(long, 1200.0, costs["epsilon_255"])),
            linf_255=np.where(clean, 0.0, np.where(long, 31.5, costs["epsilon_255"])),
            l2_255=np.where(clean, 0.0, np.where(long, 1201.0, 180 * costs["epsilon_255"])),
        ),
    )


@pytest.fixture
def unlike(results: Results) -> Results:
    return in_unlike_balls(results)


def column(table: Table, key: str, method: str) -> list[Number]:
    place = [one.key for one in table.columns].index(key)
    found = [row.cells[place] for row in table.rows if method in (row.label, row.section)]
    assert found and all(isinstance(cell, Number) for cell in found)
    return [cell for cell in found if isinstance(cell, Number)]


def test_every_table_of_rates_prints_both_norms_and_marks_rows_of_another_ball(unlike: Results) -> None:
    measured = Measured(unlike)
    ranks = Ranks.of(measured, (1, 5, 10))
    tables = [*identification_tables(measured, ranks, given_clean=False), *matrix_tables(measured, ranks)]
    tables = [table for table in tables if table.name.endswith("eps8")]
    assert len(tables) == 3
    for table in tables:
        masks, attack = (column(table, "l2_255", measured.title(run.method)) for run in (MASK, PGD))
        assert {(number.text, number.marks) for number in masks} == {("1201.0", OTHER_BALL)}
        assert {(number.text, number.marks) for number in attack} == {("1440.0", "")}
        assert {number.text for number in column(table, "linf_255", measured.title(PGD.method))} == {"8.0"}
        assert any("another norm ball" in note for note in table.notes)
        assert "1201.0◊" in to_markdown(table) and r"1201.0$\diamond$" in to_latex(table)
        assert "other_ball" in to_csv(table)
    assert {number.marks for number in column(tables[0], "linf_255", measured.title("identity"))} == {""}


def test_a_generic_table_and_the_costs_say_the_ball_itself(unlike: Results) -> None:
    measured = Measured(unlike)
    (rates,) = default_section(measured, "identification", "Identification").tables
    passes = passes_table(measured)
    assert passes is not None
    for table in (rates, passes):
        balls = {row.label: row.cells[0] for row in table.rows}
        assert balls[measured.title(MASK.method)] == "L2 1200" and balls[measured.title(PGD.method)] in ("4", "8")
    assert {number.text for number in column(rates, "l2_255", measured.title(MASK.method))} == {"1201.0"}
    wider = unlike.costs.assign(size_255=unlike.costs["size_255"].where(unlike.costs["method"] != "pgd", 32.0))
    assert Norms(Measured(replace(unlike, costs=wider))).ball(PGD) == "8 (Linf 32)", (
        "a budget that is larger in some regions"
    )
    (quality,) = default_section(measured, "quality", "Quality").tables
    assert [one.label for one in quality.columns if one.label == "L2"] == [], "means are no rates"


def test_variants_have_the_norms_of_their_own_photos_and_seeds_the_mean_of_theirs(
    make_results: Callable[..., Results],
) -> None:
    def job(settings: dict[str, float], l2_255: float) -> SweepJob:
        run = in_unlike_balls(make_results(budgets=(8.0,), transforms=(), failures=False, methods=("pgd", MASK.method)))
        told = run.costs["l2_255"].where(run.costs["method"] != "pgd", l2_255)
        setup = {**run.setup, "seed": settings["seed"]}
        return SweepJob(replace(run, costs=run.costs.assign(l2_255=told), setup=setup), settings, "pgd")

    jobs = [job({"seed": 0, "method.steps": 2}, 900), job({"seed": 0, "method.steps": 9}, 1000)]
    rows, seeds = sweep_tables(arrange([*jobs, job({"seed": 1, "method.steps": 9}, 1100)]))
    assert [number.value for number in column(rows, "l2_255", "PGD")] == [900, 1000, 1100]
    assert {number.value for number in column(rows, "linf_255", "Clean photo")} == {0}
    assert any(note.startswith("Linf and L2") for note in rows.notes)
    assert 1050 in [number.value for number in column(seeds, "l2_255", "PGD")]
    balls = {row.label: row.cells[[one.key for one in rows.columns].index("epsilon_255")] for row in rows.rows}
    assert balls["PGD"] == "8" and balls[Measured(jobs[0].results).title(MASK.method)] == "L2 1200"


def test_a_measured_row_beside_reported_ones_has_both_norms_and_they_have_none(unlike: Results) -> None:
    lines = load_lines()
    paired, differences = side_by_side_tables(Lookup(Measured(unlike)), load_pairings(lines), lines)
    for table, method in ((paired, "OPOM-ConvexHull, measured"), (differences, "OPOM-ConvexHull")):
        assert {(one.text, one.marks) for one in column(table, "l2_255", method)} == {("1201.0", OTHER_BALL)}
    place = [one.key for one in paired.columns].index("l2_255")
    assert {row.cells[place] for row in paired.rows if row.label.startswith("reported")} == {""}


def test_in_a_list_a_run_of_another_ball_says_so(unlike: Results) -> None:
    norms = Norms(Measured(unlike))
    assert norms.aside(MASK, MASK.budget) == " (L2 1200)" and norms.aside(PGD, PGD.budget) == ""
    assert (
        norms.aside(Run("identity"), PGD.budget) == "" == Norms(Measured(unlike), "elsewhere").aside(MASK, MASK.budget)
    )
    assert (norms.title(MASK), norms.title(PGD)) == ("L2 1200", "8/255")
    costs = unlike.costs.assign(size_255=unlike.costs["size_255"].where(unlike.costs["method"] != "pgd", 32.0))
    focused = Norms(Measured(replace(unlike, costs=costs)))
    assert (focused.ball(PGD), focused.title(PGD)) == ("8 (Linf 32)", "8/255 (Linf 32)"), "FaceCloak's boxes"
    assert focused.aside(PGD, PGD.budget) == " (Linf 32)"
    screen = Console(width=160, color_system=None)
    with screen.capture() as shown:
        screen.print(summary(unlike))
    lines = [line for line in shown.get().splitlines() if "ConvexHull" in line and "│" in line]
    assert len(lines) == 2 and all("L2 1200" in line for line in lines)


def test_a_mean_over_surrogates_is_that_of_their_norms(unlike: Results) -> None:
    costs = unlike.costs
    first = costs["surrogate"] == Measured(unlike).surrogates[0]
    norms = Norms(Measured(replace(unlike, costs=costs.assign(linf_255=np.where(first, 6.0, costs["linf_255"])))))
    assert [number.value for number in norms.cells(PGD)] == [pytest.approx(7.0), 1440.0]
    assert Norms(Measured(unlike)).cells(Run("nobody"))[0].text == "–"


@pytest.mark.slow
def test_an_l2_ball_is_held_to_its_own_norm(unlike: Results) -> None:
    frame = unlike.measurements
    masks = frame["method"] == "opom_convex_hull"

    def flags(l2_255: float) -> list[str]:
        told = frame["value"].where(~masks | (frame["metric"] != "linf_255"), 31.5)
        told = told.where(~masks | (frame["metric"] != "l2_255"), l2_255)
        return quality_checks(Measured(replace(unlike, measurements=frame.assign(value=told))))

    assert flags(1201.0) == []
    assert len(flags(1400.0)) == 2 and "exceeds its budget: mean L2 is 1400.0 grey levels" in flags(1400.0)[0]


def test_a_run_that_was_kept_without_norms_is_printed_without(results: Results) -> None:
    measured = Measured(results)
    norms = Norms(measured)
    assert norms.columns == norms.notes == norms.cells(PGD) == ()
    assert (norms.ball(PGD), norms.ball(Run("lowkey"))) == ("8", "–")
