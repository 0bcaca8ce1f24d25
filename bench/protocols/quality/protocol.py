"""`Quality`: how far published photos are from their originals, for the photos of every publication."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from torch import Tensor

from cloakbench.bench.core.code_digests import code_digest
from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.core.ranges import SettingError
from cloakbench.bench.engine.answers import Answers
from cloakbench.bench.engine.protocol import Answer, Judge, Protocol
from cloakbench.bench.engine.rates import Trials
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import ChunkPhotos
from cloakbench.bench.protocols.quality.metrics import (
    QualityMetric,
    quality_measurements,
    quality_metrics,
    quality_values,
)
from cloakbench.bench.report.metric import Metric

if TYPE_CHECKING:
    from cloakbench.bench.report.index import Measured
    from cloakbench.bench.report.section import Section

_LPIPS_FILE = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
"""torchvision's AlexNet (``AlexNet_Weights.IMAGENET1K_V1.url``), 233 MB."""


class Quality(Protocol):
    """Image metrics on pairs of original and protected photo; nobody is asked.

    Args:
        image_metrics: names of metrics, in the order of the tables.
        lpips_alex_path: torchvision's AlexNet state dict; LPIPS is a gap without it.

    Raises:
        SettingError: a metric that does not exist, or one twice.
    """

    name = "quality"
    title = "Picture quality"
    kind = "quality"
    every_publication = True
    report_module = "cloakbench.bench.protocols.quality.report"

    def __init__(self, image_metrics: Sequence[str], lpips_alex_path: str | None = None) -> None:
        known = {metric.name: metric for metric in quality_metrics(lpips_alex_path)}
        names = list(image_metrics)
        if not set(names) <= set(known) or len(set(names)) < len(names):
            raise SettingError("image_metrics", names, f"a list of names, each once, of {', '.join(known)}")
        self.image_metrics: tuple[QualityMetric, ...] = tuple(known[name] for name in names)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Every mean, in the order of `measurements`."""
        return tuple(metric.described for metric in self.image_metrics)

    @property
    def rank_by(self) -> tuple[str, ...]:
        """None: a picture is as good as its method left it, whoever did better."""
        return ()

    def is_asked(self, config: DictConfig) -> bool:
        """About whatever is published."""
        return bool(self.image_metrics)

    def judges(self, planning: Planning) -> Sequence[Judge]:
        return [Judge(inputs={"code": code_digest("cloakbench.bench.protocols.quality.metrics")})]

    def inputs(self, judge: Judge, condition: Condition, photos: ChunkPhotos, spec: WorkerSpec) -> Inputs:
        wanted = self._wanted(photos.publication, spec)
        return {
            **judge.inputs,
            "original": photos.original,
            "protected": photos.pixels,
            "status": list(photos.status),
            "metrics": [[metric.name, not metric.missing] for metric in wanted],
        }

    def respond(self, judge: Judge, condition: Condition, photos: ChunkPhotos, worker: Worker) -> Answer:
        original, protected = worker.originals(photos).images, worker.photos(photos)
        return Answer(quality_values(self._wanted(photos.publication, worker.spec), original, protected, photos.status))

    def no_answer(self, judge: Judge, photos: int, spec: WorkerSpec) -> dict[str, Tensor]:
        nothing = torch.full((photos,), torch.nan, dtype=torch.float64)
        return {metric.name: nothing for metric in self.image_metrics}

    def read(self, answers: Answers, cell: int) -> dict[str, Any]:
        """The columns of `records`."""
        values, status = answers.protected(cell)
        faces = answers.faces
        wanted = self._wanted(answers.job.publication, answers.worker.spec)
        nothing = np.full(len(faces), np.nan)
        columns = {metric.name: values[metric.name].numpy() if values else nothing for metric in wanted}
        return {"image_id": list(faces.image_id), "identity": list(faces.identity), "status": status, **columns}

    def records(self, responses: Mapping[str, Any]) -> pd.DataFrame:
        """One row per photo with a column per metric, NaN where the photo failed or the metric is not defined."""
        return pd.DataFrame({**responses})

    def measurements(self, records: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
        metrics = [metric for metric in self.image_metrics if metric.name in records]
        return quality_measurements(metrics, records, resamples, seed)

    def trials(self, records: pd.DataFrame) -> Mapping[str, Trials]:
        """Means: every value is the event of one trial."""
        columns = {metric.name: records[metric.name] for metric in self.image_metrics if metric.name in records}
        values = {name: column.to_numpy(dtype=np.float64) for name, column in columns.items()}
        return {name: Trials(np.nan_to_num(one), (~np.isnan(one)).astype(float)) for name, one in values.items()}

    def missing(self, config: DictConfig) -> Iterable[tuple[str, str]]:
        if any(metric.missing for metric in self.image_metrics):
            yield "LPIPS", f"protocols.quality.lpips_alex_path=FILE, from {_LPIPS_FILE} (233 MB)"

    def sections(self, index: Measured) -> Iterable[Section]:
        from cloakbench.bench.protocols.quality.report import quality_section

        return [quality_section(index, self.metrics, self.title)]

    def checks(self, index: Measured) -> Iterable[str]:
        from cloakbench.bench.protocols.quality.report import quality_checks

        return quality_checks(index)

    def _wanted(self, publication: str, spec: WorkerSpec) -> list[QualityMetric]:
        wanted = spec.publications[publication].image_metrics
        return [metric for metric in self.image_metrics if wanted is None or metric.name in wanted]
