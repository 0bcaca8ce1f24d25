"""`Quality`: how far published photos are from their originals, for the photos of every publication.

Its judges are formulas, one for each image metric, so that a metric is asked and scored by itself: one more changes no
stored value of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from torch import Tensor

from cloakbench.bench.config.build import build
from cloakbench.bench.config.node_keys import node_code, node_settings
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import Inputs, file_digest
from cloakbench.bench.engine.answers import Answers
from cloakbench.bench.engine.means import Values, mean_measurements
from cloakbench.bench.engine.protocol import Answer, Judge, Protocol
from cloakbench.bench.engine.rates import Trials
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import ChunkPhotos, Publication
from cloakbench.bench.protocols.quality.image_metric import ImageMetric
from cloakbench.bench.report.metric import Metric

if TYPE_CHECKING:
    from cloakbench.bench.report.index import Measured
    from cloakbench.bench.report.section import Section

VALUES = "values"
_KEY = "image_metric"


class Quality(Protocol):
    """Image metrics on pairs of original and protected photo; nobody is asked.

    Args:
        image_metrics: key to config of an image metric, in the order of the tables; null for one that is left out.
    """

    name = "quality"
    title = "Picture quality"
    kind = "quality"
    every_publication = True
    report_module = "cloakbench.bench.protocols.quality.report"
    answer_modules = ("cloakbench.bench.protocols.quality.image_metric",)

    def __init__(self, image_metrics: Mapping[str, Mapping[str, Any] | None]) -> None:
        self._configs = {key: config for key, config in image_metrics.items() if config is not None}

    @cached_property
    def image_metrics(self) -> Mapping[str, ImageMetric]:
        """Key to metric; built at the first call, which a report does not make."""
        return {key: _built(config, f"image_metrics.{key}") for key, config in self._configs.items()}

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Every mean, in the order of the tables."""
        return tuple(metric.described for metric in self.image_metrics.values())

    @property
    def rank_by(self) -> tuple[str, ...]:
        """None: a picture is as good as its method left it, whoever did better."""
        return ()

    def is_asked(self, config: DictConfig) -> bool:
        """About whatever is published."""
        return bool(self._configs)

    def check(self, config: DictConfig, place: str) -> None:
        for key, metric in self._configs.items():
            _built(metric, f"{place}image_metrics.{key}")

    def judges(self, planning: Planning) -> Sequence[Judge]:
        return self.formulas

    @property
    def formulas(self) -> Sequence[Judge]:
        """A judge for each metric, whatever the experiment."""
        return [
            Judge(inputs=_inputs(metric, self._configs[key]), options={_KEY: key})
            for key, metric in self.image_metrics.items()
        ]

    def asks_about(self, judge: Judge, publication: Publication) -> bool:
        wanted = publication.image_metrics
        return wanted is None or self.metric_of(judge).described.name in wanted

    def score_settings(self, settings: Mapping[str, Any], judge: Judge) -> Mapping[str, Any]:
        return {**settings, "image_metrics": {}}  # the judge's inputs say which it is

    def inputs(self, judge: Judge, condition: Condition, photos: ChunkPhotos, spec: WorkerSpec) -> Inputs:
        return {
            **judge.inputs,
            "original": photos.original,
            "protected": photos.pixels,
            "status": list(photos.status),
        }

    def respond(self, judge: Judge, condition: Condition, photos: ChunkPhotos, worker: Worker) -> Answer:
        original, protected = worker.originals(photos).images, worker.photos(photos)
        return Answer({VALUES: self.metric_of(judge).of(original, protected, photos.status)})

    def no_answer(self, judge: Judge, photos: int, spec: WorkerSpec) -> dict[str, Tensor]:
        return {VALUES: torch.full((photos,), torch.nan, dtype=torch.float64)}

    def read(self, answers: Answers, cell: int) -> dict[str, Any]:
        """The columns of `records`."""
        values, status = answers.protected(cell)
        faces, name = answers.faces, self.metric_of(answers.judge).described.name
        column = values[VALUES].numpy() if values else np.full(len(faces), np.nan)
        return {"image_id": list(faces.image_id), "identity": list(faces.identity), "status": status, name: column}

    def records(self, responses: Mapping[str, Any]) -> pd.DataFrame:
        """One row per photo with a column per metric, NaN where the photo failed or the metric is not defined."""
        return pd.DataFrame({**responses})

    def measurements(self, records: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
        values = {
            name: Values(records[name].to_numpy(dtype=np.float64), metric.missing, metric.undefined)
            for metric in self.image_metrics.values()
            if (name := metric.described.name) in records
        }
        return mean_measurements(records, values, resamples, seed, items="pairs")

    def trials(self, records: pd.DataFrame) -> Mapping[str, Trials]:
        """Means: every value is the event of one trial."""
        names = [metric.name for metric in self.metrics if metric.name in records]
        values = {name: records[name].to_numpy(dtype=np.float64) for name in names}
        return {name: Trials(one, (~np.isnan(one)).astype(np.float64)) for name, one in values.items()}

    def missing(self, config: DictConfig) -> Iterable[tuple[str, str]]:
        for metric in self.image_metrics.values():
            if metric.missing:
                yield metric.described.title, metric.remedy or metric.missing

    def sections(self, index: Measured) -> Iterable[Section]:
        from cloakbench.bench.protocols.quality.report import quality_section

        return [quality_section(index, index.results.declared(self.name), self.title)]

    def checks(self, index: Measured) -> Iterable[str]:
        from cloakbench.bench.protocols.quality.report import quality_checks

        return quality_checks(index)

    def evidence(self, index: Measured, method: str) -> Mapping[str, str]:
        from cloakbench.bench.protocols.quality.report import quality_evidence

        return quality_evidence(index, method)

    def metric_of(self, judge: Judge) -> ImageMetric:
        """The metric that a judge stands for."""
        return self.image_metrics[judge.options[_KEY]]


def _built(config: Mapping[str, Any], where: str) -> ImageMetric:
    metric = build(config, where)
    if not isinstance(metric, ImageMetric):
        raise ConfigError(f"{where}: {config['_target_']} built a {type(metric).__name__}, not an ImageMetric")
    return metric


def _inputs(metric: ImageMetric, config: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the values of a metric beside the photos: settings, code, network, and the files it reads."""
    own = {name: value for name, value in config.items() if name not in metric.files}
    files = {} if metric.missing else {name: file_digest(path) for name, path in metric.files.items()}
    return {
        "metric": node_settings(own),
        "code": node_code(own),
        "files": files,
        "missing": bool(metric.missing),
        **({"network": metric.network} if metric.network else {}),
    }
