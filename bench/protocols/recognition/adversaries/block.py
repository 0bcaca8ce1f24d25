"""`Adversaries`: those of an experiment, from their settings to what targets say after they have acted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from cloakbench.bench.config.build import build
from cloakbench.bench.config.node_keys import node_code, node_settings
from cloakbench.bench.core.code_digests import code_digest
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.core.ranges import SettingError
from cloakbench.bench.engine.answers import Answers, UnansweredError
from cloakbench.bench.engine.learning.folds import fold_of, folds_of, refuse_shared_photos
from cloakbench.bench.engine.learning.training import stored_training
from cloakbench.bench.engine.protocol import Answer, Judge
from cloakbench.bench.plan.condition import ADVERSARY, CellPart, Condition
from cloakbench.bench.plan.limits import Meant
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import CellPhotos
from cloakbench.bench.protocols.recognition.adversaries.base import (
    Adversary,
    CleaningAdversary,
    Collected,
    LearningAdversary,
)
from cloakbench.bench.protocols.recognition.protocol import EMBEDDINGS
from cloakbench.bench.protocols.recognition.responses import Responses
from cloakbench.datasets.base import FaceSet
from cloakbench.models.base import embed_in_batches

if TYPE_CHECKING:
    from cloakbench.bench.engine.worker import Worker, WorkerSpec

_TITLE = "Adversaries"
CLEAN, GALLERY, REFERENCES = "clean", "gallery", "references"
"""What a target that learnt says of clean photos, fold by fold."""


class Adversaries:
    """Everybody who prepares for a method.

    Args:
        configs: key to config of an adversary; null for one that is left out.
        methods, epsilons_255, targets: keys of the methods that they prepare for, beside the controls; budgets; keys of
            the targets that look at what they left; None for all.

    Raises:
        SettingError: one of the lists is empty.
    """

    def __init__(
        self,
        configs: Mapping[str, Any] | None,
        methods: Sequence[str] | None = None,
        epsilons_255: Sequence[float] | None = None,
        targets: Sequence[str] | None = None,
    ) -> None:
        for name, given in {"methods": methods, "epsilons_255": epsilons_255, "targets": targets}.items():
            if given is not None and not given:
                raise SettingError(f"adversaries_on.{name}", given, "a list that is not empty, or null for all")
        self._methods, self._budgets, self._targets = methods, frozenset(epsilons_255 or ()), targets
        self._configs = {key: config for key, config in (configs or {}).items() if config is not None}
        self._built: dict[str, Adversary] = {}

    def __bool__(self) -> bool:
        return bool(self._configs)

    def of(self, condition: Condition) -> Adversary:
        """The adversary whose condition it is.

        Raises:
            ConfigError: it cannot be built, or is none.
        """
        return self._made(condition.label, f"adversaries.{condition.label}")

    def conditions(self, target: str, controls: Iterable[str]) -> list[Condition]:
        """One for each that a target looks at, after those of transforms."""
        if self._targets is not None and target not in self._targets:
            return []
        methods = () if self._methods is None else (*self._methods, *controls)
        return [
            Condition(
                key,
                _TITLE,
                ADVERSARY,
                settings=dict(config),
                axis="adversary",
                part=CellPart(frozenset(methods), self._budgets),
            )
            for key, config in self._configs.items()
        ]

    def check(self, config: DictConfig, place: str) -> None:
        """Look at the settings.

        Raises:
            ConfigError: one is wrong; one line that names it.
        """
        for key in self._configs:
            where = f"{place}adversaries.{key}"
            if not key.replace("_", "").isalnum():
                raise ConfigError(f"{where}: use letters, digits and _ for the name of an adversary")
            self._made(key, where)
        if strangers := [key for key in self._targets or () if key not in config.targets]:
            raise ConfigError(
                f"{place}adversaries_on.targets names {strangers[0]}, which is no target of this experiment; it has: "
                f"{', '.join(map(str, config.targets))}"
            )
        if self._methods:
            meant = Meant(config, f"{place}adversaries_on.methods", {*config.methods, str(config.method_key)})
            for method in self._methods:
                meant.of(method)

    def try_on(self, planning: Planning) -> None:
        """Look whether somebody would be learnt from and judged.

        Raises:
            ConfigError: one photo shows people of two folds, or there are too few people.
        """
        faces = planning.faces["probe"]
        people = faces.identities()
        for key, one in ((key, self._made(key, key)) for key in self._configs):
            if key in planning.transforms:
                raise ConfigError(
                    f"protocols.identification.adversaries.{key} has the name of a transform: give one another name"
                )
            fewest = len(people) - -(-len(people) // one.folds)
            if one.learns and fewest < 2:
                raise ConfigError(
                    f"protocols.identification.adversaries.{key} learns from fewer than two of {len(people)} people: "
                    "raise dataset.identities, or folds"
                )
            refuse_shared_photos(faces, fold_of(people, one.folds), [planning.faces["reference"]])

    def inputs(self, judge: Judge, condition: Condition, photos: CellPhotos, spec: WorkerSpec) -> Inputs:
        """Everything that decides what a target says of a cell after an adversary has acted."""
        return {
            **judge.inputs,
            **self._own_inputs(condition),
            "asked_by": code_digest(__name__),
            "published": [[one.pixels, list(one.rows)] for one in photos.chunks],
            "faces": {name: spec.faces[name] for name in ("distractor", "reference", "probe")},
            "seed": spec.seed,
            "batch": spec.embed_batch,
        }

    def respond(self, judge: Judge, condition: Condition, photos: CellPhotos, worker: Worker) -> Answer:
        """What a target says: of a cell's photos in the order of its rows, and, where it learnt, of clean ones."""
        one = self.of(condition)
        collected = _collected(one, photos, worker)

        def learn(start: Mapping[str, Any], inputs: Mapping[str, Any], training: Any) -> Mapping[str, Tensor]:
            return stored_training(worker.store, {**self._own_inputs(condition), **start, **inputs}, training)

        if isinstance(one, CleaningAdversary):
            cleaned = one.cleaned(collected, partial(learn, {}))
            found, note = worker.embeddings(judge.name, cleaned)
            return Answer({EMBEDDINGS: found}, note)
        assert isinstance(one, LearningAdversary)
        target, probes = worker.network(judge.name), worker.faces("probe")

        def embedded(images: Tensor) -> Tensor:
            return embed_in_batches(pupil, images, worker.spec.embed_batch, worker.device)

        size = target.card.embedding_size
        own = torch.full((len(photos.rows), size), torch.nan)
        clean = torch.full((len(probes), size), torch.nan)
        known = torch.full((len(collected.references), size), torch.nan)
        galleries = []
        for fold in folds_of(collected.faces.identity, collected.fold):
            pupil = one.pupil(target, collected, fold, partial(learn, {"start": dict(judge.inputs)}))
            own[list(fold.judged)] = embedded(collected.published[list(fold.judged)])
            for faces, into in ((probes, clean), (collected.references, known)):
                rows = _rows_in(faces, collected.fold, fold.number)
                into[rows] = embedded(faces.images[rows])
            galleries.append(embedded(collected.strangers.images))
        return Answer({EMBEDDINGS: own, CLEAN: clean, REFERENCES: known, GALLERY: torch.stack(galleries)})

    def read(self, answers: Answers, cell: int, plain: Responses) -> Sequence[Responses]:
        """What a target says of a cell, a part for each gallery.

        Args:
            answers: under the condition of an adversary.
            cell: which.
            plain: the same of unchanged photos by the target as it was; its protected photos are not looked at.
        """
        [(_, said)] = answers.draws(cell)
        photos = answers.cells[cell]
        protected = torch.full_like(plain.clean, torch.nan)
        if isinstance(said, UnansweredError):
            status = [said.status if row in set(photos.rows) else state for row, state in enumerate(plain.status or ())]
            return [_part(plain, range(len(plain.clean)), protected=protected, status=status)]
        protected[photos.rows] = said.tensors[EMBEDDINGS]
        if GALLERY not in said.tensors:
            return [_part(plain, range(len(plain.clean)), protected=protected)]
        return list(self._folded(answers, said, plain, protected, photos))

    def _folded(
        self, answers: Answers, said: Answer, plain: Responses, protected: Tensor, photos: CellPhotos
    ) -> Iterator[Responses]:
        faces = answers.faces
        one = self.of(answers.job.conditions[0])
        fold = fold_of(faces.identities(), one.folds)
        asked = folds_of([faces.identity[row] for row in photos.rows], fold)
        for number, gallery in zip([part.number for part in asked], said.tensors[GALLERY], strict=True):
            yield _part(
                plain,
                _rows_in(faces, fold, number),
                protected=protected,
                clean=said.tensors[CLEAN],
                gallery=gallery,
                references=None if plain.references is None else said.tensors[REFERENCES],
            )

    def _made(self, key: str, where: str) -> Adversary:
        if key not in self._built:
            config = self._configs[key]
            made = build(config, where, convert="all")
            if not isinstance(made, Adversary):
                raise ConfigError(f"{where}: {config['_target_']} built a {type(made).__name__}, not an Adversary")
            self._built[key] = made
        return self._built[key]

    def _own_inputs(self, condition: Condition) -> dict[str, Any]:
        settings = dict(condition.settings)
        return {"adversary": node_settings(settings), "code": node_code(settings)}


def _collected(adversary: Adversary, photos: CellPhotos, worker: Worker) -> Collected:
    probes = worker.faces(worker.spec.publications[photos.publication].photos)
    rows = photos.rows
    place = {row: number for number, row in enumerate(rows)}
    published = torch.empty(len(rows), *probes.images.shape[1:], dtype=torch.uint8)
    for chunk in photos.chunks:
        published[[place[row] for row in chunk.rows]] = worker.photos(chunk)
    return Collected(
        published,
        probes.select(rows),
        fold_of(probes.identities(), adversary.folds),
        worker.faces("reference"),
        worker.faces("distractor"),
        worker.spec.seed,
        worker.device,
    )


def _rows_in(faces: FaceSet, fold: Mapping[str, int], number: int) -> list[int]:
    """Photos of people who are judged in a fold."""
    return [row for row, name in enumerate(faces.identity) if fold.get(name) == number]


def _part(whole: Responses, rows: Sequence[int], *, protected: Tensor, **given: Any) -> Responses:
    """Some rows of what a target says; ``given`` stands in for what it said before it learnt."""
    rows = list(rows)
    clean = given.pop("clean", whole.clean)
    status = given.pop("status", whole.status)
    return replace(
        whole,
        protected=protected[rows],
        clean=clean[rows],
        identity=whole.identity[rows],
        image_id=[whole.image_id[row] for row in rows],
        target_embeddings=None if whole.target_embeddings is None else whole.target_embeddings[rows],
        status=[status[row] for row in rows],
        **given,
    )
