"""Figure of poisoning, in the shape of the survey's Fig. 2."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cloakbench.bench.core import escape
from cloakbench.bench.core.axes import row_name, split_row_name
from cloakbench.bench.protocols.poisoning.index import Poisoned, Protected, guessing
from cloakbench.bench.protocols.poisoning.rates import PSR
from cloakbench.bench.protocols.poisoning.scenarios import scenario_name
from cloakbench.bench.report.index import Estimate, Measured
from cloakbench.bench.report.labels import CLEAN, method_name
from cloakbench.bench.report.plotting import (
    CONTROL_COLOUR,
    MARKERS,
    TWO_COLUMNS,
    Drawing,
    Skipped,
    arms,
    colours_of,
    percent_axis,
    styled,
)


@styled
def poisoning_figure(measured: Measured) -> Drawing:
    """Bars of PSR per method with a mark per attacker, and PSR over SSIM."""
    poisoned = Poisoned(measured.results)
    if not poisoned.rows:
        return Skipped("the run has no poisoning track")
    shown = [row for row in poisoned.rows if poisoned.headline(PSR, row).ok]
    if not any(row.run.method != CLEAN for row in shown):
        return Skipped("no method has a complete poisoning rate")
    figure = Figure(figsize=(TWO_COLUMNS, 3.2), layout="constrained")
    bars, scatter = figure.subplots(1, 2, sharey=True, width_ratios=(1.5, 1))
    colours = colours_of([row.run.method for row in shown])
    for place, row in enumerate(shown):
        mean, colour = poisoned.headline(PSR, row), colours[row.run.method]
        bars.bar(place, 100 * mean.value, yerr=arms(mean, 100), color=colour, alpha=0.55, width=0.72)
        for number, attacker in enumerate(poisoned.attackers):
            cell = poisoned.cell(PSR, row, attacker, poisoned.scenarios[0]) or Estimate()
            shift = 0.18 * (number - (len(poisoned.attackers) - 1) / 2)
            bars.plot(place + shift, 100 * cell.value, marker=MARKERS[number], color="0.15", markersize=3)
        ssim = poisoned.quality("ssim", row)
        if ssim.ok:
            scatter.errorbar(
                ssim.value,
                100 * mean.value,
                xerr=arms(ssim, 1),
                yerr=arms(mean, 100),
                color=colour,
                marker="o",
                markersize=4.5,
                linestyle="none",
                elinewidth=0.7,
            )
            offset = (4, 3 if place % 2 else -8)
            scatter.annotate(str(place + 1), (ssim.value, 100 * mean.value), offset, textcoords="offset points")
    bars.set_xticks(np.arange(len(shown)), [f"{i + 1} {escape.figure(_tick(row))}" for i, row in enumerate(shown)])
    bars.tick_params(axis="x", rotation=38, labelsize=6.5)
    for label in bars.get_xticklabels():
        label.set_ha("right")
        label.set_rotation_mode("anchor")
    chance = guessing(measured.results.setup)
    for panel in (bars, scatter):
        if chance:
            panel.axhline(chance, color=CONTROL_COLOUR, linestyle="--", linewidth=0.8)
        percent_axis(panel)
    bars.set_ylabel(escape.figure(f"PSR, {scenario_name(poisoned.scenarios[0]).lower()}, %"))
    scatter.set_xlabel("SSIM to the original")
    handles = [
        Line2D([], [], color="0.15", marker=MARKERS[number], linestyle="none", label=escape.figure(attacker))
        for number, attacker in enumerate(poisoned.attackers)
    ]
    handles.append(Line2D([], [], color=CONTROL_COLOUR, linestyle="--", linewidth=0.8, label="guessing"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _tick(row: Protected) -> str:
    method, variant = split_row_name(row.run.method)
    name = row_name(method_name(method).partition(" (")[0], variant)
    return f"{name} {row.run.budget.title}" if row.run.budget and method != CLEAN else name
