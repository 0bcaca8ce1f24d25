"""Figure of poisoning, in the shape of the survey's Fig. 2."""

from __future__ import annotations

from cloakbench.bench.protocols.poisoning.index import Poisoned, ProtectedRow, guessing
from cloakbench.bench.protocols.poisoning.rates import PSR
from cloakbench.bench.protocols.poisoning.scenarios import scenario_name
from cloakbench.bench.protocols.quality.report import SSIM
from cloakbench.bench.report.drawing.dot_plot import DotPanel, DotRow, dot_plot
from cloakbench.bench.report.drawing.plotting import Drawing, Skipped, styled
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import Measured, is_control
from cloakbench.bench.report.labels import CLEAN


@styled
def poisoning_figure(measured: Measured) -> Drawing:
    """PSR of everything that was published, a dot per attacker in each scenario, and SSIM."""
    poisoned = Poisoned(measured)
    if not poisoned.rows:
        return Skipped("the run has no poisoning")
    shown = [row for row in poisoned.rows if poisoned.headline(PSR, row).ok]
    if not any(row.run.method != CLEAN for row in shown):
        return Skipped("no method has a complete poisoning rate")
    chance = guessing(measured.results.setup)
    levels = list(poisoned.attackers) if len(poisoned.attackers) > 1 else [""]
    panels = [
        DotPanel(
            "PSR, %",
            levels,
            [
                [poisoned.cell(PSR, row, attacker, scenario) or Estimate() for attacker in poisoned.attackers]
                for row in shown
            ],
            line=(chance, "guessing") if chance else None,
            title=scenario_name(scenario),
        )
        for scenario in poisoned.scenarios
    ]
    ssim = [[poisoned.quality(SSIM, row)] for row in shown]
    if any(one.ok for [one] in ssim):
        panels.append(DotPanel("SSIM to the original", [""], ssim, 1.0, title="Picture quality"))
    return dot_plot([_row(poisoned, row) for row in shown], panels)


def _row(poisoned: Poisoned, row: ProtectedRow) -> DotRow:
    name = poisoned.label(row)
    if row.run.budget and row.run.method != CLEAN:
        name += f", {row.run.budget.title}"
    return DotRow(name, str(poisoned.headline(PSR, row).n), is_control(row.run))
