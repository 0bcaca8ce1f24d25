"""Runs of one sweep become one; runs that cannot be compared are refused in one line."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from matplotlib.figure import Figure

from cloakbench.bench.core.axes import BudgetSize
from cloakbench.bench.protocols.identification.figures import budget_curves
from cloakbench.bench.protocols.identification.ranks import Ranks
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.sweeps.combine import MixedResultsError, combine

METHODS = ("pgd", "opom_convex_hull")


@pytest.fixture(scope="module")
def runs(make_results):
    return [
        make_results(budgets=(epsilon,), transforms=(), methods=METHODS, failures=False) for epsilon in (2.0, 4.0, 8.0)
    ]


def test_budgets_become_one_curve(runs):
    combined = combine(runs)
    measured = Measured(combined)
    assert measured.budgets == (BudgetSize(2), BudgetSize(4), BudgetSize(8))
    assert isinstance(budget_curves(measured, Ranks("p2", (1, 5))), Figure)
    assert len(combined.models) == len(runs[0].models)
    assert len(combined.thresholds) == len(runs[0].thresholds)


def test_shared_cells_appear_once(runs):
    clean = combine(runs).measurements.query("method == 'identity'")
    assert len(clean) == len(runs[0].measurements.query("method == 'identity'"))


def test_a_method_has_its_costs_for_the_probes_and_for_every_other_publication(runs):
    published = [
        replace(run, costs=pd.concat([run.costs.assign(publication=name) for name in ("", "poisoning")]))
        for run in runs
    ]
    costs = combine(published).costs
    assert len(costs) == 2 * len(combine(runs).costs)
    assert set(costs["publication"]) == {"", "poisoning"}


def test_examples_of_one_face_stand_together(runs):
    faces = combine(runs).examples
    assert len(faces) == len(runs[0].examples)
    assert len(faces[0].protected) == 6


def test_roles_are_united(runs):
    only_target = replace(runs[0], models=runs[0].models.assign(roles="target"))
    roles = dict(zip(*combine([only_target, runs[1]]).models[["name", "roles"]].to_numpy().T, strict=True))
    assert roles["arcface"] == "surrogate, target"
    assert roles["senet"] == "target"


def test_mixed_manifests_are_refused(runs):
    other = replace(runs[1], manifest_sha256="0" * 64)
    with pytest.raises(MixedResultsError, match=r"different photos.*4f1d4f1d.*00000000") as error:
        combine([runs[0], other])
    assert "\n" not in str(error.value)


def test_mixed_setups_are_refused(runs):
    with pytest.raises(MixedResultsError, match="different setups"):
        combine([runs[0], replace(runs[1], setup={"identities": 3})])


def test_two_values_of_one_cell_are_refused(runs):
    frame = runs[0].measurements
    changed = replace(runs[0], measurements=frame.assign(value=frame["value"].where(frame.method != "pgd", 0.5)))
    with pytest.raises(MixedResultsError, match=r"pgd at 2/255 has two values of"):
        combine([runs[0], changed])


def test_nothing_to_combine():
    with pytest.raises(MixedResultsError, match="no finished run"):
        combine([])
