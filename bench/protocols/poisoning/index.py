"""`Poisoned`: an index over what was measured of published photos that somebody trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloakbench.bench.protocols.poisoning.rates import PSR, chance_psr
from cloakbench.bench.report.index import Estimate, Run, estimate_of, mean_estimate, ordered_runs, records, text
from cloakbench.bench.report.labels import method_name
from cloakbench.bench.report.results import Results

NAME = "poisoning"
"""Of the protocol and of its publication."""


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
            if line["protocol"] != NAME:
                continue
            row = Protected(Run.of(line), text(line["surrogate"]))
            found.add(row)
            attacker, scenario = text(line["judge"]), text(line["condition"])
            if attacker:
                attackers.append(attacker)
                scenarios.append(scenario)
            self._cells[line["metric"], row, attacker, scenario if attacker else ""] = estimate_of(line)
        order = ordered_runs(row.run for row in found)
        self.rows = sorted(found, key=lambda row: (order.index(row.run), row.surrogate))
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


def guessing(setup: Mapping[str, Any]) -> float:
    """PSR in per cent against an attacker who draws one of the people he was trained on; 0 where they are unknown."""
    people = int(setup.get("poisoning_identities", 0)) + int(setup.get("poisoning_other_identities", 0))
    return 100 * chance_psr(people) if people else 0.0


def _is_standard(key: str) -> bool:
    return key.partition("_unprotected_")[0] == "standard"
