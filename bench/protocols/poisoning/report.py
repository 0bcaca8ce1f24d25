"""Table and figure of the poisoning track, in the shape of the survey's Fig. 2.

The first scenario of a run, its first regime without unprotected photos, is the one that is headlined.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cloakbench.bench.core import escape
from cloakbench.bench.protocols.poisoning.rates import PSR, SEED_SD, TRAIN_ACCURACY, chance_psr
from cloakbench.bench.report.index import (
    POISONING,
    Estimate,
    Measured,
    Run,
    estimate_of,
    mean_estimate,
    records,
    text,
)
from cloakbench.bench.report.labels import CLEAN, budget_name, method_name, method_order, scenario_name
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
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.table import SAME_FAMILY, Column, Number, Row, Table

POOR_ATTACKER = 0.4
"""Clean PSR above this is suspicious: the attacker is too weak, or its training too short."""


@dataclass(frozen=True)
class Protected:
    """The unit of a row: a method at a budget, and the surrogate it used or nothing."""

    run: Run
    surrogate: str

    @property
    def label(self) -> str:
        return method_name(self.run.method) + (f" ({self.surrogate})" if self.surrogate else "")


class Poisoned:
    """An index over the poisoning rows of ``Results.measurements``.

    Attributes:
        rows: what was published, controls first.
        attackers: attacker keys, in the order of the measurements.
        scenarios: regime and share, the headlined one first.
    """

    def __init__(self, results: Results) -> None:
        self._cells: dict[tuple[Any, ...], Estimate] = {}
        found, attackers, scenarios = set(), [], []
        for line in records(results.measurements):
            if line["protocol"] != POISONING:
                continue
            epsilon = None if pd.isna(line["epsilon_255"]) else float(line["epsilon_255"])
            row = Protected(Run(line["method"], epsilon), text(line["surrogate"]))
            found.add(row)
            attacker, scenario = text(line["target"]), text(line["transform"])
            if attacker:
                attackers.append(attacker)
                scenarios.append(scenario)
            self._cells[line["metric"], row, attacker, scenario if attacker else ""] = estimate_of(line)
        order = method_order(row.run.method for row in found)
        self.rows = sorted(found, key=lambda r: (order.index(r.run.method), r.run.epsilon_255 or 0.0, r.surrogate))
        self.attackers = sorted(set(attackers))
        self.scenarios = sorted(set(scenarios), key=lambda key: ("_unprotected_" in key, not _is_standard(key), key))

    def cell(self, metric: str, row: Protected, attacker: str, scenario: str) -> Estimate | None:
        """One cell; None where it was not planned, a gap where it was and there is no value."""
        return self._cells.get((metric, row, attacker, scenario))

    def headline(self, metric: str, row: Protected) -> Estimate:
        """Mean over all attackers in the first scenario; missing when one of them is."""
        cells = [self.cell(metric, row, attacker, self.scenarios[0]) or Estimate() for attacker in self.attackers]
        return mean_estimate(cells)

    def quality(self, metric: str, row: Protected) -> Estimate:
        """An image metric over all published photos."""
        return self._cells.get((metric, row, "", ""), Estimate())

    def columns(self) -> list[tuple[str, str]]:
        """Scenario and attacker of every column that was planned."""
        planned = {(key[3], key[2]) for key in self._cells if key[0] == PSR}
        return [(scenario, a) for scenario in self.scenarios for a in self.attackers if (scenario, a) in planned]


def poisoning_table(results: Results) -> Table | None:
    """PSR by regime, unprotected share and attacker; SSIM; what the search said of itself."""
    poisoned = Poisoned(results)
    if not poisoned.rows:
        return None
    columns, rows = poisoned.columns(), []
    converged = _converged(results)
    for row in poisoned.rows:
        cells = [poisoned.cell(PSR, row, attacker, scenario) for scenario, attacker in columns]
        mean = poisoned.headline(PSR, row)
        spreads = [poisoned.cell(SEED_SD, row, attacker, scenario) for scenario, attacker in columns]
        spread = [cell.value for cell in spreads if cell is not None and cell.ok]
        learnt = poisoned.headline(TRAIN_ACCURACY, row)
        ssim = poisoned.quality("ssim", row)
        n = max((cell.n for cell in cells if cell is not None and cell.ok), default=0)
        rows.append(
            Row(
                row.label,
                (
                    "–" if row.run.epsilon_255 is None else f"{row.run.epsilon_255:g}",
                    *(_percent(cell) for cell in cells),
                    _percent(mean),
                    Number(100 * max(spread)) if spread else "",
                    Number(100 * learnt.value) if learnt.ok else Number(),
                    Number(ssim.value, ssim.low, ssim.high, 3) if ssim.ok else Number(),
                    converged.get(row, ""),
                    str(n) if n else "–",
                ),
            )
        )
    guessing = _guessing(results.setup)
    chance = f" An attacker who guesses scores {guessing:.1f}." if guessing else ""
    return Table(
        name="poisoning",
        title="Poisoning: protection success rate (PSR)",
        caption=(
            "Per cent, higher protects more: share of clean test photos that a classifier names wrongly after training "
            f"from scratch on protected photos of the same people, mean over seeds.{chance}"
        ),
        stub="Method",
        columns=(
            Column("epsilon_255", "ε (grey levels)"),
            *(Column(f"{s}_{a}_percent", a, scenario_name(s), "csv") for s, a in columns),
            Column("mean_percent", f"Mean, {scenario_name(poisoned.scenarios[0]).lower()}", "", "always"),
            Column("seed_sd_points", "Seed sd, largest"),
            Column("train_accuracy_percent", "Train accuracy"),
            Column("ssim", "SSIM ↑", "", "csv"),
            Column("converged", "Converged"),
            Column("n", "n"),
        ),
        rows=tuple(rows),
        footnotes=(
            "n counts test photos, each tested by every seed. Intervals: bootstrap over people; that of a mean has the "
            "means of its cells' ends.",
            "Converged: the search for the noise met its stop error; empty for methods that have none.",
            "Unprotected: that share of each person's photos was published as it was.",
        ),
    )


def _guessing(setup: Mapping[str, Any]) -> float:
    """PSR in per cent against an attacker who draws one of the people he was trained on; 0 where they are unknown."""
    people = int(setup.get("poisoning_identities", 0)) + int(setup.get("poisoning_other_identities", 0))
    return 100 * chance_psr(people) if people else 0.0


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
    guessing = _guessing(measured.results.setup)
    for panel in (bars, scatter):
        if guessing:
            panel.axhline(guessing, color=CONTROL_COLOUR, linestyle="--", linewidth=0.8)
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


def poisoning_checks(results: Results) -> list[str]:
    """One sentence per suspicion: an attacker who learns little even from clean photos, a search that gave up."""
    poisoned, flags = Poisoned(results), []
    for row in poisoned.rows:
        for scenario, attacker in poisoned.columns() if row.run.method == CLEAN else ():
            rate = poisoned.cell(PSR, row, attacker, scenario)
            if rate is not None and rate.ok and rate.value > POOR_ATTACKER:
                flags.append(
                    f"{attacker} ({scenario_name(scenario).lower()}) misnames {100 * rate.value:.1f} % of the test "
                    "photos after training on clean ones: its other rates say little"
                )
    flags += [
        f"{row.label} at {budget_name(row.run.epsilon_255)}: the search for the noise did not reach its stop error"
        for row, converged in _converged(results).items()
        if converged == "no"
    ]
    return flags


def _tick(row: Protected) -> str:
    name = method_name(row.run.method).partition(" (")[0]
    return (
        name if row.run.epsilon_255 is None or row.run.method == CLEAN else f"{name} {budget_name(row.run.epsilon_255)}"
    )


def _percent(cell: Estimate | None) -> Number | str:
    if cell is None:
        return ""
    if not cell.ok:
        return Number()
    return Number(100 * cell.value, 100 * cell.low, 100 * cell.high, 1, SAME_FAMILY * cell.same_family)


def _is_standard(key: str) -> bool:
    return key.partition("_unprotected_")[0] == "standard"


def _converged(results: Results) -> dict[Protected, str]:
    if "converged" not in results.costs:
        return {}
    return {
        Protected(
            Run(line["method"], None if math.isnan(line["epsilon_255"]) else line["epsilon_255"]),
            text(line["surrogate"]),
        ): text(line["converged"])
        for line in records(results.costs)
        if text(line.get("publication")) == POISONING
    }
