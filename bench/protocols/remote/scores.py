"""`RemoteScores`: the half of the remote protocol that looks at answers: records, rates, metrics."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd

from cloakbench.bench.core.status import OK
from cloakbench.bench.engine.answers import Answers
from cloakbench.bench.engine.protocol import Judge, Protocol
from cloakbench.bench.engine.rates import MEASUREMENT_FIELDS, Trials, rate_measurements
from cloakbench.bench.protocols.attributes.h_pn import h_pn_measurements
from cloakbench.bench.protocols.attributes.metrics import MOSR
from cloakbench.bench.protocols.attributes.pictures import PictureValues
from cloakbench.bench.protocols.remote.attribute_columns import labels_of
from cloakbench.bench.protocols.remote.found import Answered, names_of
from cloakbench.bench.protocols.remote.metrics import CALIBRATED, H_PN_METRICS, Share, shares
from cloakbench.bench.protocols.remote.questions import WantedQuestions
from cloakbench.bench.protocols.remote.spoken import Form
from cloakbench.bench.protocols.remote.versions import STALE, mark_stale
from cloakbench.bench.protocols.verification.protocol import far_label
from cloakbench.bench.report.metric import Metric
from cloakbench.datasets.attribute_task import AttributeTask
from cloakbench.models.services import ATTRIBUTES

_STALE = "answers of an older model version than others of this run: remote.expire=DATE asks anew"


class RemoteScores(Protocol, ABC):
    """What is made of the answers of services.

    Args:
        wanted: what is asked.
        fars: false accept rates, descending.
        ks: ranks of a search, ascending.
        task: whose attributes are read; None where nobody asks for any.
        pictures: image metrics that H-PN is made from; None likewise.
        is_calibrated: services without published rates are calibrated.
    """

    def __init__(
        self,
        wanted: WantedQuestions,
        fars: tuple[float, ...],
        ks: tuple[int, ...],
        task: AttributeTask | None,
        pictures: PictureValues | None,
        is_calibrated: bool = False,
    ) -> None:
        self.is_calibrated = is_calibrated
        self.wanted, self.fars, self.ks, self.task, self._pictures = wanted, fars, ks, task, pictures
        self._reads = ATTRIBUTES in wanted.operations

    @property
    def _labels(self) -> dict[str, int]:
        """Label of each false accept rate to the place of its threshold; those of the services come first."""
        own = [f"far_{far_label(far)}" for far in self.fars]
        calibrated = [f"{CALIBRATED}{label}" for label in own] if self.is_calibrated else []
        return {label: place for place, label in enumerate([*own, *calibrated])}

    @property
    def _attributes(self) -> tuple[str, ...]:
        return () if self.task is None else self.task.names

    @cached_property
    def _shares(self) -> list[Share]:
        return list(shares(self.wanted.operations, list(self._labels), self.ks, self._attributes))

    def _form(self, judge: Judge) -> Form:
        """What is kept of a service's answers."""
        return Form(judge.options["columns"], self.fars, self._attributes, self.is_calibrated)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (*(share.metric for share in self._shares), *(H_PN_METRICS if self._reads else ()))

    def read(self, answers: Answers, cell: int) -> Answered:
        operations = list(answers.judge.options["columns"])
        role = next(iter(answers.job.clean))
        clean = {name: tensor.numpy() for name, tensor in answers.clean(role).items()}
        tensors, status = answers.protected(cell)
        protected = {name: tensor.numpy() for name, tensor in tensors.items()}
        protected = protected or {name: np.full_like(tensor, np.nan) for name, tensor in clean.items()}
        return Answered(
            image_id=answers.faces.image_id,
            identity=answers.faces.identity,
            status=status,
            protected={one: protected[one] for one in operations},
            clean={one: clean[one] for one in operations},
            versions=names_of(protected, operations),
            most=answers.judge.options["most"],
            labels=labels_of(self.task, answers.faces) if self.task is not None and self._reads else {},
            pictures={} if self._pictures is None else self._pictures.of(answers, cell),
        )

    def records(self, responses: Answered) -> pd.DataFrame:
        """One row per photo; see `Answered.frame`."""
        return responses.frame(self._labels, self.ks)

    def found(self, answers: Answers) -> Iterable[pd.DataFrame]:
        return mark_stale(list(super().found(answers)), list(answers.judge.options["columns"]))

    def measurements(self, records: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
        if records.empty:  # its method is not asked about
            return pd.DataFrame(columns=list(MEASUREMENT_FIELDS))
        rates = self.trials(records)
        found = [rate_measurements(records, rates, resamples, seed)]
        if self._reads:
            counted = ~np.asarray(rates[MOSR].failed)
            mosr = replace(rates[MOSR], trials=np.where(counted, rates[MOSR].trials, 0.0))
            ssim, psnr = (records[name].to_numpy(dtype=np.float64) for name in ("ssim", "psnr"))
            found.append(h_pn_measurements(records, mosr, ssim, psnr, resamples, seed))
        return pd.concat(found, ignore_index=True)

    def trials(self, records: pd.DataFrame) -> dict[str, Trials]:
        ok = records["status"].to_numpy(dtype=object) == OK
        found = {}
        for share in self._shares:
            of = [share.operation] if share.operation else self.wanted.operations
            stale = np.logical_or.reduce([records[f"{one}{STALE}"].to_numpy(dtype=bool) for one in of])
            events, trials = (records[name].to_numpy(dtype=np.float64) for name in (share.events, share.trials))
            gap = "" if trials[ok & ~stale].any() or not ok.any() else _STALE if stale[ok].all() else share.gap
            found[share.metric.name] = Trials(events, trials, gap, failed=~ok | stale)
        return found
