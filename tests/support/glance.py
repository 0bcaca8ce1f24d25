"""`Glance`: a protocol of a user's own package, with judges, conditions, metrics and a figure of its own, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from omegaconf import DictConfig
from torch import Tensor, full, nan

from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.core.status import OK
from cloakbench.bench.engine.answers import Answers
from cloakbench.bench.engine.protocol import Answer, Judge, Protocol
from cloakbench.bench.engine.rates import MEASUREMENT_FIELDS
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.condition import AS_PUBLISHED, Condition
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import ChunkPhotos
from cloakbench.bench.report.drawing.plotting import Drawing, styled
from cloakbench.bench.report.generic import generic_tables
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.report.section import FigureSpec, Headline, HeadlineRow, Quantity, Section
from cloakbench.bench.statistics.intervals import mean_intervals

SEEN = Metric("seen_light", "Light", "photos that were looked at", "mean", "grey levels", 2, higher_protects=False)
SHADE = Metric("seen_shade", "Shade", "photos that were looked at", "mean", "grey levels", 1, higher_protects=None)


class Glance(Protocol):
    """How light published photos look to observers, some of whom wear dark glasses.

    Args:
        gains: name of an observer to what it multiplies light by.
        shades: strengths of the glasses, as the share of light that they take.
    """

    name = "glance"
    title = "At a glance"
    kind = "glances"

    def __init__(self, gains: Mapping[str, float], shades: Sequence[float]) -> None:
        self.gains, self.shades = dict(gains), tuple(shades)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return SEEN, SHADE

    def judges(self, planning: Planning) -> Sequence[Judge]:
        return [Judge(key, {"gain": gain}) for key, gain in self.gains.items()]

    def conditions(self, judge: Judge, planning: Planning) -> Sequence[Condition]:
        worn = [
            Condition(f"shade_{share:g}", "Dark glasses", "shade", share, {"share": share}, axis="share of light")
            for share in self.shades
        ]
        return [AS_PUBLISHED, *worn]

    def inputs(self, judge: Judge, condition: Condition, photos: ChunkPhotos, spec: WorkerSpec) -> Inputs:
        return {**judge.inputs, "pixels": photos.pixels, "share": condition.settings.get("share", 0.0)}

    def respond(self, judge: Judge, condition: Condition, photos: ChunkPhotos, worker: Worker) -> Answer:
        light = worker.photos(photos).double().mean(dim=(1, 2, 3))
        return Answer({"light": light * judge.inputs["gain"] * (1 - condition.settings.get("share", 0.0))})

    def no_answer(self, judge: Judge, photos: int, spec: WorkerSpec) -> dict[str, Tensor]:
        return {"light": full((photos,), nan).double()}

    def read(self, answers: Answers, cell: int) -> dict[str, Any]:
        seen, status = answers.protected(cell)
        faces = answers.faces
        return {
            "image_id": faces.image_id,
            "identity": faces.identity,
            "status": status,
            "light": seen["light"].numpy(),
        }

    def records(self, responses: Mapping[str, Any]) -> pd.DataFrame:
        return pd.DataFrame({**responses, "note": ""})

    def measurements(self, records: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
        light = records["light"].to_numpy(dtype=np.float64)
        values = np.stack([light, 255 - light], axis=1)
        lost = int((records["status"] != OK).sum())
        rows = [
            (metric.name, one.value, one.low, one.high, len(records) - lost, lost, one.n_identities, OK, "")
            for metric, one in zip(
                (SEEN, SHADE), mean_intervals(values, records["identity"], resamples, seed), strict=True
            )
        ]
        return pd.DataFrame(rows, columns=list(MEASUREMENT_FIELDS))

    def missing(self, config: DictConfig) -> Iterable[tuple[str, str]]:
        return [("a lamp", "protocols.glance.gains.NAME=NUMBER adds an observer who brings one")]

    def sections(self, index: Measured) -> Iterable[Section]:
        """A table and a figure of one of the two metrics; the other is nobody's."""
        shows = index.places(self.name, {SEEN.name})
        tables = generic_tables(index, shows, {self.name: self.title})
        figure = FigureSpec("glance", partial(light_bars, index, self.gains), "Light in the eyes of observers.")
        return [Section(self.title, tuple(tables), (figure,), shows=shows)]

    def checks(self, index: Measured) -> Iterable[str]:
        return ["nobody looked twice"]

    def headline(self, index: Measured) -> Headline:
        light = Quantity("light", "Light", is_rate=False, decimals=2)
        rows = [HeadlineRow(run, "", {light: index.black_box(SEEN.name, run)}) for run in index.runs]
        return Headline("light at a glance", "mean over observers", "mean over observers", tuple(rows))


@styled
def light_bars(index: Measured, observers: Iterable[str]) -> Drawing:
    """Light by method, for the first observer."""
    figure = Figure()
    judge = next(iter(observers))
    values = [index.cell(SEEN.name, run, index.surrogates[0], judge).value for run in index.runs]
    figure.subplots().barh([index.name(run) for run in index.runs], values)
    return figure
