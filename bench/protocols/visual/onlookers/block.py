"""`Onlookers`: the attackers of `visual`, from their settings to the records of what they found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from torch import Tensor

from cloakbench.bench.config.build import build
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.status import OK, TARGET_FAILED
from cloakbench.bench.engine.answers import Answers, UnansweredError
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import ChunkPhotos
from cloakbench.bench.protocols.recognition.protocol import EMBEDDINGS
from cloakbench.bench.protocols.visual.faces import roles_of
from cloakbench.bench.protocols.visual.onlookers.asked import (
    ONLOOKER,
    DescriptionSearch,
    OnlookerGroup,
    PictureQuality,
    PictureSearch,
    held_count,
    mates_role,
    people_of,
)
from cloakbench.bench.protocols.visual.onlookers.base import Describer, Onlooker, Opener, held
from cloakbench.bench.protocols.visual.onlookers.found import (
    SEEN,
    TOO_FEW,
    found_metric,
    found_name,
    found_records,
    seen_metric,
    seen_name,
)
from cloakbench.bench.protocols.visual.onlookers.learner import FineTuned
from cloakbench.bench.protocols.visual.onlookers.learning import CLEAN, GALLERY, MATES, LearnerSearch
from cloakbench.bench.protocols.visual.onlookers.sight import opened, sight_of
from cloakbench.bench.protocols.visual.values import value_records
from cloakbench.bench.report.metric import Metric
from cloakbench.datasets.base import Dataset, FaceSet, Role

VIEW = "view"
"""Ends the names of pictures that are no picture of a face."""
_PICTURES, _SEEN, _DESCRIBED, _LEARNT = "pictures", "seen", "described", "learnt"


class Onlookers:
    """Everybody who looks at published photos without their keys.

    Args:
        configs: key to config of an onlooker; null for one that is left out.
        roles: of the photos that are published.
        image_metrics: key to config of an image metric of the pictures that openers make.
    """

    def __init__(self, configs: Mapping[str, Any], roles: Sequence[Role], image_metrics: Mapping[str, Any]) -> None:
        self._configs = {key: config for key, config in configs.items() if config is not None}
        self.roles = tuple(roles)
        self._of: dict[str, Onlooker] = {}
        self._image_metrics = image_metrics
        self._parts: dict[str, Any] = {}

    @property
    def all(self) -> Mapping[str, Onlooker]:
        """Key to onlooker; built at the first call.

        Raises:
            ConfigError: one cannot be built, or is none.
        """
        if not self._of:
            self._of = {key: _built(config, f"attackers.{key}") for key, config in self._configs.items()}
        return self._of

    @property
    def parts(self) -> Mapping[str, Any]:
        """Those who ask them, by the sort of the onlookers; none where there are no onlookers of a sort."""
        if not self._parts:
            openers = self._asked(Opener)
            quality = OnlookerGroup(
                self.roles,
                {key: one for key, one in openers.onlookers.items() if not one.leaves_photos},
                self._configs,
            )
            every: dict[str, tuple[OnlookerGroup, Any]] = {
                _PICTURES: (openers, PictureSearch),
                _SEEN: (quality, lambda asked: PictureQuality(asked, self._image_metrics)),
                _DESCRIBED: (self._asked(Describer), DescriptionSearch),
                _LEARNT: (self._asked(FineTuned), LearnerSearch),
            }
            self._parts = {name: make(asked) for name, (asked, make) in every.items() if asked.onlookers}
        return self._parts

    @property
    def seen(self) -> Mapping[str, Any]:
        """Name of the mean to image metric, of every picture that is made."""
        part = self.parts.get(_SEEN)
        if part is None:
            return {}
        return {
            seen_name(key, metric): metric for key in part.asked.onlookers for metric in part.image_metrics.values()
        }

    def metrics(self) -> Iterator[Metric]:
        """Rates, then means, over photos that no veil has seen."""
        yield from (found_metric(key, one) for key, one in self.all.items())
        for name, metric in self.seen.items():
            key = name.removeprefix(f"{SEEN}_").removesuffix(f"_{metric.described.name}")
            yield seen_metric(key, self.all[key], metric)

    def check(self, config: DictConfig, place: str) -> None:
        """Look at the settings.

        Raises:
            ConfigError: one is wrong; one line that names it.
        """
        for key, given in self._configs.items():
            one = _built(given, f"{place}attackers.{key}")
            if not key.replace("_", "").isalnum():
                raise ConfigError(f"{place}attackers.{key}: use letters, digits and _ for the name of an attacker")
            if isinstance(one, FineTuned) and one.start not in config.targets:
                known = ", ".join(map(str, config.targets)) or "none"
                raise ConfigError(f"{place}attackers.{key}.start is {one.start}: it must be a target, of {known}")

    def add_faces(self, planning: Planning) -> None:
        """Store the clean photos that onlookers compare with.

        Raises:
            ConfigError: the data set has none of a role.
        """
        dataset: Dataset = planning.dataset
        for role in dict.fromkeys([*self._mates(), "distractor"]) if self._configs else ():
            if role not in dataset.roles():
                raise ConfigError(f"data set {dataset.name} has no {role} photos, which attackers of visual search in")
            if role not in planning.faces:
                planning.add_faces(role, dataset.faces(role))

    def clean_roles(self, own: str) -> Sequence[Any]:
        """Names of clean photos that judges are asked about: the publication's ``own``, distractors, and what onlookers
        compare with."""
        return list(dict.fromkeys([own, "distractor", *(self._mates() if self._configs else ())]))

    def pictures(
        self, photos: ChunkPhotos, published: Tensor, planning: Planning, faces: FaceSet
    ) -> Mapping[str, Sequence[Tensor | None]]:
        """What is seen of a chunk, for figures: ``known_pairs_5`` to pictures that openers make, None where nothing is
        held; ``contours_seen`` to what a describer looks at."""
        own = faces.select(photos.rows)
        references = planning.faces.get("reference") if len(self.roles) > 1 else None
        roles = roles_of(own, self.roles, references)
        protector = photos.made_by.cell.protector if photos.made_by is not None else None
        sight = sight_of(published, own.images, planning.faces["distractor"].images, protector)
        made: dict[str, Sequence[Tensor | None]] = {}
        for key, one in self._asked(Opener).onlookers.items():
            for count in () if one.leaves_photos else one.photos:
                rows = held(own.identity, roles, photos.status, one.needed(count))
                pictures = opened(one, sight, rows)
                made[f"{key}_{count}"] = [picture if at else None for picture, at in zip(pictures, rows, strict=True)]
        for key, one in self._asked(Describer).onlookers.items():
            views = [one.view(image) for image in published]
            made |= {f"{key}_{VIEW}": views} if any(view is not None for view in views) else {}
        return made

    def read(self, part: str, answers: Answers, cell: int, roles: Sequence[Role]) -> pd.DataFrame:
        """Records of one onlooker who holds so many photos."""
        key = answers.judge.options[ONLOOKER]
        if part == _LEARNT:
            return self._learnt(key, answers, cell)
        onlooker, count = self.all[key], held_count(answers.job.conditions[0])
        given, status = answers.protected(cell)
        faces = answers.faces
        rows = held(faces.identity, roles, status, onlooker.needed(count))
        if part == _SEEN:
            name = seen_name(key, self.parts[_SEEN].metric_of(answers.judge))
            return value_records(answers, cell, roles, name, status)
        status = [TOO_FEW if state == OK and not at else state for state, at in zip(status, rows, strict=True)]
        name = answers.worker.spec.publications[answers.job.publication].photos
        clean = answers.clean(name)[EMBEDDINGS]
        pictures = given.get(EMBEDDINGS, torch.full_like(clean, torch.nan))
        gallery, found = answers.clean("distractor")[EMBEDDINGS], []
        for role in dict.fromkeys(roles):
            own = [row for row, one in enumerate(roles) if one == role]
            mates = answers.worker.faces(mates_role(role))
            records = found_records(
                key,
                pictures=pictures[own],
                clean=clean[own],
                identity=[faces.identity[row] for row in own],
                image_id=[faces.image_id[row] for row in own],
                status=[status[row] for row in own],
                mates=answers.clean(mates_role(role))[EMBEDDINGS],
                mate_identity=mates.identity,
                gallery=gallery,
            )
            found.append(records.assign(role=role))
        return pd.concat(found, ignore_index=True)

    def _learnt(self, key: str, answers: Answers, cell: int) -> pd.DataFrame:
        """Records of a learner, fold by fold."""
        [(_, said)] = answers.draws(cell)
        faces = answers.faces.select(answers.cells[cell].rows)
        part: LearnerSearch = self.parts[_LEARNT]
        references, learner = answers.worker.faces("reference"), self.all[key]
        assert isinstance(learner, FineTuned)
        found, begun = [], 0
        for number, (role, rows) in enumerate(part.groups(learner, faces, references)):
            own = faces.select(rows)
            columns = {"image_id": list(own.image_id), "identity": list(own.identity), "role": role}
            if isinstance(said, UnansweredError):
                status = said.status or TARGET_FAILED
                lost = {"status": status, "note": said.reason, "gallery_size": 1, found_name(key): np.nan}
                found.append(pd.DataFrame({**columns, **lost}))
                continue
            mates = people_of(answers.worker.faces(mates_role(role)), own.identities())
            records = found_records(
                key,
                pictures=said.tensors[EMBEDDINGS][rows],
                clean=said.tensors[CLEAN][rows],
                identity=own.identity,
                image_id=own.image_id,
                status=[OK] * len(rows),
                mates=said.tensors[MATES][begun : begun + len(mates)],
                mate_identity=mates.identity,
                gallery=said.tensors[GALLERY][number],
            )
            begun += len(mates)
            found.append(records.assign(role=role))
        return pd.concat(found, ignore_index=True)

    def _asked(self, kind: type[Onlooker]) -> OnlookerGroup:
        return OnlookerGroup(
            self.roles, {key: one for key, one in self.all.items() if isinstance(one, kind)}, self._configs
        )

    def _mates(self) -> list[Role]:
        return list(dict.fromkeys(["reference", *map(mates_role, self.roles)]))


def _built(config: Mapping[str, Any], where: str) -> Onlooker:
    one = build(config, where)
    if not isinstance(one, Opener | Describer | FineTuned):
        raise ConfigError(f"{where}: {config['_target_']} built a {type(one).__name__}, not an Onlooker")
    return one
