"""`Attributes`: what attribute networks say of protected photos (Yang et al., Invisible-Face, TIFS 2025).

Its judges are the attribute targets of the experiment, who answer the attribute task about photos as published and
after each transform. What the photos show comes from the labels of the data set, which no method ever sees. It is about
the probes as the experiment's own methods protect them, so that a photo is answered by recognisers, too; or it brings
methods, people or a role of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.core.ranges import one_of, whole
from cloakbench.bench.engine.answers import Answers
from cloakbench.bench.engine.estimates import Timer
from cloakbench.bench.engine.means import mean_measurements
from cloakbench.bench.engine.protocol import Answer, Judge
from cloakbench.bench.engine.rates import Trials, rate_measurements
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.plan import Cell, build_cells
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import ChunkPhotos, Publication
from cloakbench.bench.protocols.attributes.estimate import attribute_photos, attribute_seconds
from cloakbench.bench.protocols.attributes.faces import OWN, publish
from cloakbench.bench.protocols.attributes.h_pn import h_pn_measurements
from cloakbench.bench.protocols.attributes.metrics import MOSR, declared
from cloakbench.bench.protocols.attributes.pictures import PictureValues
from cloakbench.bench.protocols.attributes.records import (
    AttributeAnswers,
    attribute_records,
    attribute_trials,
    attribute_values,
)
from cloakbench.bench.protocols.recognition.transformed import (
    TransformedPhotos,
    seen_inputs,
    seen_photos,
    try_transforms,
)
from cloakbench.bench.report.metric import Metric
from cloakbench.datasets.attribute_task import UNLABELLED, AttributeTask, AttributeTaskError
from cloakbench.datasets.base import Role

if TYPE_CHECKING:
    from cloakbench.bench.report.index import Measured
    from cloakbench.bench.report.section import Headline, Section

PROBABILITIES = "probabilities"


class Attributes(TransformedPhotos):
    """Success of hiding several attributes at once, and of each.

    Args:
        task: config of the attribute task; None while the experiment has none.
        naturalness: ``ssim`` and ``psnr``, each the config of an image metric, which H-PN is made from.
        methods: key to config of a method; empty for the methods of the experiment.
        photos: role of the photos that are protected.
        identities: people whose photos are, at most; None for everybody.
        epsilons_255: budgets of all methods in grey levels; None for each method's own.
        more_epsilons_255: further budgets of single methods.
        surrogates: labels of the experiment's surrogates and attribute surrogates for these methods; None for all.
        truth: what a photo shows: ``labels`` of the data set, or ``clean_answers``, what the judge itself said of the
            clean photo, where there are no labels.
        counts: MOSR of the first so many attributes is measured, too, for each.

    Raises:
        SettingError: another role than these, another truth, or a number of people below 1.
        AttributeTaskError: the task is wrong in itself, or has fewer attributes than are counted.
    """

    name = "attributes"
    title = "Attribute privacy"
    kind = "attribute_answers"
    answer_modules = ()
    """None: the network's fingerprint, which holds the code that answers, and that of the transform decide."""
    report_module = "cloakbench.bench.protocols.attributes.report"

    def __init__(
        self,
        task: Mapping[str, Any] | None,
        naturalness: Mapping[str, Any],
        methods: Mapping[str, Any] | None = None,
        photos: Literal["probe", "test", "validation"] = "probe",
        identities: int | None = None,
        epsilons_255: Sequence[float] | None = None,
        more_epsilons_255: Mapping[str, Sequence[float]] | None = None,
        surrogates: Sequence[str] | None = None,
        truth: Literal["labels", "clean_answers"] = "labels",
        counts: Sequence[int] = (),
    ) -> None:
        self.task: AttributeTask | None = None if task is None else instantiate(dict(task))
        self.role: Role = one_of("photos", photos, ("probe", "test", "validation"))
        self.truth = one_of("truth", truth, ("labels", "clean_answers"))
        self.identities = None if identities is None else whole("identities", identities, least=1)
        self.methods, self.counts = dict(methods or {}), tuple(counts)
        if self.task is not None and self.counts:
            self.task.first(max(self.counts))
        self._pictures = PictureValues(naturalness)
        self._cells: tuple[Cell, ...] = ()  # those that were checked are those that are planned

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Every rate and mean, in the order of `measurements`."""
        return () if self.task is None else tuple(declared(self.task, self.counts))

    @property
    def rank_by(self) -> tuple[str, ...]:
        """MOSR over the networks that were not attacked; nothing for photos of its own, whose rows differ in these."""
        return (MOSR,) if self.is_about_probes else ()

    def is_asked(self, config: DictConfig) -> bool:
        return bool(config.attribute_targets)

    @property
    def is_about_probes(self) -> bool:
        return not self.methods and self.role == "probe" and self.identities is None

    @cached_property
    def asked(self) -> AttributeTask:
        """The task.

        Raises:
            ConfigError: there is none.
        """
        if self.task is None:
            raise ConfigError("attributes has no task: choose one with attribute_task=NAME")
        return self.task

    def check(self, config: DictConfig, place: str) -> None:
        assert self.asked
        self._pictures.check(config, f"{place}naturalness.")
        if not self.is_about_probes:
            self._cells = self._planned(config, place)

    def _planned(self, config: DictConfig, place: str) -> tuple[Cell, ...]:
        return tuple(build_cells(config, place if self.methods else ""))

    def publication(self, planning: Planning, place: str) -> Publication:
        if self.is_about_probes:
            return planning.probes()
        cells = self._cells or self._planned(planning.config, place)
        return publish(planning, cells, self.role, self.identities)

    def judges(self, planning: Planning) -> Sequence[Judge]:
        return [
            Judge(
                name=str(key),
                inputs={"network": planning.fingerprints[key]},
                family=planning.cards[key].family,
                networks=planning.same_weights[key],
            )
            for key in planning.config.attribute_targets
        ]

    def clean_roles(self, planning: Planning) -> Sequence[Any]:
        return [OWN if OWN in planning.faces else self.role]

    def try_on(self, planning: Planning) -> None:
        """Read the labels, and apply each transform to the first photo.

        Raises:
            ConfigError: the data set has no such labels, or a transform cannot be applied.
        """
        [name] = self.clean_roles(planning)
        faces = planning.faces[name]
        if self.truth == "labels":
            try:
                self.asked.labels(faces)
            except AttributeTaskError as problem:
                raise ConfigError(str(problem)) from problem
        try_transforms(planning, faces)

    def inputs(self, judge: Judge, condition: Condition, photos: ChunkPhotos, spec: WorkerSpec) -> Inputs:
        asked = {"network": spec.fingerprints[judge.name], "pixels": photos.pixels, "batch": spec.embed_batch}
        return {**asked, **seen_inputs(condition, photos, spec)}

    def respond(self, judge: Judge, condition: Condition, photos: ChunkPhotos, worker: Worker) -> Answer:
        return Answer({PROBABILITIES: worker.attribute_answers(judge.name, seen_photos(condition, photos, worker))})

    def no_answer(self, judge: Judge, photos: int, spec: WorkerSpec) -> dict[str, Tensor]:
        return {PROBABILITIES: torch.full((photos, sum(self.asked.sizes)), torch.nan)}

    def read(self, answers: Answers, cell: int) -> AttributeAnswers:
        """The answers about a cell's photos, before and after, and what the photos show."""
        faces, task = answers.faces, self.asked
        [name] = answers.job.clean
        clean = answers.clean(name)[PROBABILITIES]
        protected, status = answers.protected(cell)
        labels = {one: torch.full((len(faces),), UNLABELLED) for one in task.names}
        if self.truth == "labels":
            known = task.labels(faces)
            for one, classes in known.classes.items():
                labels[one][known.rows] = classes
        else:
            for one, part in zip(task.names, clean.split(list(task.sizes), dim=1), strict=True):
                finite = part.isfinite().all(dim=1)
                labels[one][finite] = part[finite].argmax(dim=1)
        return AttributeAnswers(
            protected.get(PROBABILITIES, torch.full_like(clean, torch.nan)),
            clean,
            labels,
            faces.image_id,
            faces.identity,
            status,
            self._pictures.of(answers, cell),
        )

    def records(self, responses: AttributeAnswers) -> pd.DataFrame:
        """One row per photo, see `attribute_records`."""
        return attribute_records(self.asked, responses)

    def measurements(self, records: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
        rates = self.trials(records)
        ssim, psnr = (records[name].to_numpy(dtype=np.float64) for name in ("ssim", "psnr"))
        values = attribute_values(self.asked, records)
        found = [
            rate_measurements(records, rates, resamples, seed),
            h_pn_measurements(records, rates[MOSR], ssim, psnr, resamples, seed),
            mean_measurements(records, values, resamples, seed),
        ]
        return pd.concat(found, ignore_index=True)

    def trials(self, records: pd.DataFrame) -> dict[str, Trials]:
        return attribute_trials(self.asked, self.counts, records)

    def photos(self, config: DictConfig, place: str) -> int | None:
        return 0 if self.is_about_probes else attribute_photos(config, self.role, self.identities)

    def seconds(self, config: DictConfig, place: str, timer: Timer, *, per_photo: bool = False) -> float | None:
        own = not self.is_about_probes
        photos = attribute_photos(config, self.role, self.identities)
        cells = self._planned(config, place)
        return attribute_seconds(config, cells, photos, timer, protecting=own, per_photo=per_photo)

    def setup(self, planning: Planning, publication: Publication) -> dict[str, Any]:
        task, photos = self.asked, publication.faces
        known = len(photos) if self.truth != "labels" else len(task.labels(photos).rows)
        return {
            "attribute_task": task.name,
            "attributes": ", ".join(f"{one.name} ({len(one.classes)})" for one in task.attributes),
            "attributes_photos": len(photos),
            "attributes_unlabelled": len(photos) - known,
            "attributes_chance": task.chance,
        }

    def sections(self, index: Measured) -> Iterable[Section]:
        from cloakbench.bench.protocols.attributes.report import attribute_sections

        return attribute_sections(index, self.asked)

    def checks(self, index: Measured) -> Iterable[str]:
        from cloakbench.bench.protocols.attributes.report import attribute_checks

        return attribute_checks(index, self.asked)

    def headline(self, index: Measured) -> Headline | None:
        from cloakbench.bench.protocols.attributes.report import attribute_headline

        return attribute_headline(index, self.asked)
