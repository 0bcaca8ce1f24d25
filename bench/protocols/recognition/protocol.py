"""`RecognitionProtocol`: protocols whose judges are recognisers and whose answers are embeddings, shared by key."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.engine.answers import Answers
from cloakbench.bench.engine.protocol import Answer, Judge
from cloakbench.bench.engine.rates import Trials, rate_measurements
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import ChunkPhotos
from cloakbench.bench.protocols.recognition.responses import Responses
from cloakbench.bench.protocols.recognition.transformed import (
    TransformedPhotos,
    seen_inputs,
    seen_photos,
    try_transforms,
)
from cloakbench.bench.store.embeddings import KIND, embedding_inputs
from cloakbench.datasets.base import Role

_JUDGED: tuple[Role, ...] = ("probe", "distractor", "auxiliary", "impostor")
EMBEDDINGS = "embeddings"


class RecognitionProtocol(TransformedPhotos):
    """A question to the target recognisers of an experiment, about its probes as published and after each transform."""

    kind = KIND
    asks_targets = True
    answer_modules = ()
    """None: the network's fingerprint and the code of the transform decide an embedding, which other commands share."""

    def judges(self, planning: Planning) -> Sequence[Judge]:
        return [
            Judge(
                name=key,
                inputs={"network": planning.fingerprints[key]},
                family=planning.cards[key].family,
                networks=planning.same_weights[key],
                options={"legacy_thresholds": getattr(planning.cards[key], "legacy_thresholds", None)},
            )
            for key in planning.config.targets
        ]

    def clean_roles(self, planning: Planning) -> Sequence[Role]:
        return [role for role in _JUDGED if role in planning.faces]

    def try_on(self, planning: Planning) -> None:
        """Apply each transform to the first probe.

        Raises:
            ConfigError: one cannot be applied.
        """
        try_transforms(planning, planning.faces["probe"])

    def inputs(self, judge: Judge, condition: Condition, photos: ChunkPhotos, spec: WorkerSpec) -> Inputs:
        found = embedding_inputs(spec.fingerprints[judge.name], photos.pixels, spec.embed_batch)
        return {**found, **seen_inputs(condition, photos, spec)}

    def respond(self, judge: Judge, condition: Condition, photos: ChunkPhotos, worker: Worker) -> Answer:
        found, note = worker.embeddings(judge.name, seen_photos(condition, photos, worker))
        return Answer({EMBEDDINGS: found}, note)

    def no_answer(self, judge: Judge, photos: int, spec: WorkerSpec) -> dict[str, Tensor]:
        return {EMBEDDINGS: torch.full((photos, spec.embedding_sizes[judge.name]), torch.nan)}

    def measurements(self, records: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
        return rate_measurements(records, self.trials(records), resamples, seed)

    @abstractmethod
    def trials(self, records: pd.DataFrame) -> dict[str, Trials]:
        """Events and trials of every metric, one entry per record."""

    def read(self, answers: Answers, cell: int) -> Any:
        """`Responses`: the embeddings of a cell's photos beside those of everybody they are compared with."""
        found, status = answers.protected(cell)
        return self.compared(answers, found.get(EMBEDDINGS), status)

    def compared(self, answers: Answers, protected: Tensor | None, status: Sequence[str]) -> Responses:
        """Embeddings of protected photos, by row of the faces, beside those of everybody they are compared with; None
        is NaN for all."""
        faces, clean = answers.faces, answers.clean("probe")[EMBEDDINGS]
        place = {name: number for number, name in enumerate(faces.identities())}
        return Responses(
            protected=torch.full_like(clean, torch.nan) if protected is None else protected,
            clean=clean,
            identity=torch.tensor([place[name] for name in faces.identity]),
            image_id=faces.image_id,
            gallery=answers.clean("distractor")[EMBEDDINGS] if "distractor" in answers.job.clean else None,
            target_embeddings=_impersonated(answers),
            status=status,
        )


def nullable(counts: NDArray[np.float64], valid: Tensor) -> pd.Series:
    """Whole numbers ``[N]``, null where not ``valid``."""
    return pd.Series(known(counts, valid)).astype("Int64")


def known(values: NDArray[np.float64], valid: Tensor) -> NDArray[np.float64]:
    """Numbers ``[N]``, NaN where not ``valid``."""
    return np.where(valid.numpy(), values, np.nan)


def _impersonated(answers: Answers) -> Tensor | None:
    """For each photo the embedding of another photo of the person it should be taken for."""
    if not answers.job.aims:
        return None
    rows = [answers.job.aims[name] for name in answers.faces.identity]
    return answers.clean("auxiliary")[EMBEDDINGS][rows]
