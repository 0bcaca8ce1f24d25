"""Scoring: one job per protocol, publication, judge and condition, from stored answers to records and measurements.

Jobs are pure functions of what is in the store and are stored themselves, so a finished experiment is reported again
without recomputing anything.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cloakbench.bench.config.node_keys import node_code, node_settings
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.engine.answers import Answers, ScoreInputs, wanted_photos
from cloakbench.bench.engine.jobs import Job, Report
from cloakbench.bench.engine.protocol import Judge
from cloakbench.bench.engine.worker import Worker
from cloakbench.bench.experiment.experiment import Asked, Experiment
from cloakbench.bench.experiment.run_status import RunStatus
from cloakbench.bench.plan.condition import AS_PUBLISHED, Condition
from cloakbench.bench.plan.publication import CellPhotos, ChunkPhotos
from cloakbench.bench.store.errors import EntryGoneError
from cloakbench.bench.store.store import Store


@dataclass(frozen=True)
class ScoreJob(ScoreInputs, Job):
    """Score what one judge said under one condition about every cell of a publication.

    Attributes:
        frames: names of the tables that the score has beside records and measurements.
        key: where the score is stored.
    """

    frames: tuple[str, ...]
    key: str

    @property
    def name(self) -> Hashable:
        return self.key

    @property
    def label(self) -> str:
        return self.judge.name or self.protocol

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of the stored tables, in the order in which they are written."""
        return (*self.frames, "records", "measurements")

    def is_done(self, store: Store) -> bool:
        """Whether all tables are there and undamaged; each is looked at."""
        whole = [store.is_whole(kind, self.key, ".parquet") for kind in self.kinds]
        return all(whole)

    def run(self, worker: Worker) -> Report:
        """Score.

        Raises:
            EntryGoneError: answers were damaged, or have gone since the job was planned. All such are found at once.
        """
        if self.is_done(worker.store):
            return Report()
        answers = Answers(worker, self)
        try:
            scored = answers.protocol.score(answers)
        except EntryGoneError:
            for condition, photos in answers.wanted():
                key = answers.protocol.answer_key(self.judge, condition, photos, worker.spec)
                worker.store.is_whole(answers.protocol.kind_of(self.judge), key, ".safetensors")
            raise
        for kind in self.kinds:
            worker.store.write_frame(kind, self.key, scored[kind])
        return Report()


def score_jobs(experiment: Experiment, status: RunStatus) -> Iterator[ScoreJob]:
    """All score jobs of an experiment."""
    clean_digests = {role: list(pixels) for role, pixels in experiment.clean_pixels().items()}
    for asked in experiment.asked:
        every = status.cells(asked.publication.name)
        for judge, conditions in asked.questions():
            cells = tuple(
                photos if conditions[0].part.holds(cell.method, cell.budget) else replace(photos, chunks=())
                for cell, photos in zip(asked.publication.cells, every, strict=True)
            )
            if not any(cell.chunks for cell in cells):
                continue
            clean = experiment.clean_photos(asked, judge)
            missing = sorted(_missing(experiment, asked, judge, conditions, cells, clean))
            settings = asked.protocol.score_settings(experiment.spec.protocols[asked.key], judge)
            inputs: dict[str, Any] = {
                "protocol": node_settings(settings, asked.protocol.printing),
                "publication": asked.publication.name,
                "photos": experiment.spec.faces[asked.publication.photos],
                "judge": [judge.name if not judge.inputs else "", dict(judge.inputs), dict(judge.options)],
                "conditions": [[one.label, node_settings(dict(one.settings)), one.draw] for one in conditions],
                "cells": [
                    [[chunk.pixels for chunk in cell.chunks], [chunk.status for chunk in cell.chunks]] for cell in cells
                ],
                "rows": [[list(chunk.rows) for chunk in cell.chunks] for cell in cells],
                "clean": {role: clean_digests[role] for role in clean},
                "faces": {role: experiment.spec.faces[role] for role in clean},
                "aims": dict(experiment.aims) if clean else {},
                "resamples": experiment.config.statistics.resamples,
                "seed": experiment.spec.seed,
                "batch": experiment.spec.embed_batch,
                "missing": missing,
                "code": node_code(settings, base=("cloakbench.bench.engine.answers",), without=asked.protocol.printing),
            }
            yield ScoreJob(
                asked.key,
                asked.publication.name,
                judge,
                tuple(conditions),
                cells,
                clean,
                experiment.aims if clean else {},
                experiment.config.statistics.resamples,
                frozenset(missing),
                asked.protocol.frame_names,
                content_key("measurements", inputs),
            )


def _missing(
    experiment: Experiment,
    asked: Asked,
    judge: Judge,
    conditions: Sequence[Condition],
    cells: Sequence[CellPhotos],
    clean: Mapping[str, Sequence[ChunkPhotos]],
) -> set[str]:
    """Keys of answers that a judge should have given and has not, because it raised."""
    protocol, kind = asked.protocol, asked.protocol.kind_of(judge)
    wanted = list(wanted_photos(protocol, judge, cells, conditions))
    wanted += [(AS_PUBLISHED, chunk) for chunks in clean.values() for chunk in chunks]
    keys = {protocol.answer_key(judge, one, photos, experiment.spec) for one, photos in wanted}
    store = experiment.store
    absent = {key for key in keys if not store.has_tensors(kind, key)}
    whole = protocol.takes_whole_cells(judge, conditions[0])
    return {key for key in absent if not (whole and store.read_json("failures", key))}
