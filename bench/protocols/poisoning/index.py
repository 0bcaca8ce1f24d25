"""`Poisoned`: an index over what was measured of published photos that somebody trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cloakbench.bench.protocols.poisoning.rates import PSR, chance_psr
from cloakbench.bench.report.estimate import Estimate, estimate_of, mean_estimate, records, text
from cloakbench.bench.report.index import JointMeans, Measured, Place, Run

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
    """

    def __init__(self, measured: Measured) -> None:
        results, self._title = measured.results, measured.title
        self._cells: dict[tuple[Any, ...], Estimate] = {}
        self._joint = JointMeans(results.means.loc[results.means["protocol"] == NAME])
        found, attackers, scenarios = set(), [], []
        for line in records(results.measurements.loc[results.measurements["protocol"] == NAME]):
            epsilon = None if pd.isna(line["epsilon_255"]) else float(line["epsilon_255"])
            row = ProtectedRow(Run(line["method"], epsilon), text(line["surrogate"]))
            found.add(row)
            attacker, scenario = text(line["judge"]), text(line["condition"])
            if attacker:
                attackers.append(attacker)
                scenarios.append(scenario)
            self._cells[line["metric"], row, attacker, scenario if attacker else ""] = estimate_of(line)
        order = measured.methods_in_order(row.run.method for row in found)
        self.rows = sorted(found, key=lambda r: (order.index(r.run.method), r.run.epsilon_255 or 0.0, r.surrogate))
        self.attackers = sorted(set(attackers))
        self.scenarios = sorted(set(scenarios), key=lambda key: ("_unprotected_" in key, not _is_standard(key), key))

    def label(self, row: ProtectedRow) -> str:
        """As printed: the method, and its surrogate in brackets."""
        return self._title(row.run.method) + (f" ({row.surrogate})" if row.surrogate else "")

    def cell(self, metric: str, row: ProtectedRow, attacker: str, scenario: str) -> Estimate | None:
        """One cell; None where it was not planned, a gap where it was and there is no value."""
        return self._cells.get((metric, row, attacker, scenario))

    def headline(self, metric: str, row: ProtectedRow) -> Estimate:
        """Mean over all attackers in the first scenario; missing when one of them is."""
        cells = [self.cell(metric, row, attacker, self.scenarios[0]) or Estimate() for attacker in self.attackers]
        mean = mean_estimate(cells)
        return self._joint.of(mean, Place(NAME, metric, self.scenarios[0]), row.run, row.surrogate)

    def quality(self, metric: str, row: ProtectedRow) -> Estimate:
        """An image metric over all published photos."""
        return self._cells.get((metric, row, "", ""), Estimate())

    def columns(self) -> list[tuple[str, str]]:
        """Scenario and attacker of every column that was planned."""
        planned = {(key[3], key[2]) for key in self._cells if key[0] == PSR}
        return [(scenario, a) for scenario in self.scenarios for a in self.attackers if (scenario, a) in planned]


def guessing(setup: Mapping[str, Any]) -> float:
    """PSR in per cent against an attacker who draws one of the people he was trained on; 0 where they are unknown."""
    people = int(setup.get("poisoning_identities", 0)) + int(setup.get("poisoning_other_identities", 0))
    return 100 * chance_psr(people) if people else 0.0


def _is_standard(key: str) -> bool:
    return key.partition("_unprotected_")[0] == "standard"
