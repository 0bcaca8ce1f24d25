"""`Job`: a piece of work that is picklable, idempotent, and done from the store into the store."""

from __future__ import annotations

import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import partial

from cloakbench.bench.core.errors import reason_of
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.core.machine import FULL_PRECISION, machine_trouble
from cloakbench.bench.core.status import OK, TARGET_FAILED
from cloakbench.bench.engine.device.precision import float_rule
from cloakbench.bench.engine.protecting import protected_state, read_photos
from cloakbench.bench.engine.protocol import Judge, Photos, Protocol
from cloakbench.bench.engine.unit_state import cell_photos, chunk_photos
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.plan import Cell
from cloakbench.bench.plan.publication import CellPhotos, ChunkPhotos, PlannedUnit
from cloakbench.bench.processes.pool import Busy
from cloakbench.bench.store.errors import StoreError


@dataclass(frozen=True)
class Report:
    """What the parent needs to know of a finished job."""

    seconds: float = 0.0
    photos: int = 0
    failed: int = 0
    elapsed_seconds: float = 0.0
    """Time that the job took its worker in all."""


class Job(ABC):
    """One piece of work."""

    @property
    def lane(self) -> str:
        """Jobs of one lane are done one at a time, by whatever process; those without one, side by side."""
        return ""

    @property
    @abstractmethod
    def name(self) -> Hashable:
        """What tells it from all others, of this experiment and of those that share its store."""

    @property
    @abstractmethod
    def label(self) -> str:
        """What progress and logs call it."""

    @property
    def kind(self) -> Hashable:
        """Jobs of one kind take about as long for each photo."""
        return type(self).__name__

    @property
    def photos_due(self) -> int:
        """How many photos it is about; 1 for work of another sort."""
        return 1

    def prepare(self, worker: Worker) -> None:  # noqa: B027  (a hook)
        """Begin to read what it needs, while the worker is at another job; it may never be done here."""

    @abstractmethod
    def run(self, worker: Worker) -> Report | Busy:
        """Do it, unless it is done already."""


@dataclass(frozen=True)
class Question:
    """A protocol's question to one judge under one condition.

    Attributes:
        protocol: key of the protocol.
        judge: who is asked.
        condition: under what.
    """

    protocol: str
    judge: Judge
    condition: Condition

    def is_about(self, cell: Cell) -> bool:
        """Whether a cell meets its condition."""
        return self.condition.part.holds(cell.method, cell.budget)

    def key(self, protocol: Protocol, photos: Photos, spec: WorkerSpec) -> str:
        """Where its answer is stored, as ``protocol`` itself says it."""
        return protocol.answer_key(self.judge, self.condition, photos, spec)


@dataclass(frozen=True)
class CleanJob(Job):
    """Ask a judge about clean photos of a role."""

    question: Question
    photos: ChunkPhotos

    @property
    def lane(self) -> str:
        return self.question.judge.lane

    @property
    def name(self) -> Hashable:
        return ("clean", self.question.judge.name, self.photos.publication, self.photos.rows, self.photos.pixels)

    @property
    def label(self) -> str:
        return f"clean {self.photos.publication} by {self.question.judge.name}"

    @property
    def kind(self) -> Hashable:
        return ("clean", self.question.judge.name)

    @property
    def photos_due(self) -> int:
        return len(self.photos.rows)

    def run(self, worker: Worker) -> Report:
        answer(worker, self.question, self.photos)
        return Report(0.0, len(self.photos.rows), 0)


@dataclass(frozen=True)
class ProtectJob(Job):
    """Protect a unit, and ask every judge of one lane who takes chunks about what was saved."""

    planned: PlannedUnit
    questions: tuple[Question, ...]

    @property
    def lane(self) -> str:
        return self.questions[0].judge.lane if self.questions else ""

    @property
    def name(self) -> Hashable:
        return (self.planned.unit.key, self.lane) if self.lane else self.planned.unit.key

    @property
    def label(self) -> str:
        return self.planned.unit.cell.label

    @property
    def kind(self) -> Hashable:
        """A budget more or less is no more work; a variant may be."""
        cell = self.planned.unit.cell
        return ("protect", cell.row, cell.surrogate)

    @property
    def photos_due(self) -> int:
        return len(self.planned.unit.chunk.probes)

    def prepare(self, worker: Worker) -> None:
        unit = self.planned.unit
        worker.ahead.begin(unit.key, partial(read_photos, worker, unit))

    def run(self, worker: Worker) -> Report | Busy:
        state = protected_state(worker, self.planned)
        if isinstance(state, Busy):
            return state
        count = len(self.planned.unit.chunk.probes)
        if not state.about:
            return Report(0.0, count, count)
        photos = chunk_photos(self.planned, state, worker.faces(worker.spec.publications[self._publication].photos))
        refusal: Exception | None = None
        for question in self.questions:
            try:
                answer(worker, question, photos)
            except Exception as problem:  # one judge who raises must not keep the others from answering
                if isinstance(problem, StoreError) or machine_trouble(problem):
                    raise
                refusal = problem
                refusal.add_note(f"target {question.judge.name or question.protocol}")
        if refusal is not None:
            raise refusal
        return Report(state.about["cost"]["seconds"], count, sum(status != OK for status in photos.status))

    @property
    def _publication(self) -> str:
        return self.planned.unit.publication


@dataclass(frozen=True)
class CellJob(Job):
    """Ask a judge who takes whole cells. Photos that are not there yet are protected first, so jobs come in any
    order."""

    question: Question
    cell: int
    units: tuple[PlannedUnit, ...]

    @property
    def lane(self) -> str:
        return self.question.judge.lane

    @property
    def name(self) -> Hashable:
        condition, keys = self.question.condition, tuple(planned.unit.key for planned in self.units)
        return (self.question.protocol, self.question.judge.name, condition.label, condition.draw, self.cell, keys)

    @property
    def label(self) -> str:
        condition = self.question.condition
        draw = "" if condition.draw is None else f", seed {condition.draw}"
        return f"{self.question.judge.name}, {condition.label}{draw}: {self.units[0].unit.cell.label}"

    @property
    def kind(self) -> Hashable:
        return (self.question.protocol, self.question.judge.name, self.question.condition.label)

    @property
    def photos_due(self) -> int:
        return sum(len(planned.unit.chunk.probes) for planned in self.units)

    def run(self, worker: Worker) -> Report | Busy:
        states = []
        for planned in self.units:
            state = worker.state(planned.unit.key)
            found = state if state.is_settled else protected_state(worker, planned)
            if isinstance(found, Busy):
                return found
            states.append(found)
        publication = worker.spec.publications[self.units[0].unit.publication]
        photos = cell_photos(self.cell, self.units, states, worker.faces(publication.photos))
        if photos.failure[0] != OK:
            return Report()
        protocol = worker.protocol(self.question.protocol)
        key = self.question.key(protocol, photos, worker.spec)
        with worker.store.claim(key) as mine:
            if not mine:
                return Busy.after_a_pause()
            kind = protocol.kind_of(self.question.judge)
            if worker.store.is_whole(kind, key, ".safetensors") or worker.store.read_json("failures", key):
                return Report()  # another cell has the same photos
            return self._ask(worker, key, photos)

    def _ask(self, worker: Worker, key: str, photos: CellPhotos) -> Report:
        begun = time.perf_counter()
        count = len(photos.rows)
        try:
            answer(worker, self.question, photos)
        except Exception as problem:  # a judge may raise anything; its answers become rows with a status
            if isinstance(problem, StoreError) or machine_trouble(problem):
                raise
            failure = {"status": TARGET_FAILED, "reason": reason_of(problem), "details": traceback.format_exc()}
            worker.store.write_json("failures", key, failure)
            return Report(0.0, count, count)
        return Report(time.perf_counter() - begun, count, 0)


def do(worker: Worker, job: Job) -> Report | Busy:
    """Do a job, unless another process is at it, or at another of its lane."""
    begun = time.perf_counter()
    kind, name = ("lane", job.lane) if job.lane else ("job", repr(job.name))
    # A letter in front: a job claims its unit too, whose key may share three digits with this one.
    with (
        float_rule(FULL_PRECISION, worker.device),
        worker.store.claim(f"J{content_key(kind, {'name': name})}") as mine,
    ):
        done = job.run(worker) if mine else Busy.after_a_pause()
    return replace(done, elapsed_seconds=time.perf_counter() - begun) if isinstance(done, Report) else done


def answer(worker: Worker, question: Question, photos: Photos) -> None:
    """Have what a judge says about photos in the store: asked now, unless it is there and undamaged."""
    protocol, judge, condition = worker.protocol(question.protocol), question.judge, question.condition
    inputs = protocol.answer_inputs(judge, condition, photos, worker.spec)
    kind = protocol.kind_of(judge)
    key = content_key(kind, inputs)
    if worker.store.read_tensors(kind, key) is None:
        found = protocol.respond(judge, condition, photos, worker)
        worker.store.write_tensors(kind, key, found.tensors, inputs, dict(found.note) or None)
