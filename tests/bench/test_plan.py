"""Cells of methods with and without a budget."""

from __future__ import annotations

import math

from cloakbench.bench.composition import compose_config
from cloakbench.bench.plan import build_cells


def test_a_method_without_a_budget_runs_once_whatever_the_axis() -> None:
    config = compose_config(["experiment=smoke", "+method@methods.lowkey=lowkey", "epsilons_255=[4,8]"])
    cells = [cell for cell in build_cells(config) if cell.method in ("lowkey", "pgd")]
    assert [cell.method_label for cell in cells] == ["pgd 4/255", "pgd 8/255", "lowkey"]
    assert math.isnan(cells[-1].epsilon_255) and cells[-1].config["epsilon_255"] is None


def test_a_budget_given_to_a_method_without_one_is_kept() -> None:
    config = compose_config(["experiment=smoke", "method=lowkey", "method.epsilon_255=8"])
    assert [cell.epsilon_255 for cell in build_cells(config) if cell.method == "lowkey"] == [8.0]
