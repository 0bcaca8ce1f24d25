"""`Poisoning`: who trains on protected photos of some people, and tests on clean ones of them, names them wrongly.

The published photos are the data set's training photos; a mask is made from the photos that it goes onto. Every
attacker meets the first regime and share; the other regimes and shares, one at a time, are met by the attackers that
``conditions_on`` names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from omegaconf import DictConfig
from torch import Tensor

from cloakbench.bench.config.build import build
from cloakbench.bench.config.node_keys import node_code, node_settings
from cloakbench.bench.core.code_digests import code_digest
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.engine.answers import Answers, UnansweredError
from cloakbench.bench.engine.estimates import Timer
from cloakbench.bench.engine.protocol import Answer, Judge, Protocol
from cloakbench.bench.engine.rates import Trials
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.chunks import Chunk, build_chunks
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.plan import Cell, build_cells
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import CellPhotos, Publication
from cloakbench.bench.protocols.poisoning.estimate import poisoning_seconds, published_photos
from cloakbench.bench.protocols.poisoning.faces import poisoning_faces, tested
from cloakbench.bench.protocols.poisoning.rates import (
    METRICS,
    PSR,
    Training,
    poisoning_measurements,
    poisoning_records,
    poisoning_trials,
)
from cloakbench.bench.protocols.poisoning.scenarios import scenario_label, scenario_title
from cloakbench.bench.protocols.poisoning.settings import check_budgets, check_counts, check_lists, check_parts
from cloakbench.bench.protocols.poisoning.training import train_and_answer, unprotected_rows
from cloakbench.bench.report.metric import Metric
from cloakbench.datasets.base import FaceSet
from cloakbench.models.base import Attacker

if TYPE_CHECKING:
    from cloakbench.bench.report.index import Measured
    from cloakbench.bench.report.section import Headline, Section

IMAGE_METRICS = ("ssim", "linf_255")
"""Image metrics of published photos: the survey's, and the budget that was really used."""


class Poisoning(Protocol):
    """The survey's Fig. 2.

    Args:
        methods: key to config of a method.
        attackers: key to config of who trains.
        regimes: key to config of how; the first is the one that every attacker meets.
        identities: people who publish, at most; None for everybody with train and test photos.
        other_identities: more people, unprotected, whom the attacker learns to name, too; None for everybody.
        references: published photos per person that a mask is made from, at most.
        epsilons_255: budgets of all methods in grey levels; None for each method's own.
        more_epsilons_255: further budgets of single methods.
        surrogates: labels of the experiment's surrogates for methods that need one; None for all.
        clean_shares: shares of each person's published photos that went out unprotected; all attackers meet the first.
        conditions_on: attackers that also meet the other regimes and shares; None for all.
        seeds: trainings of each attacker.

    Raises:
        SettingError: a value out of its range, or no attacker, regime, share or seed.
    """

    name = "poisoning"
    title = "Poisoning"
    kind = "attacks"
    whole_cells = True
    answer_modules = ()
    """None: `inputs` has the code of the attacker, of the regime and of the training, which are costly to repeat."""
    report_module = "cloakbench.bench.protocols.poisoning.report"

    def __init__(
        self,
        methods: Mapping[str, Any],
        attackers: Mapping[str, Any],
        regimes: Mapping[str, Any],
        identities: int | None = None,
        other_identities: int | None = 0,
        references: int = 10,
        epsilons_255: Sequence[float] | None = None,
        more_epsilons_255: Mapping[str, Sequence[float]] | None = None,
        surrogates: Sequence[str] | None = None,
        clean_shares: Sequence[float] = (0.0,),
        conditions_on: Sequence[str] | None = None,
        seeds: Sequence[int] = (0, 1, 2),
    ) -> None:
        counts = {"identities": (identities, 2), "other_identities": (other_identities, 0)}
        check_counts(counts | {"references": (references, 1)})
        check_budgets("epsilons_255", epsilons_255)
        for key, budgets in (more_epsilons_255 or {}).items():
            check_budgets(f"more_epsilons_255.{key}", budgets)
        check_lists(clean_shares, seeds)
        check_parts(attackers, regimes, conditions_on)
        self.attackers, self.regimes = dict(attackers), dict(regimes)
        self.identities, self.other_identities, self.references = identities, other_identities, references
        self.clean_shares, self.seeds = tuple(clean_shares), tuple(seeds)
        self.conditions_on = tuple(attackers) if conditions_on is None else tuple(conditions_on)
        self._cells: tuple[Cell, ...] = ()  # those that were checked are those that are planned

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Every rate, in the order of `measurements`."""
        return METRICS

    @property
    def rank_by(self) -> tuple[str, ...]:
        return (PSR,)

    def check(self, config: DictConfig, place: str) -> None:
        self._cells = tuple(build_cells(config, place))
        for key, one in self.attackers.items():
            where = f"{place}attackers.{key}"
            if not isinstance(attacker := build(one, where), Attacker):
                raise ConfigError(f"{where}: {one['_target_']} built a {type(attacker).__name__}, not an Attacker")
        for key, one in self.regimes.items():
            if not callable(regime := build(one, f"{place}regimes.{key}")):
                kind = type(regime).__name__
                raise ConfigError(f"{place}regimes.{key}: {one['_target_']} built a {kind}, which prepares no batch")

    def publication(self, planning: Planning, place: str) -> Publication:
        train, test, others = poisoning_faces(planning.dataset, self.identities, self.other_identities)
        names = train.identities()
        planning.add_faces("train", train, f"train of {len(names)} people")
        planning.add_faces("test", test, f"test of {len(names)} people")
        if len(others):
            count = len(others.identities())
            planning.add_faces("others", others, f"train of {count} others than {len(names)}")

        def chunks_of(cell: Cell) -> list[Chunk]:
            whole = cell.protector.scope == "dataset"  # its noise is made for all photos at once
            people = len(names) if whole else planning.config.plan.chunk_identities
            seed, most = planning.config.seed, self.references
            return build_chunks(train, train, None, people=people, seed=seed, most_references=most)

        cells = self._cells or tuple(build_cells(planning.config, place))
        return planning.publish(self.name, "train", "train", cells, chunks_of, image_metrics=IMAGE_METRICS)

    def judges(self, planning: Planning) -> Sequence[Judge]:
        test = planning.faces["test"]
        shared: dict[str, Any] = {"test": [planning.original("test", _all(test)), list(test.identity)]}
        if "others" in planning.faces:
            others = planning.faces["others"]
            shared["others"] = [planning.original("others", _all(others)), list(others.identity)]
        return [
            Judge(
                name=key,
                inputs={"attacker": node_settings(config), "code": _code(config), **shared},
                family=str(config.get("family", "")),
            )
            for key, config in self.attackers.items()
        ]

    def conditions(self, judge: Judge, planning: Planning) -> Sequence[Condition]:
        """Regimes and shares that an attacker meets, seed by seed."""
        first, *other_regimes = self.regimes
        share, *other_shares = self.clean_shares
        met = [(first, share)]
        if judge.name in self.conditions_on:
            met += [(regime, share) for regime in other_regimes] + [(first, other) for other in other_shares]
        return [self._condition(*one, seed) for one in met for seed in self.seeds]

    def _condition(self, regime: str, share: float, seed: int) -> Condition:
        label = scenario_label(regime, share)
        settings = {"regime": self.regimes[regime], "regime_key": regime, "clean_share": share}
        return Condition(label, scenario_title(regime, share), regime, share, settings, draw=seed)

    def inputs(self, judge: Judge, condition: Condition, photos: CellPhotos, spec: WorkerSpec) -> Inputs:
        """Where the published photos are the originals, a share of unprotected ones changes nothing."""
        share, chunks = condition.settings["clean_share"], photos.chunks
        originals, pixels = [one.original for one in chunks], [one.pixels for one in chunks]
        regime = condition.settings["regime"]
        return {
            **judge.inputs,
            "regime": [node_settings(regime), _code(regime)],
            "training": code_digest("cloakbench.bench.protocols.poisoning.training"),
            "published": [[one.pixels, list(one.rows)] for one in chunks],
            "photos": spec.faces["train"],
            "unprotected": [share, originals] if share and pixels != originals else [],
            "seed": [spec.seed, condition.draw],
        }

    def respond(self, judge: Judge, condition: Condition, photos: CellPhotos, worker: Worker) -> Answer:
        published = worker.faces("train").select(photos.rows)
        test = tested(worker.faces("test"), published)
        images, names = self.training_photos(condition, photos, worker), list(published.identity)
        if "others" in worker.spec.faces:
            others = worker.faces("others")
            images, names = torch.cat([images, others.images]), [*names, *others.identity]
        place = {name: number for number, name in enumerate(dict.fromkeys(names))}
        predicted, train_accuracy = train_and_answer(
            self.attackers[judge.name],
            condition.settings["regime"],
            images,
            torch.tensor([place[name] for name in names]),
            test.images,
            f"{worker.spec.seed}-{condition.draw}",
            worker.device,
        )
        return Answer({"predicted": predicted}, {"train_accuracy": train_accuracy})

    def training_photos(self, condition: Condition, photos: CellPhotos, worker: Worker) -> Tensor:
        """The published photos of a cell in the order of the data set, some of them as they were."""
        originals = worker.faces("train").select(photos.rows)
        place = {row: number for number, row in enumerate(photos.rows)}
        whole = torch.empty_like(originals.images)
        for chunk in photos.chunks:
            whole[[place[row] for row in chunk.rows]] = worker.photos(chunk)
        if share := condition.settings["clean_share"]:
            rows = unprotected_rows(originals.identity, share, worker.spec.seed, condition.draw)
            whole[rows] = originals.images[rows]
        return whole

    def read(self, answers: Answers, cell: int) -> dict[str, Any]:
        """What `records` takes: the trainings by seed, and whom the test photos show."""
        published = answers.faces.select(answers.cells[cell].rows)
        test = tested(answers.worker.faces("test"), published)
        place = {name: number for number, name in enumerate(published.identities())}
        trainings = {}
        for condition, said in answers.draws(cell):
            if isinstance(said, UnansweredError):
                trainings[condition.draw] = Training((), status=said.status, note=said.reason)
            else:
                trainings[condition.draw] = Training(said.tensors["predicted"].tolist(), said.note["train_accuracy"])
        return {
            "trainings": trainings,
            "labels": [place[name] for name in test.identity],
            "image_id": test.image_id,
            "identity": test.identity,
        }

    def records(self, responses: Mapping[str, Any]) -> pd.DataFrame:
        """One row per test photo and seed."""
        return poisoning_records(**responses)

    def measurements(self, records: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
        return poisoning_measurements(records, resamples, seed)

    def trials(self, records: pd.DataFrame) -> Mapping[str, Trials]:
        return poisoning_trials(records)

    def photos(self, config: DictConfig, place: str) -> int | None:
        numbers = published_photos(config, self.identities)
        return None if numbers is None else numbers[0] * numbers[1]

    def seconds(self, config: DictConfig, place: str, timer: Timer, *, per_photo: bool = False) -> float | None:
        return poisoning_seconds(self, config, place, timer, per_photo=per_photo)

    def setup(self, planning: Planning, publication: Publication) -> dict[str, Any]:
        others = planning.faces.get("others")
        return {
            "poisoning_identities": len(publication.faces.identities()),
            "poisoning_photos_published": len(publication.faces),
            "poisoning_photos_tested": len(planning.faces["test"]),
            "poisoning_seeds": len(self.seeds),
            **({"poisoning_other_identities": len(others.identities())} if others is not None else {}),
        }

    def sections(self, index: Measured) -> Iterable[Section]:
        from cloakbench.bench.protocols.poisoning.report import poisoning_section

        return [poisoning_section(index, self.title)]

    def checks(self, index: Measured) -> Iterable[str]:
        from cloakbench.bench.protocols.poisoning.report import poisoning_checks

        return poisoning_checks(index)

    def headline(self, index: Measured) -> Headline | None:
        from cloakbench.bench.protocols.poisoning.report import poisoning_headline

        return poisoning_headline(index)

    def evidence(self, index: Measured, method: str) -> Mapping[str, str]:
        from cloakbench.bench.protocols.poisoning.report import poisoning_evidence

        return poisoning_evidence(index, method)


def _all(faces: FaceSet) -> tuple[int, ...]:
    return tuple(range(len(faces)))


def _code(config: Mapping[str, Any]) -> str:
    return node_code(config, base=("cloakbench.models.base",))
