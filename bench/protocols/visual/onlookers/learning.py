"""`LearnerSearch`: onlookers who learn from the veiled photos of other people, on all photos of a cell at once.

What was learnt is kept in the store under a key of its own, with a checkpoint while it is being learnt, so that a
killed run goes on and another gallery teaches nobody anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cloakbench.bench.core.hashing import Inputs, content_key, tensor_digest
from cloakbench.bench.core.status import OK
from cloakbench.bench.engine.checkpoints import StoredCheckpoint
from cloakbench.bench.engine.protocol import Answer, Judge
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import CellPhotos
from cloakbench.bench.protocols.identification.protocol import Identification
from cloakbench.bench.protocols.recognition.protocol import EMBEDDINGS
from cloakbench.bench.protocols.visual.faces import roles_of
from cloakbench.bench.protocols.visual.onlookers.asked import (
    ONLOOKER,
    OnlookerGroup,
    held_count,
    mates_role,
    people_of,
)
from cloakbench.bench.protocols.visual.onlookers.learner import FineTuned, Lessons
from cloakbench.datasets.base import FaceSet, Role
from cloakbench.methods.context import Kept
from cloakbench.models.base import Recogniser, embed_in_batches

MATES, GALLERY, CLEAN = "mates", "gallery", "clean"
_KIND = "trained"


@dataclass(frozen=True)
class Pupil:
    """A network that learnt, and whom it is judged on.

    Attributes:
        network: the recogniser.
        rows: of the cell's photos that it is judged on.
        mates: their people's clean photos.
    """

    network: Recogniser
    rows: list[int]
    mates: FaceSet


class LearnerSearch(Identification):
    """Learners are asked whom the photos of a cell show. Settings are those of `OnlookerGroup`."""

    kind = "learnt"
    answer_modules = ("cloakbench.bench.protocols.visual.onlookers.learning",)

    def __init__(self, asked: OnlookerGroup) -> None:
        super().__init__([1])
        self.asked = asked

    def judges(self, planning: Planning) -> Sequence[Judge]:
        found = []
        for key, learner in self.asked.onlookers.items():
            start = learner.start
            inputs = {**self.asked.inputs(key), "start": planning.fingerprints[start]}
            family, networks = planning.cards[start].family, planning.same_weights[start]
            found.append(Judge(key, inputs, family, networks, {ONLOOKER: key}, whole_cells=True))
        return found

    def conditions(self, judge: Judge, planning: Planning) -> Sequence[Condition]:
        return self.asked.conditions(judge)

    def inputs(self, judge: Judge, condition: Condition, photos: Any, spec: WorkerSpec) -> Inputs:
        return {
            **judge.inputs,
            "held": held_count(condition),
            "published": [[one.pixels, list(one.rows)] for one in photos.chunks],
            "faces": {name: spec.faces[name] for name in ("distractor", *self._roles())},
            "photos": spec.faces[spec.publications[photos.publication].photos],
            "roles": list(self.asked.roles),
            "seed": spec.seed,
        }

    def respond(self, judge: Judge, condition: Condition, photos: Any, worker: Worker) -> Answer:
        """Embeddings of the cell's photos by row, each by the network that is judged on it; and of clean photos and
        the gallery by each network, one after the other."""
        faces = worker.faces(worker.spec.publications[photos.publication].photos).select(photos.rows)
        published, learner = _published(photos, worker), self.asked.of(judge)

        def embedded(network: Recogniser, images: Tensor) -> Tensor:
            return embed_in_batches(network, images, learner.batch_size, worker.device)

        found: dict[str, list[Tensor]] = {EMBEDDINGS: [], CLEAN: [], MATES: [], GALLERY: []}
        order: list[int] = []
        for pupil in self._pupils(judge, condition, faces, published, worker):
            order += pupil.rows
            found[EMBEDDINGS].append(embedded(pupil.network, published[pupil.rows]))
            found[CLEAN].append(embedded(pupil.network, faces.images[pupil.rows]))
            found[MATES].append(embedded(pupil.network, pupil.mates.images))
            found[GALLERY].append(embedded(pupil.network, worker.faces("distractor").images))
        place = torch.tensor(order).argsort()
        by_row = {name: torch.cat(found[name])[place] for name in (EMBEDDINGS, CLEAN)}
        return Answer({**by_row, MATES: torch.cat(found[MATES]), GALLERY: torch.stack(found[GALLERY])})

    def groups(
        self, learner: FineTuned, faces: FaceSet, references: FaceSet | None
    ) -> Iterator[tuple[Role, list[int]]]:
        """Role and rows of the photos that each network is judged on: one fold of people in one role."""
        folds, roles = learner.fold_of(faces.identities()), roles_of(faces, self.asked.roles, references)
        for role in dict.fromkeys(roles):
            for fold in range(learner.folds):
                own = [row for row, name in enumerate(faces.identity) if folds[name] == fold and roles[row] == role]
                if own:
                    yield role, own

    def _pupils(
        self, judge: Judge, condition: Condition, faces: FaceSet, published: Tensor, worker: Worker
    ) -> Iterator[Pupil]:
        learner: FineTuned = self.asked.of(judge)
        start, references = worker.network(learner.start), worker.faces("reference")
        roles = roles_of(faces, self.asked.roles, references)
        for role, judged in self.groups(learner, faces, references):
            names = {faces.identity[row] for row in judged}
            taught, seen = [], dict.fromkeys(faces.identity, 0)
            for row, name in enumerate(faces.identity):
                if name not in names and roles[row] == role and seen[name] < held_count(condition):
                    taught.append(row)
                    seen[name] += 1
            others = worker.faces(mates_role(role))
            clean = people_of(others, [faces.identity[row] for row in taught])
            lessons = Lessons(
                published[taught], [faces.identity[row] for row in taught], clean.images, clean.identity, sorted(names)
            )
            weights = self._learnt(judge, learner, lessons, start, worker)
            yield Pupil(learner.pupil(start, weights, worker.device), judged, people_of(others, sorted(names)))

    def _learnt(
        self, judge: Judge, learner: FineTuned, lessons: Lessons, start: Recogniser, worker: Worker
    ) -> dict[str, Tensor]:
        """What a network learns, from the store or now."""
        inputs: dict[str, Any] = {
            **judge.inputs,
            "veiled": [tensor_digest(lessons.veiled), list(lessons.names)],
            "clean": [tensor_digest(lessons.clean), list(lessons.clean_names)],
            "seed": worker.spec.seed,
        }
        key = content_key(_KIND, inputs)
        stored = worker.store.read_tensors(_KIND, key)
        if stored is not None:
            return stored[0]
        checkpoint = StoredCheckpoint(worker.store, key, inputs)
        kept = checkpoint.load()
        weights = learner.learn(
            start,
            lessons,
            worker.spec.seed,
            worker.device,
            reached=kept.tensors if kept else None,
            keep=lambda tensors: checkpoint.save(Kept(tensors, 0, 0, 0.0)),
        )
        worker.store.write_tensors(_KIND, key, weights, inputs)
        checkpoint.remove()
        return weights

    def _roles(self) -> list[str]:
        return sorted({"reference", *(mates_role(role) for role in self.asked.roles)})


def _published(photos: CellPhotos, worker: Worker) -> Tensor:
    """The photos of a cell in the order of its rows."""
    place = {row: number for number, row in enumerate(photos.rows)}
    parts = [(chunk, worker.photos(chunk)) for chunk in photos.chunks]
    whole = torch.empty(len(place), *parts[0][1].shape[1:], dtype=torch.uint8)
    for chunk, images in parts:
        assert set(chunk.status) == {OK}  # a cell that lost photos is not asked about
        whole[[place[row] for row in chunk.rows]] = images
    return whole
