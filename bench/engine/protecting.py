"""Protecting a unit: train where the method does, protect, save as 8 bits, keep what is known about the photos.

Only the read-back 8-bit photos are ever measured (invariant 1 of ``docs/architecture.md``).
"""

from __future__ import annotations

import time
import traceback
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from cloakbench.bench.core.errors import reason_of
from cloakbench.bench.core.hashing import Inputs, tensor_digest
from cloakbench.bench.core.machine import machine_trouble
from cloakbench.bench.core.status import METHOD_FAILED
from cloakbench.bench.engine.device.precision import float_rule
from cloakbench.bench.engine.recovery import key_rows
from cloakbench.bench.engine.training import train_stages
from cloakbench.bench.engine.views import Views, stored_views, views_of_unit
from cloakbench.bench.engine.worker import UnitPhotos, Worker, pinned, to_float
from cloakbench.bench.plan.plan import Unit
from cloakbench.bench.plan.publication import PlannedUnit, UnitState
from cloakbench.bench.processes.peak_memory import added_peak_mib, mark_memory
from cloakbench.bench.processes.pool import Busy
from cloakbench.bench.store.errors import StoreError
from cloakbench.bench.store.store import PRIVATE, SHOWN
from cloakbench.methods.base import Protected
from cloakbench.methods.context import MissingNeedError, Need, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.methods.recovery import recovered_photos


def protected_state(worker: Worker, planned: PlannedUnit) -> UnitState | Busy:
    """What is stored of a unit once it has been protected, by this process or another; busy while another does it."""
    unit = planned.unit
    with worker.store.claim(unit.key) as mine:
        if not mine:
            return Busy.after_a_pause()
        state = worker.state(unit.key)
        if state.about:
            return state
        try:
            with float_rule(worker.spec.precision, worker.device):
                busy = _protect(worker, unit, planned.inputs)
            if busy is not None:
                return busy
        except Exception as problem:  # a method may raise anything; its photos become rows with a status
            if isinstance(problem, StoreError) or machine_trouble(problem):
                raise
            failure = {"status": METHOD_FAILED, "reason": reason_of(problem), "details": traceback.format_exc()}
            worker.store.write_json("failures", unit.key, failure)
            return UnitState(failure=failure)
        state = worker.state(unit.key)
        if not state.about:
            raise StoreError(f"{unit.cell.label}: the photos just saved cannot be read back; check the disk")
        return state


def _protect(worker: Worker, unit: Unit, inputs: Inputs) -> Busy | None:
    """Protect and save; busy while another process trains the method or makes views of these people."""
    protector = worker.protector(unit.cell)
    context = ProtectContext(
        worker.attacked(unit.cell.surrogates),
        worker.faces("auxiliary") if Need.AUXILIARY in protector.needs and "auxiliary" in worker.spec.faces else None,
        worker.spec.seed,
        worker.device,
    )
    spent = {}
    if protector.is_trained:
        trained = train_stages(worker.store, protector, context, inputs, unit.cell.label)
        if trained is None:
            return Busy.after_a_pause()
        context = replace(context, trained=trained.tensors)
        spent["training"] = vars(trained.cost)
    views = None
    if Need.GENERATOR in protector.needs:
        views = _views(worker, unit, inputs)
        if views is None:
            return Busy.after_a_pause()
        spent["views"] = vars(views.cost)
    photos = photo_batch(worker, unit, views)
    # The first chunk of a cell stands for all: giving free memory back makes what follows slower.
    mark = mark_memory() if unit.chunk.number == 0 and worker.device.type == "cpu" else None
    protected = protector.protect(photos, context)
    peak = added_peak_mib(mark) if worker.device.type == "cpu" else protected.cost.peak_memory_mib
    faces = worker.faces(worker.spec.publications[unit.publication].photos)
    names = [faces.image_id[row] for row in unit.chunk.probes]
    if protected.private:  # first: photos without what lifts their protection would count as done
        worker.store.write_tensors(PRIVATE, unit.key, protected.private, {})
    about = _about(protected, inputs, peak) | spent | _recovery(worker, unit, protected)
    if protected.shown and unit.chunk.number == 0:  # figures show the first people
        worker.store.write_tensors(SHOWN, unit.key, protected.shown, {})
        about["shown"] = list(protected.shown)
    worker.store.write_photos("protected", unit.key, protected.images, names, about)
    return None


def _recovery(worker: Worker, unit: Unit, protected: Protected) -> dict[str, Any]:
    """How long the owners of a cell's first photos take to get them back, or why they do not.

    Judges recover anew from the store, once for each question, and are told of a refusal themselves. The first chunk of
    a cell is timed and stands for all, as its memory does.
    """
    protector = worker.protector(unit.cell)
    if unit.chunk.number or not (protector.recoverable and protected.private):
        return {}
    faces = worker.faces(worker.spec.publications[unit.publication].photos)
    people = key_rows(protector, unit.chunk, [faces.identity[row] for row in unit.chunk.probes])
    published = protected.images.to(worker.device)
    begun = time.perf_counter()
    try:
        recovered_photos(protector, published, protected.private, people).cpu()
    except Exception as problem:  # a method may raise anything, and its photos are published all the same
        if machine_trouble(problem):
            raise
        return {"recovery": {"refused": reason_of(problem)}}
    return {"recovery": {"seconds": time.perf_counter() - begun, "photos": len(people)}}


def _views(worker: Worker, unit: Unit, inputs: Inputs) -> Views | None:
    """Other pictures of the people of a unit, made of the first reference of each; None while another makes some."""
    first = [rows[0] if rows else None for rows in unit.chunk.references]
    rows = [row for row in first if row is not None]
    if len(rows) < len(first):
        nobody = unit.chunk.identities[first.index(None)]
        raise MissingNeedError(
            f"{nobody} has no reference that other pictures could be made of: add one, or leave the person out"
        )
    photos = worker.faces(worker.spec.publications[unit.publication].references).images[rows]
    return stored_views(worker.store, worker.generator, photos, views_of_unit(inputs), worker.device)


def photo_batch(worker: Worker, unit: Unit, views: Views | None = None) -> PhotoBatch:
    """The photos of a unit as a method sees them, with views of their owners where it asks for them."""
    chunk, device = unit.chunk, worker.device
    publication = worker.spec.publications[unit.publication]
    photos = worker.faces(publication.photos)
    rows = list(chunk.probes)
    place = {identity: number for number, identity in enumerate(chunk.identities)}
    read = worker.ahead.take(unit.key, partial(read_photos, worker, unit))
    reference_id: tuple[tuple[str, ...], ...] = ()
    points = None
    if read.references is not None:
        given = worker.faces(publication.references)
        reference_id = tuple(tuple(given.image_id[row] for row in r) for r in chunk.references)
        if given.landmarks is not None and Need.REFERENCE_LANDMARKS in worker.protector(unit.cell).needs:
            points = torch.stack([given.landmarks[list(rows)] for rows in chunk.references]).to(device)
    return PhotoBatch(
        images=to_float(read.images, device),
        image_id=tuple(photos.image_id[row] for row in rows),
        owner=torch.tensor([place[photos.identity[row]] for row in rows], device=device),
        identities=chunk.identities,
        references=None if read.references is None else to_float(read.references, device),
        reference_id=reference_id,
        reference_landmarks=points,
        views=None if views is None else to_float(views.images, device),
        landmarks=None if photos.landmarks is None else photos.landmarks[rows].to(device),
        aim_photos=None if read.aims is None else to_float(read.aims, device),
    )


def read_photos(worker: Worker, unit: Unit) -> UnitPhotos:
    """The photos of a unit from the store, in memory that the worker's device can fetch them from."""
    chunk, publication = unit.chunk, worker.spec.publications[unit.publication]
    images = worker.faces(publication.photos).images[list(chunk.probes)]
    references = aims = None
    if publication.references in worker.spec.faces and all(chunk.references):
        given = worker.faces(publication.references).images
        references = pinned(torch.stack([given[list(rows)] for rows in chunk.references]), worker.device)
    if chunk.aims:
        aims = pinned(worker.faces("auxiliary").images[list(chunk.aims)], worker.device)
    return UnitPhotos(pinned(images, worker.device), references, aims)


def _about(protected: Protected, inputs: Inputs, peak_mib: float | None) -> dict[str, Any]:
    return {
        "inputs": dict(inputs),
        "status": list(protected.status),
        "linf_255": protected.linf_255.tolist(),
        "l2_255": protected.l2_255.tolist(),
        "cost": vars(protected.cost),
        "added_peak_mib": peak_mib,
        "warnings": list(protected.warnings),
        "facts": dict(protected.facts),
        "pixels": tensor_digest(protected.images),
        **({"private": sorted(protected.private)} if protected.private else {}),
    }
