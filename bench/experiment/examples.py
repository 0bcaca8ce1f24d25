"""Examples: the faces that figures show, under every method, read from what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cloakbench.bench.core.status import OK
from cloakbench.bench.experiment.experiment import Experiment
from cloakbench.bench.experiment.run_status import RunStatus
from cloakbench.bench.plan.plan import Cell
from cloakbench.bench.plan.publication import PROBES
from cloakbench.bench.report.results import Example
from cloakbench.bench.store.errors import EntryGoneError
from cloakbench.bench.store.store import SHOWN


def examples(experiment: Experiment, status: RunStatus) -> tuple[Example, ...]:
    """The first probe of the first people, under every method at its largest budget on the first surrogate.

    Raises:
        EntryGoneError: photos that were stored are gone or damaged.
    """
    publication = experiment.publications.get(PROBES)
    if publication is None:
        return ()
    probes = publication.faces
    first = {name: probes.identity.index(name) for name in probes.identities()[: experiment.config.report.examples]}
    protected: dict[int, dict[str, Any]] = {row: {} for row in first.values()}
    pictures: dict[int, dict[str, Any]] = {row: {} for row in first.values()}
    gone = []
    for number in _shown_cells(publication.cells):
        cell = publication.cells[number]
        for planned in publication.units[number]:
            rows = planned.unit.chunk.probes
            shown = [row for row in first.values() if row in rows]
            if not shown or not status.states[planned.unit.key].about:
                continue
            stored = experiment.store.read_photos("protected", planned.unit.key)
            if stored is None:
                gone.append(cell.label)
                continue
            made = experiment.store.read_tensors(SHOWN, planned.unit.key) if stored[1].get("shown") else ({}, None)
            if made is None:
                gone.append(cell.label)
                continue
            for row in shown:
                place, people = rows.index(row), planned.unit.chunk.identities
                if stored[1]["status"][place] == OK:
                    protected[row][cell.method_label] = stored[0][place]
                    at = people.index(probes.identity[row]) if cell.protector.scope == "identity" else place
                    if made[0]:
                        pictures[row][cell.method_label] = {name: made[0][name][at] for name in stored[1]["shown"]}
    if gone:
        raise EntryGoneError(f"protected photos of {gone[0]} are gone from {experiment.store.root}")
    return tuple(
        Example(probes.image_id[row], probes.images[row], protected[row], pictures[row]) for row in first.values()
    )


def _shown_cells(cells: Sequence[Cell]) -> list[int]:
    """One cell per method and variant: the largest budget, the first surrogate."""
    best: dict[str, int] = {}
    for number, cell in enumerate(cells):
        known = best.get(cell.row)
        if known is None or cells[known].budget < cell.budget:
            best[cell.row] = number
    return list(best.values())
