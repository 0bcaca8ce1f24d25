"""`Counting`: a protocol of a user's own package whose answers are whole numbers, for tests."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.engine.answers import Answers
from cloakbench.bench.engine.means import Values, mean_measurements
from cloakbench.bench.engine.protocol import Answer, Judge, Protocol
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import ChunkPhotos
from cloakbench.bench.report.metric import Metric
from cloakbench.datasets.base import Role

LEVELS = Metric("grey_levels", "Grey levels", "photos that were counted", "mean", higher_protects=None)
_SECONDS = 0.05


class Counting(Protocol):
    """How many different values a photo has; one clerk counts.

    Args:
        lane: where the clerk is asked, one photo chunk at a time; empty for anywhere.
        marks: a file that takes a line with begin and end of each counting.
        needs: roles without which it is not asked.
        clean: roles that are counted as they are, too.
    """

    name = "counting"
    title = "Counting"
    kind = "counts"

    def __init__(
        self, lane: str = "", marks: str | None = None, needs: Sequence[str] = (), clean: Sequence[str] = ()
    ) -> None:
        self.lane, self.marks, self.clean = lane, marks, cast(tuple[Role, ...], tuple(clean))
        self.needs = cast(frozenset[Role], frozenset(needs))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (LEVELS,)

    def judges(self, planning: Planning) -> Sequence[Judge]:
        return [Judge("clerk", lane=self.lane)]

    def clean_roles(self, planning: Planning) -> Sequence[Role]:
        return self.clean

    def inputs(self, judge: Judge, condition: Condition, photos: ChunkPhotos, spec: WorkerSpec) -> Inputs:
        return {"pixels": photos.pixels}

    def respond(self, judge: Judge, condition: Condition, photos: ChunkPhotos, worker: Worker) -> Answer:
        begun = time.time()
        levels = torch.tensor([len(photo.unique()) for photo in worker.photos(photos)])
        if self.marks is not None:
            time.sleep(_SECONDS)
            with Path(self.marks).open("a", encoding="utf-8") as file:
                file.write(f"{begun} {time.time()}\n")
        return Answer({"levels": levels})

    def no_answer(self, judge: Judge, photos: int, spec: WorkerSpec) -> dict[str, Tensor]:
        return {"levels": torch.full((photos,), torch.nan)}

    def read(self, answers: Answers, cell: int) -> dict[str, Any]:
        said, status = answers.protected(cell)
        faces = answers.faces
        levels = np.where([one == "ok" for one in status], said["levels"].numpy(), np.nan)
        return {"image_id": faces.image_id, "identity": faces.identity, "status": status, LEVELS.name: levels}

    def records(self, responses: Mapping[str, Any]) -> pd.DataFrame:
        return pd.DataFrame({**responses, "note": ""})

    def measurements(self, records: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
        values = records[LEVELS.name].to_numpy(dtype=np.float64)
        return mean_measurements(records, {LEVELS.name: Values(values)}, resamples, seed)


class Misjudged(Counting):
    """Asks somebody who is no judge."""

    def judges(self, planning: Planning) -> Sequence[Judge]:
        return cast(Sequence[Judge], ["clerk"])


class Doubled(Counting):
    """Asks two clerks of one name."""

    def judges(self, planning: Planning) -> Sequence[Judge]:
        return [Judge("clerk"), Judge("clerk", {"hand": "left"})]
