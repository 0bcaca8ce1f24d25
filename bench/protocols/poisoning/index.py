"""`Poisoned`: an index over what was measured of published photos that somebody trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloakbench.bench.protocols.poisoning.rates import PSR, chance_psr
from cloakbench.bench.protocols.poisoning.scenarios import scenario_of
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import CellPlace, Measured, Place, Run
from cloakbench.bench.report.labels import UNTRANSFORMED

NAME = "poisoning"
"""Of the protocol and of its publication."""


@dataclass(frozen=True)
class ProtectedRow:
    """The unit of a row: a method at a budget, and the surrogate it used or nothing."""

    run: Run
    surrogate: str


class Poisoned:
    """An index over the poisoning rows of ``Results.measurements``.

    Attributes:
        rows: what was published, controls first.
        attackers: attacker keys, in the order of the measurements.
        scenarios: regime and share, the headlined one first.
        columns: scenario and attacker of every column that was planned.
    """

    def __init__(self, measured: Measured) -> None:
        self._measured = measured
        own = [cell for cell in measured.cells if cell.place.protocol == NAME]
        found = {ProtectedRow(cell.run, cell.surrogate) for cell in own}
        order = measured.ordered(row.run for row in found)
        self.rows = sorted(found, key=lambda row: (order.index(row.run), row.surrogate))
        self.attackers = sorted({cell.judge for cell in own if cell.judge})
        scenarios = {cell.place.condition for cell in own if cell.judge}
        self.scenarios = sorted(scenarios, key=_order)
        planned = {(cell.place.condition, cell.judge) for cell in own if cell.place.metric == PSR}
        self.columns = [
            (scenario, a) for scenario in self.scenarios for a in self.attackers if (scenario, a) in planned
        ]

    def label(self, row: ProtectedRow) -> str:
        """As printed: the method, and its surrogate in brackets."""
        return self._measured.title(row.run.method) + (f" ({row.surrogate})" if row.surrogate else "")

    def cell(self, metric: str, row: ProtectedRow, attacker: str, scenario: str) -> Estimate | None:
        """One cell; None where it was not planned, a gap where it was and there is no value."""
        return self._measured.cells.get(CellPlace(Place(NAME, metric, scenario), row.run, row.surrogate, attacker))

    def headline(self, metric: str, row: ProtectedRow) -> Estimate:
        """Mean over all attackers in the first scenario; missing when one of them is."""
        cells = [self.cell(metric, row, attacker, self.scenarios[0]) or Estimate() for attacker in self.attackers]
        return self._measured.mean(cells, Place(NAME, metric, self.scenarios[0]), row.run, row.surrogate)

    def quality(self, metric: str, row: ProtectedRow) -> Estimate:
        """An image metric over all published photos."""
        return self.cell(metric, row, "", UNTRANSFORMED) or Estimate()


def guessing(setup: Mapping[str, Any]) -> float:
    """PSR in per cent against an attacker who draws one of the people he was trained on; 0 where they are unknown."""
    people = int(setup.get("poisoning_identities", 0)) + int(setup.get("poisoning_other_identities", 0))
    return 100 * chance_psr(people) if people else 0.0


def _order(scenario: str) -> tuple[bool, bool, str]:
    """Whole publications first, of these standard training."""
    regime, share = scenario_of(scenario)
    return share > 0, regime != "standard", scenario
