"""What a worker process does for the poisoning track: protect a cell's photos, train on them, test on clean ones."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cloakbench.bench.core.errors import reason_of
from cloakbench.bench.core.machine import machine_trouble
from cloakbench.bench.engine.plan import Unit
from cloakbench.bench.engine.pool import Busy
from cloakbench.bench.engine.protocol import TARGET_FAILED
from cloakbench.bench.engine.worker import UnitReport, Workshop
from cloakbench.bench.protocols.poisoning.brief import AttackJob, CellUnits, PoisoningBrief, attack_key
from cloakbench.bench.protocols.poisoning.training import train_and_answer, unprotected_rows
from cloakbench.bench.store.faces import read_faces
from cloakbench.bench.store.store import EntryGoneError, Store, StoreError
from cloakbench.datasets.base import OK
from cloakbench.methods.base import METHOD_FAILED

ATTACKS = "attacks"
"""Kind of the stored answers of trainings."""

_PAUSE_SECONDS = 0.1
"""Pause before a training that another process works on is tried again."""

Job = AttackJob | tuple[Unit, dict[str, Any]]


@dataclass(frozen=True)
class Published:
    """What became of a cell's photos: ``pixels`` are digests chunk by chunk when all of them went through.

    ``status`` is ``ok``, or ``method_failed`` with the reason, or empty while something is still to be done.
    """

    pixels: tuple[str, ...] = ()
    status: str = ""
    note: str = ""


def published(store: Store, cell: CellUnits) -> Published:
    """Look a cell's photos up. One photo that its method failed on would be trained on unprotected: the cell fails."""
    pixels = []
    for unit, _ in cell.units:
        about = store.read_about("protected", unit.key)
        if about is None:
            failure = store.read_json("failures", unit.key)
            return Published() if failure is None else Published((), failure["status"], failure["reason"])
        if lost := sum(status != OK for status in about["status"]):
            return Published((), METHOD_FAILED, f"{lost} of {len(about['status'])} photos of a chunk failed")
        pixels.append(about["pixels"])
    return Published(tuple(pixels), OK)


def is_answered(store: Store, key: str) -> bool:
    """Whether a training is done: its answers are there and undamaged, or its failure is recorded."""
    return store.is_whole(ATTACKS, key, ".safetensors") or store.read_json("failures", key) is not None


class PoisoningWorkshop:
    """Handler of a worker process: answers `AttackJob` and ``(Unit, inputs)`` jobs.

    A training first sees to the protection of its photos, so jobs may come in any order.
    """

    def __init__(self, brief: PoisoningBrief) -> None:
        self.brief = brief
        self.protecting = Workshop(brief.work)
        self.store = self.protecting.store
        self._photos: tuple[int, Tensor] | None = None
        self._read: dict[str, Tensor] = {}

    def __call__(self, job: Job) -> UnitReport | Busy:
        if not isinstance(job, AttackJob):
            return self.protecting(job)
        cell = self.brief.cells[job.cell]
        found = published(self.store, cell)
        if not found.status:
            for unit in cell.units:
                answer = self.protecting(unit)
                if isinstance(answer, Busy):
                    return answer
            found = published(self.store, cell)
        if found.status != OK:
            return UnitReport(0.0, 0, 0)
        key, inputs = attack_key(self.brief, job, found.pixels)
        with self.store.claim(key, wait=False) as mine:
            if mine:
                return self._attack(job, key, inputs)
        time.sleep(_PAUSE_SECONDS)
        return Busy()

    def _attack(self, job: AttackJob, key: str, inputs: dict[str, Any]) -> UnitReport:
        if is_answered(self.store, key):
            return UnitReport(0.0, 0, 0)  # another cell has the same photos
        begun = time.perf_counter()
        photos = self._training_photos(job)
        try:
            predicted, train_accuracy = train_and_answer(
                self.brief.attackers[job.scenario.attacker],
                self.brief.regimes[job.scenario.regime],
                photos,
                torch.tensor(self.brief.labels + self.brief.other_labels),
                self._images(self.brief.test),
                f"{self.brief.work.seed}-{job.seed}",
                torch.device(self.brief.work.device),
            )
        except Exception as problem:  # an attacker may raise anything; its answers become rows with a status
            if isinstance(problem, StoreError) or machine_trouble(problem):
                raise
            reason = reason_of(problem)
            failure = {"status": TARGET_FAILED, "reason": reason, "details": traceback.format_exc()}
            self.store.write_json("failures", key, failure)
            return UnitReport(0.0, len(photos), len(photos))
        self.store.write_tensors(ATTACKS, key, {"predicted": predicted}, inputs, {"train_accuracy": train_accuracy})
        return UnitReport(time.perf_counter() - begun, len(photos), 0)

    def _training_photos(self, job: AttackJob) -> Tensor:
        """The published photos of a cell in the order of the data set, some of them as they were, then the others'."""
        originals = self.protecting.faces("probe")
        if self._photos is None or self._photos[0] != job.cell:
            whole = torch.empty_like(originals.images)
            for unit, _ in self.brief.cells[job.cell].units:
                stored = self.store.read_photos("protected", unit.key)
                if stored is None:
                    raise EntryGoneError(f"protected photos of {unit.cell.label} are gone from {self.store.root}")
                whole[list(unit.chunk.probes)] = stored[0]
            self._photos = (job.cell, whole)
        photos = self._photos[1]
        if job.scenario.clean_share:
            rows = unprotected_rows(originals.identity, job.scenario.clean_share, self.brief.work.seed, job.seed)
            photos = photos.clone()
            photos[rows] = originals.images[rows]
        if self.brief.others:
            photos = torch.cat([photos, self._images(self.brief.others)])
        return photos

    def _images(self, key: str) -> Tensor:
        """Stored photos, read once per process."""
        if key not in self._read:
            self._read[key] = read_faces(self.store, key).images
        return self._read[key]
