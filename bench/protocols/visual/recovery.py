"""Recovery: how near to the originals are photos that their owners get back, as published or after a transform?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cloakbench.bench.config.node_keys import node_code, node_settings
from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.engine.answers import Answers
from cloakbench.bench.engine.protocol import Answer, Judge
from cloakbench.bench.engine.recovery import gives_photos_back, recovered
from cloakbench.bench.engine.transforms import condition_of
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import ChunkPhotos
from cloakbench.bench.protocols.quality.protocol import VALUES, Quality

VIEW = "view"


class Recovery(Quality):
    """Image metrics on pairs of original and recovered photo.

    Args:
        image_metrics: as `Quality` has them.
        views: label to config of what is done to recovered photos before they are looked at, beside nothing.
    """

    kind = "recovered"
    answer_modules = (*Quality.answer_modules, "cloakbench.bench.engine.recovery")

    def __init__(self, image_metrics: Mapping[str, Any], views: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(image_metrics)
        self.views: Mapping[str, Mapping[str, Any]] = {"": {}, **views}

    def judges(self, planning: Planning) -> Sequence[Judge]:
        plain = super().judges(planning)
        return [
            Judge(inputs={**judge.inputs, VIEW: _key_of(settings)}, options={**judge.options, VIEW: label})
            for label, settings in self.views.items()
            for judge in plain
        ]

    def conditions(self, judge: Judge, planning: Planning) -> Sequence[Condition]:
        return [condition_of(label, settings) for label, settings in planning.transforms.items()]

    def inputs(self, judge: Judge, condition: Condition, photos: ChunkPhotos, spec: WorkerSpec) -> Inputs:
        """The unit says which keys these are, and by what method."""
        inputs = {**super().inputs(judge, condition, photos, spec), "unit": photos.unit}
        if not condition.is_plain:
            inputs |= {"transform": _key_of(condition.settings), "names": list(photos.image_id)}
        return inputs

    def respond(self, judge: Judge, condition: Condition, photos: ChunkPhotos, worker: Worker) -> Answer:
        if not gives_photos_back(worker, photos):
            return Answer(self.no_answer(judge, len(photos.rows), worker.spec))
        published = worker.photos(photos)
        if not condition.is_plain:
            published = worker.made(condition.settings)(published, photos.image_id)
        back = recovered(worker, photos, published)
        if view := self.views[judge.options[VIEW]]:
            back = worker.made(view)(back, photos.image_id)
        return Answer({VALUES: self.metric_of(judge).of(worker.originals(photos).images, back, photos.status)})


def gives_back(answers: Answers, cell: int) -> bool:
    """Whether the method of a cell gives photos back at all."""
    chunks = answers.cells[cell].chunks
    return bool(chunks) and gives_photos_back(answers.worker, chunks[0])


def _key_of(settings: Mapping[str, Any]) -> Any:
    if not settings:
        return None
    return [node_settings(settings), node_code(settings, base=("cloakbench.bench.engine.transforms",))]
