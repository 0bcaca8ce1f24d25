"""Examples: the faces that figures show, under every method, read from what is stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from cloakbench.bench.core.code_digests import code_digest
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.core.status import OK
from cloakbench.bench.engine.recovery import key_rows
from cloakbench.bench.engine.unit_state import chunk_photos
from cloakbench.bench.experiment.experiment import Experiment
from cloakbench.bench.experiment.run_status import RunStatus
from cloakbench.bench.plan.plan import Cell
from cloakbench.bench.plan.publication import PROBES, PlannedUnit
from cloakbench.bench.report.results import RECOVERED, Example
from cloakbench.bench.store.errors import EntryGoneError
from cloakbench.bench.store.store import PRIVATE, SHOWN
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.recovery import recovered_photos


def examples(experiment: Experiment, status: RunStatus) -> tuple[Example, ...]:
    """The first probe of the first people, under every method at its largest budget on the first surrogate, and those
    photos that other publications show, under every method of theirs, on each surrogate.

    Raises:
        EntryGoneError: photos that were stored are gone or damaged.
    """
    return tuple(one for name, rows in _shown(experiment).items() for one in _examples(experiment, status, name, rows))


def _examples(experiment: Experiment, status: RunStatus, name: str, wanted: Sequence[int]) -> Iterator[Example]:
    """Some photos of a publication."""
    publication = experiment.publications[name]
    faces = publication.faces
    protected: dict[int, dict[str, Any]] = {row: {} for row in wanted}
    pictures: dict[int, dict[str, Any]] = {row: {} for row in wanted}
    gone = []
    for number, label in _shown_cells(publication.cells, each_surrogate=bool(publication.shown)).items():
        cell = publication.cells[number]
        for planned in publication.units[number]:
            rows = planned.unit.chunk.probes
            shown = [row for row in wanted if row in rows]
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
            shown = [row for row in shown if stored[1]["status"][rows.index(row)] == OK]
            back = _recovered(experiment, planned, stored[0], [rows.index(row) for row in shown], faces)
            state = status.states[planned.unit.key]
            seen = publication.pictures(chunk_photos(planned, state, faces), stored[0]) if publication.pictures else {}
            for row, recovered in zip(shown, back, strict=True):
                place, people = rows.index(row), planned.unit.chunk.identities
                protected[row][label] = stored[0][place]
                at = people.index(faces.identity[row]) if cell.protector.scope == "identity" else place
                told = {name: made[0][name][at] for name in stored[1].get("shown", ())}
                told |= {} if recovered is None else {RECOVERED: recovered}
                if told := told | {name: one for name, of in seen.items() if (one := of[place]) is not None}:
                    pictures[row][label] = told
    if gone:
        raise EntryGoneError(f"protected photos of {gone[0]} are gone from {experiment.store.root}")
    told = "" if name == PROBES else name
    for row in wanted:
        yield Example(faces.image_id[row], faces.images[row], protected[row], pictures[row], told)


def _shown(experiment: Experiment) -> dict[str, Sequence[int]]:
    """Which photos of which publications figures show; the probes first."""
    probes, most = experiment.publications.get(PROBES), experiment.config.report.examples
    first: dict[str, Sequence[int]] = {}
    if probes is not None:
        first[PROBES] = [probes.faces.identity.index(name) for name in probes.faces.identities()[:most]]
    return first | {name: one.shown for name, one in experiment.publications.items() if one.shown}


def _recovered(
    experiment: Experiment, planned: PlannedUnit, photos: Tensor, places: Sequence[int], faces: FaceSet
) -> Sequence[Tensor | None]:
    """What the owners of some stored photos of a unit get back, kept so that figures outlive the keys; None where
    nothing does."""
    unit, store = planned.unit, experiment.store
    protector = unit.cell.protector
    if not (protector.recoverable and places and experiment.publications[unit.publication].shown):
        return [None] * len(places)
    inputs = {"unit": unit.key, "places": list(places), "code": code_digest("cloakbench.methods.recovery")}
    key = content_key(SHOWN, inputs)
    kept = store.read_tensors(SHOWN, key)
    if kept is not None:
        return list(kept[0][RECOVERED])
    keys = store.read_tensors(PRIVATE, unit.key)
    if keys is None:
        return [None] * len(places)
    people = key_rows(protector, unit.chunk, [faces.identity[row] for row in unit.chunk.probes])[list(places)]
    back = recovered_photos(protector, photos[list(places)], keys[0], people)
    store.write_tensors(SHOWN, key, {RECOVERED: back}, inputs)
    return list(back)


def _shown_cells(cells: Sequence[Cell], *, each_surrogate: bool) -> dict[int, str]:
    """Cells to their labels: of each method and variant the largest budget, on the first surrogate or on each.

    Where there is more than one of a method, labels name surrogates: ``veil on arcface_ir``.
    """
    best: dict[tuple[str, str], int] = {}
    for number, cell in enumerate(cells):
        of = (cell.row, cell.surrogate if each_surrogate else "")
        known = best.get(of)
        if known is None or cells[known].budget < cell.budget:
            best[of] = number
    rows = [row for row, _ in best]
    return {
        number: cells[number].label if rows.count(row) > 1 else cells[number].method_label
        for (row, _), number in best.items()
    }
