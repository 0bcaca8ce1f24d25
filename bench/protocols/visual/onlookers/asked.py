"""Parts of `visual` that ask onlookers: recognisers and eyes about pictures, describers, and networks that learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from cloakbench.bench.config.node_keys import node_code, node_settings
from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.engine.protocol import Answer, Judge
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.condition import AS_PUBLISHED, Condition
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import ChunkPhotos
from cloakbench.bench.protocols.identification.protocol import Identification
from cloakbench.bench.protocols.quality.protocol import VALUES, Quality
from cloakbench.bench.protocols.recognition.protocol import EMBEDDINGS
from cloakbench.bench.protocols.visual.faces import roles_of
from cloakbench.bench.protocols.visual.onlookers.base import Describer, Onlooker, Opener, held
from cloakbench.bench.protocols.visual.onlookers.sight import opened, sight_of
from cloakbench.datasets.base import FaceSet, Role

ONLOOKER = "onlooker"
_PHOTOS, _ASKED = "photos", "asked"


@dataclass(frozen=True)
class OnlookerGroup:
    """Onlookers of one sort.

    Attributes:
        roles: of the photos that are published.
        onlookers: key to onlooker.
        configs: key to resolved config.
    """

    roles: Sequence[Role]
    onlookers: Mapping[str, Any]
    configs: Mapping[str, Any]

    def inputs(self, key: str) -> dict[str, Any]:
        """What decides what an onlooker makes of a photo, and its code. Numbers of photos are conditions."""
        settings = {name: value for name, value in self.configs[key].items() if name != _PHOTOS}
        return {ONLOOKER: [node_settings(settings), node_code(settings)]}

    def judges(self, plain: Sequence[Judge]) -> list[Judge]:
        """Each onlooker by each judge, under a name of its own."""
        return [
            replace(
                judge,
                name=f"{key} by {judge.name}" * bool(judge.name),
                inputs={**judge.inputs, **self.inputs(key)},
                options={**judge.options, ONLOOKER: key, _ASKED: judge.name},
            )
            for key in self.onlookers
            for judge in plain
        ]

    def of(self, judge: Judge) -> Any:
        """The onlooker that a judge stands for."""
        return self.onlookers[judge.options[ONLOOKER]]

    def conditions(self, judge: Judge) -> Sequence[Condition]:
        """One for each number of photos."""
        return [held_condition(count) for count in self.of(judge).photos]

    def held(self, onlooker: Onlooker, condition: Condition, photos: ChunkPhotos, worker: Worker) -> list[list[int]]:
        """Rows of the chunk that are held, photo by photo."""
        faces = worker.originals(photos)
        return held(
            faces.identity,
            roles_of(faces, self.roles, worker.faces("reference") if len(self.roles) > 1 else None),
            photos.status,
            onlooker.needed(held_count(condition)),
        )


def _target(judge: Judge) -> Judge:
    """The target that looks at pictures, under its own name."""
    return replace(judge, name=judge.options[_ASKED])


def held_condition(count: int) -> Condition:
    """The condition that an onlooker holds so many photos."""
    return Condition(
        f"held_{count}", f"{count} held", "held", count, {_PHOTOS: count}, axis="photos that the attacker holds"
    )


def held_count(condition: Condition) -> int:
    """How many photos an onlooker holds."""
    return int(condition.settings[_PHOTOS])


class PictureSearch(Identification):
    """Targets are asked whom the pictures of openers show. Settings are those of `OnlookerGroup`."""

    answer_modules = ()
    """None: what an opener makes is in its code, and the rest as for any photo."""

    def __init__(self, asked: OnlookerGroup) -> None:
        super().__init__([1])
        self.asked = asked

    def judges(self, planning: Planning) -> Sequence[Judge]:
        return self.asked.judges(super().judges(planning))

    def conditions(self, judge: Judge, planning: Planning) -> Sequence[Condition]:
        return self.asked.conditions(judge)

    def inputs(self, judge: Judge, condition: Condition, photos: ChunkPhotos, spec: WorkerSpec) -> Inputs:
        """Of clean photos, and of photos as they were published, those of the target itself: it is asked once."""
        plain = super().inputs(_target(judge), AS_PUBLISHED, photos, spec)
        if not photos.unit or self.asked.of(judge).leaves_photos:
            return plain
        return {**plain, **picture_inputs(self.asked, judge, condition, photos, spec)}

    def respond(self, judge: Judge, condition: Condition, photos: ChunkPhotos, worker: Worker) -> Answer:
        if not photos.unit or self.asked.of(judge).leaves_photos:
            return super().respond(_target(judge), AS_PUBLISHED, photos, worker)
        made, rows = pictures_of(self.asked, judge, condition, photos, worker)
        found, note = worker.embeddings(_target(judge).name, made)
        found[[row for row, one in enumerate(rows) if not one]] = torch.nan
        return Answer({EMBEDDINGS: found}, note)

    def no_answer(self, judge: Judge, photos: int, spec: WorkerSpec) -> dict[str, Tensor]:
        return super().no_answer(_target(judge), photos, spec)


class PictureQuality(Quality):
    """Eyes: how near to the originals the pictures of openers are.

    Args:
        asked: the openers.
        image_metrics: as `Quality` has them.
    """

    kind = "seen"
    answer_modules = Quality.answer_modules

    def __init__(self, asked: OnlookerGroup, image_metrics: Mapping[str, Any]) -> None:
        super().__init__(image_metrics)
        self.asked = asked

    def judges(self, planning: Planning) -> Sequence[Judge]:
        return self.asked.judges(super().judges(planning))

    def conditions(self, judge: Judge, planning: Planning) -> Sequence[Condition]:
        return self.asked.conditions(judge)

    def inputs(self, judge: Judge, condition: Condition, photos: ChunkPhotos, spec: WorkerSpec) -> Inputs:
        plain = super().inputs(judge, condition, photos, spec)
        return {**plain, **picture_inputs(self.asked, judge, condition, photos, spec)}

    def respond(self, judge: Judge, condition: Condition, photos: ChunkPhotos, worker: Worker) -> Answer:
        made, rows = pictures_of(self.asked, judge, condition, photos, worker)
        values = self.metric_of(judge).of(worker.originals(photos).images, made, photos.status)
        values[[row for row, one in enumerate(rows) if not one]] = torch.nan
        return Answer({VALUES: values})


def picture_inputs(
    asked: OnlookerGroup, judge: Judge, condition: Condition, photos: ChunkPhotos, spec: WorkerSpec
) -> dict[str, Any]:
    """What decides the pictures of a chunk; the unit says whose photos these are, and by what method."""
    return {
        **asked.inputs(judge.options[ONLOOKER]),
        "held": held_count(condition),
        "unit": photos.unit,
        "status": list(photos.status),
        "original": photos.original,
        "strangers": spec.faces.get("distractor", ""),
    }


def pictures_of(
    asked: OnlookerGroup, judge: Judge, condition: Condition, photos: ChunkPhotos, worker: Worker
) -> tuple[Tensor, list[list[int]]]:
    """The pictures that an opener makes of a chunk, uint8 ``[N, 3, H, W]``, and what it holds of each photo."""
    opener: Opener = asked.of(judge)
    rows = asked.held(opener, condition, photos, worker)
    protector = worker.protector(photos.made_by.cell) if photos.made_by is not None else None
    strangers = worker.faces("distractor").images
    sight = sight_of(worker.photos(photos), worker.originals(photos).images, strangers, protector)
    return opened(opener, sight, rows), rows


class DescriptionSearch(Identification):
    """Describers are asked for descriptions of clean and of published photos."""

    kind = "descriptions"
    answer_modules = ()
    """None: a description is in the describer's code."""

    def __init__(self, asked: OnlookerGroup) -> None:
        super().__init__([1])
        self.asked = asked

    def judges(self, planning: Planning) -> Sequence[Judge]:
        return [Judge(key, self.asked.inputs(key), options={ONLOOKER: key}) for key in self.asked.onlookers]

    def conditions(self, judge: Judge, planning: Planning) -> Sequence[Condition]:
        return self.asked.conditions(judge)

    def inputs(self, judge: Judge, condition: Condition, photos: ChunkPhotos, spec: WorkerSpec) -> Inputs:
        plain = {**judge.inputs, "photos": photos.pixels}
        if not photos.unit:
            return plain
        names = [] if held_count(condition) == 1 else [photos.unit, list(photos.status)]
        return {**plain, "held": held_count(condition), "of": names}

    def respond(self, judge: Judge, condition: Condition, photos: ChunkPhotos, worker: Worker) -> Answer:
        describer: Describer = self.asked.of(judge)
        found = describer.describe(worker.photos(photos))
        if photos.unit:
            rows = self.asked.held(describer, condition, photos, worker)
            mean = [found[one].mean(dim=0) if one else torch.full_like(found[0], torch.nan) for one in rows]
            found = torch.nn.functional.normalize(torch.stack(mean), dim=1)
        return Answer({EMBEDDINGS: found})

    def no_answer(self, judge: Judge, photos: int, spec: WorkerSpec) -> dict[str, Tensor]:
        return {EMBEDDINGS: torch.full((photos, self.asked.of(judge).length), torch.nan)}


def mates_role(role: Role) -> Role:
    """Role of the clean photos of the same people that an onlooker does not hold when photos of a role are
    published."""
    return "reference" if role == "probe" else "probe"


def people_of(faces: FaceSet, names: Sequence[str]) -> FaceSet:
    """The photos of some people."""
    wanted = set(names)
    return faces.select([row for row, name in enumerate(faces.identity) if name in wanted])
