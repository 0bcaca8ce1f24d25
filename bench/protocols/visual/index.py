"""`Hidden`: an index over what was measured of photos that are hidden from eyes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloakbench.bench.protocols.visual.metrics import MSR, of_role
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import CellPlace, Measured, Place, Run
from cloakbench.bench.report.labels import UNTRANSFORMED
from cloakbench.datasets.base import Role

NAME = "visual"
"""Of the protocol and of its publication."""


@dataclass(frozen=True)
class HiddenRow:
    """The unit of a row: a method, and the surrogate that it used or nothing."""

    run: Run
    surrogate: str


class Hidden:
    """An index over the rows of ``Results.measurements`` of this protocol.

    Args:
        measured: the run.
        role: of the photos that are looked at.

    Attributes:
        rows: what was published, controls first, then surrogate by surrogate.
        targets: keys of those who matched, in the order of the model cards.
    """

    def __init__(self, measured: Measured, role: Role) -> None:
        self._measured = measured
        self._role: Role = role
        own = [cell for cell in measured.cells if cell.place.protocol == NAME]
        found = {HiddenRow(cell.run, cell.surrogate) for cell in own}
        runs = measured.ordered(row.run for row in found)
        networks = ["", *measured.in_order(row.surrogate for row in found)]
        self.rows = sorted(found, key=lambda row: (networks.index(row.surrogate), runs.index(row.run)))
        self.targets = measured.in_order(cell.judge for cell in own if cell.place.metric == of_role(MSR, role))

    def label(self, row: HiddenRow) -> str:
        """As printed, with its budget where it has one."""
        return self._measured.name(row.run)

    def cell(self, metric: str, row: HiddenRow, judge: str = "", condition: str = UNTRANSFORMED) -> Estimate | None:
        """One cell of a metric over the photos of this role; None where it was not planned, or does not apply."""
        place = Place(NAME, of_role(metric, self._role), condition)
        return self._measured.cells.get(CellPlace(place, row.run, row.surrogate, judge))

    def mean(self, metric: str, row: HiddenRow, *, white_box: bool, condition: str = UNTRANSFORMED) -> Estimate:
        """Over the targets that are the surrogate, or those that are not; missing when one of them is."""
        known = [self.cell(metric, row, target, condition) or Estimate() for target in self.targets]
        wanted: Sequence[Estimate] = [one for one in known if one.white_box == white_box]
        place = Place(NAME, of_role(metric, self._role), condition)
        return self._measured.mean(wanted, place, row.run, row.surrogate, white_box=white_box)
