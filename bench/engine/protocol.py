"""The `Protocol` contract: one question that an experiment asks of protected photos.

A protocol says which photos it is about (its publication), who is asked (its judges), under which conditions, what an
answer is, and which records and metrics follow from the answers. The engine protects, stores, retries, scores and
collects, in the same way for all of them; a protocol never sees the store, other cells or worker processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
from torch import Tensor

from cloakbench.bench.core.code_digests import code_digest
from cloakbench.bench.core.hashing import Inputs, content_key
from cloakbench.bench.core.status import NOT_PLANNED
from cloakbench.bench.plan.condition import AS_PUBLISHED, Condition
from cloakbench.bench.plan.publication import CellPhotos, ChunkPhotos, Publication
from cloakbench.bench.report.metric import Metric
from cloakbench.datasets.base import Role

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cloakbench.bench.engine.answers import Answers
    from cloakbench.bench.engine.estimates import Timer
    from cloakbench.bench.engine.worker import Worker, WorkerSpec
    from cloakbench.bench.plan.planning import Planning
    from cloakbench.bench.report.index import Measured
    from cloakbench.bench.report.section import Headline, Section
    from cloakbench.bench.statistics.photo_trials import EventsAndTrials

Photos = ChunkPhotos | CellPhotos

_PRINTING = frozenset(
    {"cloakbench.bench.report.generic", "cloakbench.bench.report.index", "cloakbench.bench.report.section"}
)
"""What protocols are printed with."""


@dataclass(frozen=True)
class Judge:
    """Somebody who is asked about protected photos: a recogniser, a classifier, somebody who trains one, a service.

    Attributes:
        name: in the ``judge`` column of the measurements; unique within a protocol, empty where nobody is asked.
        inputs: everything that decides its answers, as plain values; part of every key.
        family: of its architecture; a method that saw a network of this family is marked.
        networks: keys of the experiment's networks with its very weights: a method that saw one is white-box.
        options: what a protocol must know of it beside that, plain values.
        lane: questions of one lane are asked one at a time, by whatever process, as a remote service may want it.
        kind: of its stored answers, where that is not the protocol's.
        sees_clean: whether it is asked about clean photos, too.
        whole_cells: whether it sees all photos of a cell at once, where its protocol's judges do not.
    """

    name: str = ""
    inputs: Inputs = field(default_factory=dict, hash=False)
    family: str = ""
    networks: frozenset[str] = frozenset()
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    lane: str = ""
    kind: str = ""
    sees_clean: bool = True
    whole_cells: bool = False


@dataclass(frozen=True)
class Answer:
    """What a judge said: named tensors, and plain values beside them."""

    tensors: Mapping[str, Tensor]
    note: Mapping[str, Any] = field(default_factory=dict)


class Protocol(ABC):
    """One question. A subclass takes its settings in ``__init__`` and is built from ``conf/protocol/NAME.yaml``."""

    name: ClassVar[str]
    """In the ``protocol`` column of the measurements."""
    title: ClassVar[str]
    """Heads its section of a report."""
    kind: ClassVar[str]
    """Kind of its stored answers. Protocols that ask the same judges for the same share them by key."""
    whole_cells: ClassVar[bool] = False
    """Whether judges see all photos of a cell at once: one that a method failed on then fails the cell."""
    asks_targets: ClassVar[bool] = False
    """Whether its judges are the targets of the experiment, so that it is not asked where there are none."""
    answer_modules: ClassVar[tuple[str, ...]]
    """Where the code that answers stands, if not where `respond` does: see `answer_code`."""
    every_publication: ClassVar[bool] = False
    """Whether it is about the photos of every publication of the experiment."""
    frame_names: ClassVar[tuple[str, ...]] = ()
    """Names of the tables of `frames`."""
    report_module: ClassVar[str] = ""
    """Where what it prints is written, if that is a module of its own: an edit of it ages no stored number."""

    needs: frozenset[Role] = frozenset()
    """Roles of faces without which nothing can be measured."""
    gaps_without: frozenset[Role] = frozenset()
    """Roles of faces without which some rates are gaps."""

    @property
    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """Everything it measures, in the order of `measurements`."""

    @property
    def rank_by(self) -> tuple[str, ...]:
        """Metrics in `trials` by which methods are ranked and compared. Default: the first about protection."""
        return tuple([metric.name for metric in self.metrics if metric.higher_protects is not None][:1])

    @property
    def worst_of(self) -> tuple[str, ...]:
        """Metrics, of `rank_by`, of whose means over all conditions the least is printed as the worst case."""
        return ()

    def is_asked(self, config: DictConfig) -> bool:
        """Whether an experiment has somebody to ask; a protocol that is not asked leaves no trace."""
        return bool(config.targets) or not self.asks_targets

    @property
    def is_about_probes(self) -> bool:
        """Whether it asks about the probes as the experiment's own methods protect them: it brings no publication."""
        return not self.every_publication and type(self).publication is Protocol.publication

    def check(self, config: DictConfig, place: str) -> None:  # noqa: B027  (a hook)
        """Look at what the experiment sets, before any photo is opened.

        Args:
            config: the experiment.
            place: of this protocol in it, with a dot at its end: ``protocols.identification.``

        Raises:
            ConfigError: something is wrong; one line that names the setting.
        """

    def publication(self, planning: Planning, place: str) -> Publication:
        """Which photos are protected, by which cells; ``place`` as in `check`. Default: the probes, by the methods of
        the experiment.

        Raises:
            ConfigError: the data set lacks something; the message says what.
        """
        return planning.probes()

    @abstractmethod
    def judges(self, planning: Planning) -> Sequence[Judge]:
        """Who is asked."""

    def asks_about(self, judge: Judge, publication: Publication) -> bool:
        """Whether a judge is asked about a publication, for protocols about every one. Default: always."""
        return True

    def conditions(self, judge: Judge, planning: Planning) -> Sequence[Condition]:
        """Under what. Conditions of one label are repetitions and make one rate. Default: as published."""
        return (AS_PUBLISHED,)

    def clean_roles(self, planning: Planning) -> Sequence[Role]:
        """Roles of clean photos that judges are asked about, too; those of the publication go chunk by chunk."""
        return ()

    def try_on(self, planning: Planning) -> None:  # noqa: B027  (a hook)
        """Look at what only the faces show; a ConfigError of one line says what does not fit them."""

    @abstractmethod
    def inputs(self, judge: Judge, condition: Condition, photos: Any, spec: WorkerSpec) -> Inputs:
        """What decides an answer beside the code that answers, as plain values: its key in the store."""

    @cached_property
    def answer_code(self) -> str:
        """Digest of the code that answers: of the module of the class that defines `respond` and all it imports.

        A class that defines `respond` may name other modules in ``answer_modules``, where that is too much; none where
        `inputs` says which code it is.
        """
        owner = next(kind for kind in type(self).__mro__ if "respond" in vars(kind))
        modules = vars(owner).get("answer_modules", (owner.__module__,))
        return code_digest(*modules, without=self.printing) if modules else ""

    def answer_inputs(self, judge: Judge, condition: Condition, photos: Any, spec: WorkerSpec) -> Inputs:
        """Everything that decides an answer."""
        inputs = self.inputs(judge, condition, photos, spec)
        return {**inputs, "answered_by": self.answer_code} if self.answer_code else inputs

    def answer_key(self, judge: Judge, condition: Condition, photos: Any, spec: WorkerSpec) -> str:
        """Where an answer is stored."""
        return content_key(self.kind_of(judge), self.answer_inputs(judge, condition, photos, spec))

    def kind_of(self, judge: Judge) -> str:
        """Kind of a judge's stored answers."""
        return judge.kind or self.kind

    def takes_whole_cells(self, judge: Judge, condition: Condition) -> bool:
        """Whether a judge sees all photos of a cell at once under a condition."""
        return self.whole_cells or judge.whole_cells

    @abstractmethod
    def respond(self, judge: Judge, condition: Condition, photos: Any, worker: Worker) -> Answer:
        """Ask. ``photos`` are a chunk, or a cell where the protocol takes whole cells."""

    def no_answer(self, judge: Judge, photos: int, spec: WorkerSpec) -> dict[str, Tensor]:
        """What stands for the answer of a judge who raised, about so many photos of a chunk: NaN of the right shape."""
        raise NotImplementedError(f"{self.name} has no no_answer(), which says what stands for a judge who raised")

    def score_settings(self, settings: Mapping[str, Any], judge: Judge) -> Mapping[str, Any]:
        """The part of its resolved settings that decides the scores of a judge. Default: all of them."""
        return settings

    @abstractmethod
    def records(self, responses: Any) -> pd.DataFrame:
        """One row per photo: ``image_id``, ``identity``, ``status``, ``note``; numbers are null where it failed."""

    @abstractmethod
    def measurements(self, records: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
        """One row per metric with the columns `cloakbench.bench.engine.rates.MEASUREMENT_FIELDS`."""

    def trials(self, records: pd.DataFrame) -> Mapping[str, EventsAndTrials]:
        """Events and trials of each of the ``records``, of any cells under one condition, by metric, where a metric is
        the sum of the ones over the sum of the others: what the intervals of means and the comparisons of methods are
        made from. Default: none, and neither are these."""
        return {}

    def read(self, answers: Answers, cell: int) -> Any:
        """What `records` takes, from the stored answers about a cell. Default: the answers themselves."""
        return answers

    def frames(self, answers: Answers) -> Mapping[str, pd.DataFrame]:
        """Tables beside records and measurements that a judge's clean answers give, by name."""
        return {}

    def found(self, answers: Answers) -> Iterable[pd.DataFrame]:
        """Records of every cell. Default: each made by itself."""
        return (self.records(self.read(answers, cell)) for cell in range(len(answers.cells)))

    def score(self, answers: Answers) -> dict[str, pd.DataFrame]:
        """Records and measurements of every cell, numbered in the column ``cell``, and further frames."""
        records, measurements = [], []
        for number, frame in enumerate(self.found(answers)):
            if not answers.cells[number].chunks:
                continue
            found = frame.loc[frame["status"] != NOT_PLANNED].reset_index(drop=True)
            rates = self.measurements(found, answers.resamples, answers.seed)
            records.append(found.assign(cell=number))
            measurements.append(rates.assign(cell=number))
        return {
            **self.frames(answers),
            "records": pd.concat(records, ignore_index=True),
            "measurements": pd.concat(measurements, ignore_index=True),
        }

    def photos(self, config: DictConfig, place: str) -> int | None:
        """Photos that each cell of its own publication protects, at most; None: only they can tell."""
        return 0

    def seconds(self, config: DictConfig, place: str, timer: Timer, *, per_photo: bool = False) -> float | None:
        """Time that its own publication and judges take, beside what the probes do; None where it cannot be told. With
        ``per_photo`` the same for each photo, where only the photos themselves can tell how many there are.

        Raises:
            ValueError: a model or method cannot be built.
        """
        return 0.0

    def missing(self, config: DictConfig) -> Iterable[tuple[str, str]]:
        """What is not here and makes gaps, as what and remedy."""
        return ()

    def setup(self, planning: Planning, publication: Publication) -> dict[str, Any]:
        """What to print under its tables."""
        return {}

    @property
    def printing(self) -> frozenset[str]:
        """Modules that print it. They are no part of what it measures: an edit of one ages no number."""
        return _PRINTING | ({self.report_module} if self.report_module else set())

    def sections(self, index: Measured) -> Iterable[Section]:
        """Its parts of a report (:class:`~cloakbench.bench.report.section.Reporter`). Default: one table of all."""
        from cloakbench.bench.report.generic import default_section

        return [default_section(index, self.name, self.title)]

    def checks(self, index: Measured) -> Iterable[str]:
        """What in its numbers looks wrong, a sentence each."""
        return ()

    def headline(self, index: Measured) -> Headline | None:
        """Its few most important numbers, for a screen and for the rows of a multirun."""
        return None

    def evidence(self, index: Measured, method: str) -> Mapping[str, str]:
        """What it found about a method on questions of the survey's tables, by the heading of the column."""
        return {}
