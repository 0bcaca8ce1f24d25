"""Scores of added metrics: one job per metric and score of its protocol, from stored records to measurements."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from cloakbench.bench.config.node_keys import node_code, node_settings
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.engine.jobs import Job, Report
from cloakbench.bench.engine.worker import Worker
from cloakbench.bench.experiment.experiment import Experiment
from cloakbench.bench.experiment.scoring import ScoreJob
from cloakbench.bench.store.errors import EntryGoneError
from cloakbench.bench.store.store import Store


@dataclass(frozen=True)
class AddedScoreJob(Job):
    """Measure an added metric on every cell of a score.

    Attributes:
        score: whose records are read; it is done before.
        metric: key of the metric in the experiment.
        key: where the measurements are stored.
    """

    score: ScoreJob
    metric: str
    key: str

    @property
    def name(self) -> Hashable:
        return self.key

    @property
    def label(self) -> str:
        return f"{self.metric} of {self.score.label}"

    def is_done(self, store: Store) -> bool:
        """Whether the measurements are there and undamaged."""
        return store.is_whole("measurements", self.key, ".parquet")

    def run(self, worker: Worker) -> Report:
        """Measure.

        Raises:
            EntryGoneError: the records were damaged, or have gone.
        """
        if self.is_done(worker.store):
            return Report()
        records = worker.store.read_frame("records", self.score.key)
        if records is None:
            raise EntryGoneError(f"records {self.score.key} are gone from {worker.store.root}")
        metric = worker.made(worker.spec.metrics[self.metric])
        found = []
        for number in range(len(self.score.cells)):
            own = records.loc[records["cell"] == number].reset_index(drop=True)
            found.append(metric.measurements(own, self.score.resamples, worker.spec.seed).assign(cell=number))
        worker.store.write_frame("measurements", self.key, pd.concat(found, ignore_index=True))
        return Report()


def added_score_jobs(experiment: Experiment, scores: Sequence[ScoreJob]) -> Iterator[AddedScoreJob]:
    """The scores of every added metric of an experiment."""
    for key, metric in experiment.metrics.items():
        settings = experiment.spec.metrics[key]
        for score in scores:
            if experiment.protocol(score.protocol).name == metric.protocol:
                inputs = {
                    "metric": node_settings(settings),
                    "code": node_code(settings, base=("cloakbench.bench.engine.added_metric",)),
                    "records": score.key,
                }
                yield AddedScoreJob(score, key, content_key("measurements", inputs))
