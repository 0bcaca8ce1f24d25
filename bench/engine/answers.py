"""`Answers`: everything one judge said under one condition, read from the store for a protocol to score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cloakbench.bench.core.status import NOT_PLANNED, OK, TARGET_FAILED
from cloakbench.bench.engine.protocol import Answer, Judge, Photos, Protocol
from cloakbench.bench.plan.condition import AS_PUBLISHED, Condition
from cloakbench.bench.plan.publication import CellPhotos, ChunkPhotos
from cloakbench.bench.store.errors import EntryGoneError
from cloakbench.datasets.base import FaceSet

if TYPE_CHECKING:
    from cloakbench.bench.engine.worker import Worker


class UnansweredError(Exception):
    """A judge did not answer; ``status`` and ``reason`` say why."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class ScoreInputs:
    """What a score is made from.

    Attributes:
        protocol: key of the protocol.
        publication: name of the publication.
        judge: who was asked.
        conditions: repetitions of one condition.
        cells: the published photos.
        clean: role to clean photos that the judge was asked about.
        aims: person to the auxiliary row that impersonation is measured on.
        resamples: bootstrap draws.
        missing: keys of answers that were not given, because a judge raised; no others may be absent.
    """

    protocol: str
    publication: str
    judge: Judge
    conditions: tuple[Condition, ...]
    cells: tuple[CellPhotos, ...]
    clean: Mapping[str, tuple[ChunkPhotos, ...]]
    aims: Mapping[str, int]
    resamples: int
    missing: frozenset[str]


class Answers:
    """The answers that a score job is made from.

    Attributes:
        worker: reads faces and the store.
        job: what is scored.
        judge: who was asked.
        cells: the published photos, cell by cell.
        resamples, seed: of the bootstrap.
    """

    def __init__(self, worker: Worker, job: ScoreInputs) -> None:
        self.worker, self.job = worker, job
        self.judge, self.cells = job.judge, job.cells
        self.resamples, self.seed = job.resamples, worker.spec.seed
        self._clean: dict[str, dict[str, Tensor]] = {}

    @cached_property
    def protocol(self) -> Protocol:
        """Who asks."""
        return self.worker.protocol(self.job.protocol)

    @cached_property
    def faces(self) -> FaceSet:
        """The photos of the publication before protection."""
        return self.worker.faces(self.worker.spec.publications[self.job.publication].photos)

    def clean(self, role: str) -> dict[str, Tensor]:
        """Answers about all clean photos of a role, or of the publication, in the order of the faces."""
        if role not in self._clean:
            self._clean[role] = self._stacked(self.job.clean[role], (AS_PUBLISHED,), len(self.worker.faces(role)))
        return self._clean[role]

    def protected(self, cell: int) -> tuple[dict[str, Tensor], list[str]]:
        """Answers about the protected photos of a cell by row of `faces`, NaN where there is none, and `status`."""
        stored = [chunk for chunk in self.cells[cell].chunks if chunk.pixels]
        return self._stacked(stored, self.job.conditions[:1], len(self.faces)), self.status(cell)

    def status(self, cell: int) -> list[str]:
        """What became of each photo of a cell by row of `faces`; ``not_planned`` where the plan leaves it out."""
        found = [NOT_PLANNED] * len(self.faces)
        for chunk in self.cells[cell].chunks:
            for row, state in zip(chunk.rows, chunk.status, strict=True):
                found[row] = state
        return found

    def draws(self, cell: int) -> Iterator[tuple[Condition, Answer | UnansweredError]]:
        """The answers about a whole cell under each repetition of the condition."""
        photos = self.cells[cell]
        status, note = photos.failure
        for condition in self.job.conditions:
            if status != OK:
                yield condition, UnansweredError(status, note)
                continue
            try:
                yield condition, self._answer(condition, photos)
            except UnansweredError as failure:
                yield condition, failure

    def _stacked(self, chunks: Sequence[ChunkPhotos], conditions: Sequence[Condition], count: int) -> dict[str, Tensor]:
        """Tensors of chunks put into their rows of ``count``; NaN elsewhere."""
        whole: dict[str, Tensor] = {}
        for chunk in chunks:
            for name, given in self._answer(conditions[0], chunk).tensors.items():
                values = given if given.is_floating_point() else given.double()  # whole numbers have no NaN
                if name not in whole:
                    whole[name] = values.new_full((count, *values.shape[1:]), torch.nan)
                whole[name][list(chunk.rows)] = values
        return whole

    def _answer(self, condition: Condition, photos: Photos) -> Answer:
        key = self.protocol.answer_key(self.judge, condition, photos, self.worker.spec)
        kind = self.protocol.kind_of(self.judge)
        stored = self.worker.store.read_tensors(kind, key)
        if stored is not None:
            return Answer(stored[0], stored[1] or {})
        if isinstance(photos, CellPhotos):
            failure = self.worker.store.read_json("failures", key)
            if failure is None and key not in self.job.missing:
                raise EntryGoneError(f"answers {key} of {self.judge.name} are gone from {self.worker.store.root}")
            failure = failure or {"status": TARGET_FAILED, "reason": "not finished"}
            raise UnansweredError(failure["status"], failure["reason"])
        if key not in self.job.missing:
            raise EntryGoneError(f"{kind} {key} by {self.judge.name} are gone from {self.worker.store.root}")
        # The judge raised: its photos failed, and the next run asks it again.
        return Answer(self.protocol.no_answer(self.judge, len(photos.rows), self.worker.spec))

    def wanted(self) -> Iterator[tuple[Condition, Photos]]:
        """Everything that a score may read."""
        for chunks in self.job.clean.values():
            yield from ((AS_PUBLISHED, chunk) for chunk in chunks)
        yield from wanted_photos(self.protocol, self.judge, self.cells, self.job.conditions)


def wanted_photos(
    protocol: Protocol, judge: Judge, cells: Sequence[CellPhotos], conditions: Sequence[Condition]
) -> Iterator[tuple[Condition, Photos]]:
    """Published photos that there must be answers about."""
    for cell in cells:
        if protocol.takes_whole_cells(judge, conditions[0]):
            if cell.failure[0] == OK:
                yield from ((condition, cell) for condition in conditions)
        else:
            yield from ((conditions[0], chunk) for chunk in cell.chunks if chunk.pixels)
