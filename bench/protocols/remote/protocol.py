"""`Remote`: what services of others say of photos that were protected for other questions.

A service is asked from the run's own process, once everything is protected: does it still take a photo for its person
(comparison with a clean photo, at the thresholds that the service gives), does it find the person in a gallery, and
what does it read off the face. Each question is asked once, and its answer kept in the store's journal.

A photo in which a service finds no face is neither accepted nor found. Rates count it as protected, and stand beside
the same rates over photos in which a face was found; pairs whose clean photo has no face for the service are in none.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from hydra.utils import instantiate
from torch import Tensor

from cloakbench.bench.config.compose import missing_settings, resolved
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.core.ranges import SettingError, is_number, whole
from cloakbench.bench.engine.outside import AsksOutside, DueAnswer
from cloakbench.bench.engine.protocol import Answer, Judge, Protocol
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import ChunkPhotos, Publication
from cloakbench.bench.protocols.attributes.pictures import PictureValues
from cloakbench.bench.protocols.remote.calibration import ImpostorCalibration
from cloakbench.bench.protocols.remote.consent import check_asked, most_questions, questions_in_words, say_and_ask
from cloakbench.bench.protocols.remote.impostor_thresholds import require_budget, thresholds_in_words
from cloakbench.bench.protocols.remote.questions import Questions, WantedQuestions
from cloakbench.bench.protocols.remote.remote_settings import RemoteSettings
from cloakbench.bench.protocols.remote.scores import RemoteScores
from cloakbench.bench.protocols.remote.served import LOCAL, Served
from cloakbench.bench.protocols.remote.session import card_of, keys_in_run, session
from cloakbench.bench.protocols.remote.sheets import DueChunk, answered
from cloakbench.bench.protocols.remote.spent import SpentOnService
from cloakbench.bench.protocols.remote.spoken import nothing_said
from cloakbench.bench.report.labels import CONTROLS
from cloakbench.bench.services.places import Places
from cloakbench.bench.services.preparing import PictureRule
from cloakbench.models.services import ATTRIBUTES, COMPARE

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from cloakbench.bench.report.index import Measured
    from cloakbench.bench.report.section import Section

log = logging.getLogger(__name__)

FARS = (1e-3, 1e-4, 1e-5)
"""False accept rates at which vendors publish thresholds."""


class Remote(AsksOutside, RemoteScores):
    """Services about photos that other protocols have protected.

    Args:
        services: keys of the experiment's services; null for all.
        operations: ``compare``, ``search``, ``attributes``.
        photos: key of the protocol whose photos are asked about; null for the probes.
        methods: keys of methods whose photos are asked about, the controls always; null for all.
        pairs: ``one`` clean photo of its person for each photo, or ``all``.
        mates: whose photos searches should find: ``probes``, the other photos as they were before protection, or
            ``references``.
        picture, side_px, file: how pictures are made of photos (`PictureRule`), the same for clean and protected ones.
        people, photos_each: at most so many people, and photos of each; null for all.
        distractors: photos of others in a gallery, at most; null for all.
        fars, ks: false accept rates, and ranks of a search.
        task: config of the attribute task; null where nobody asks for attributes.
        naturalness: configs of ``ssim`` and ``psnr``, which H-PN is made from.
        served: ``model`` and ``attribute_model`` of the local service; null where somebody else serves.
        calibrate: thresholds of services that publish no false accept rate are made from impostor pairs.
        impostor_pairs: at most so many for each such service.

    Raises:
        SettingError: a setting is out of range.
    """

    name = "remote"
    title = "Services"
    kind = "remote"
    answer_modules = ("cloakbench.bench.protocols.remote.questions", "cloakbench.bench.protocols.remote.spoken")
    report_module = "cloakbench.bench.protocols.remote.report"

    def __init__(
        self,
        services: Sequence[str] | None = None,
        operations: Sequence[str] = ("compare", "search"),
        photos: str | None = None,
        methods: Sequence[str] | None = None,
        pairs: Literal["one", "all"] = "one",
        mates: Literal["probes", "references"] = "probes",
        picture: Literal["upsample", "paste_back"] = "upsample",
        side_px: int = 224,
        file: Literal["png", "jpeg"] = "png",
        people: int | None = None,
        photos_each: int | None = None,
        distractors: int | None = None,
        fars: Sequence[float] = FARS,
        ks: Sequence[int] = (1, 5),
        task: Mapping[str, Any] | None = None,
        naturalness: Mapping[str, Any] | None = None,
        served: Mapping[str, Any] | None = None,
        calibrate: bool = False,
        impostor_pairs: int = 1000,
    ) -> None:
        if not fars or not all(is_number(far) and 0 < far < 1 for far in fars):
            raise SettingError("fars", list(fars), "a list of rates above 0 and below 1")
        rule = PictureRule(picture, side_px, file)
        super().__init__(
            WantedQuestions(tuple(operations), pairs, mates, rule, people, photos_each, distractors),
            tuple(sorted(map(float, fars), reverse=True)),
            tuple(sorted(whole(f"ks.{place}", k) for place, k in enumerate(ks))),
            None if task is None else instantiate(dict(task)),
            PictureValues(naturalness or {}) if ATTRIBUTES in operations else None,
            calibrate and COMPARE in operations,
        )
        self._calibration = ImpostorCalibration(whole("impostor_pairs", impostor_pairs), rule, self.fars)
        self.services, self.methods, self.about, self._served_by = services, methods, photos, served
        self._faces_name = "probe"

    @cached_property
    def _served(self) -> Served | None:
        return None if self._served_by is None else Served(**self._served_by)

    @property
    def is_about_probes(self) -> bool:
        return self.about is None

    def is_asked(self, config: DictConfig) -> bool:
        return bool(config.services)

    def check(self, config: DictConfig, place: str) -> None:
        RemoteSettings.of(config)
        known = list(map(str, config.services))
        if unknown := [one for one in self.services or () if one not in known]:
            raise ConfigError(f"{place}services names {unknown[0]}, and services has: {', '.join(known)}")
        if self.about is not None and self.about not in config.protocols:
            raise ConfigError(f"{place}photos names {self.about}, which is no protocol of this experiment")
        if self._reads and self.task is None:
            raise ConfigError(f"{place}operations has attributes, and there is no task: attribute_task=NAME")
        if self._pictures is not None:
            self._pictures.check(config, f"{place}naturalness.")

    def publication(self, planning: Planning, place: str) -> Publication:
        if self.about is None:
            found = planning.probes()
        else:
            other: Protocol = instantiate(resolved(planning.config.protocols[self.about]))
            found = other.publication(planning, f"protocols.{self.about}.")
        self._faces_name = found.photos
        return found

    def judges(self, planning: Planning) -> Sequence[Judge]:
        remote, columns = RemoteSettings.of(planning.config), self.wanted.columns(planning.faces[self._faces_name])
        found = []
        for key in self._keys(planning.config):
            config = resolved(planning.config.services[key])
            card, served = card_of(config, key), self._serves(config)
            inputs: Inputs = {
                "service": {name: value for name, value in config.items() if name not in ("_target_", "line")},
                "address": "" if card.on_this_machine else card.host,
                "api_version": card.api_version,
                "served": None if served is None else served.inputs(planning),
                "expire": None if remote.expire is None else remote.expire.isoformat(),
            }
            most = min(max(self.ks) + 1, card.most_matches) - (self.wanted.mates == "probes")
            networks = frozenset[str]() if served is None else served.networks(planning)
            family = "" if served is None else served.model.card.family
            calibration = self._calibration.inputs(planning, card) if self.is_calibrated else None
            options = {"columns": columns, "most": most, "calibration": calibration}
            found.append(Judge(key, inputs, family, networks, options))
        return found

    def clean_roles(self, planning: Planning) -> Sequence[Any]:
        return (self._faces_name,)

    def inputs(self, judge: Judge, condition: Condition, photos: ChunkPhotos, spec: WorkerSpec) -> Inputs:
        published = spec.publications.get(photos.publication)
        whose = photos.publication if published is None else published.photos
        wanted = vars(self.wanted) | {"operations": list(self.wanted.operations), "rule": vars(self.wanted.rule)}
        return {
            "judge": dict(judge.inputs),
            "photos": photos.pixels,
            "names": list(photos.image_id),
            "faces": {role: spec.faces.get(role, "") for role in (whose, "reference", "distractor")},
            "wanted": wanted,
            "fars": list(self.fars),
            "k": max(self.ks),
            "calibration": judge.options["calibration"],
            "task": repr(self.task.attributes) if self._reads and self.task is not None else "",
            "asked": self._asks_about(photos),
        }

    def respond(self, judge: Judge, condition: Condition, photos: Any, worker: Worker) -> Answer:
        raise NotImplementedError("services are asked by ask(), about everything at once")

    def no_answer(self, judge: Judge, photos: int, spec: WorkerSpec) -> dict[str, Tensor]:
        return nothing_said(photos, self._form(judge))

    def may_ask(self, planning: Planning, photos: Mapping[Judge, int]) -> None:
        remote = RemoteSettings.of(planning.config)
        for judge, count in () if remote.replay else photos.items():
            config = resolved(planning.config.services[judge.name])
            card, served = card_of(config, judge.name), self._serves(config)
            keys_in_run(card, remote)
            questions = self._questions(planning, judge)
            check_asked(card, questions, self.wanted.operations, {} if served is None else served.not_offered)
            if pairs := self._calibration.pairs_due(planning, judge, card):
                require_budget(card, pairs, remote)
            if not card.on_this_machine:
                say_and_ask(card, questions, planning, count, remote, pairs)

    def asks_in(self, config: DictConfig, photos: int | None) -> Iterator[str]:
        counted = photos if self.wanted.pairs == "one" and self.about is None else None
        for key in self._keys(config):
            if not missing_settings(config.services[key]):
                card = card_of(resolved(config.services[key]), key)
                offered = [one for one in self.wanted.operations if one in card.operations]
                yield questions_in_words(card, dict.fromkeys(offered, counted))

    def would_ask(self, planning: Planning, photos: Mapping[Judge, int]) -> Iterator[str]:
        for judge, count in () if RemoteSettings.of(planning.config).replay else photos.items():
            card = card_of(resolved(planning.config.services[judge.name]), judge.name)
            pairs = self._calibration.pairs_due(planning, judge, card)
            yield questions_in_words(card, most_questions(card, self._questions(planning, judge), count, pairs))

    def ask(
        self, planning: Planning, due: Sequence[DueAnswer], worker: Worker
    ) -> Iterator[tuple[DueAnswer, Answer | str]]:
        for judge in dict.fromkeys(one.judge for one in due):
            chunks = [DueChunk(one, self._asks_about(one.photos)) for one in due if one.judge == judge]
            yield from self._asked(planning, judge, chunks, worker)

    def _asked(
        self, planning: Planning, judge: Judge, chunks: Sequence[DueChunk], worker: Worker
    ) -> Iterator[tuple[DueAnswer, Answer | str]]:
        """What one service says; what that takes is noted, however it ends."""
        remote, name = RemoteSettings.of(planning.config), str(planning.config.name)
        config = resolved(planning.config.services[judge.name])
        with ExitStack() as stack:
            if (served := self._serves(config)) is not None:
                offered = stack.enter_context(served.offered(planning, self.fars, replay=remote.replay))
                config |= offered | {"line": config["line"] | offered["line"]}
            places, spent = Places(planning.store.root), SpentOnService(planning.store, name, judge)
            opened = stack.enter_context(session(config, judge.name, remote, places, name, spent))
            questions, thresholds = self._questions(planning, judge), [math.nan] * len(self.fars) * self.is_calibrated
            table = self._calibration.made(planning, judge, opened, questions, remote.connections)
            if isinstance(table, str):
                yield from ((chunk.due, table) for chunk in chunks)
                return
            thresholds = thresholds if table is None else table["threshold"].to_list()
            asked = opened, questions, chunks, worker, self._form(judge), self.task, remote.connections
            yield from answered(*asked, thresholds)

    def setup(self, planning: Planning, publication: Publication) -> dict[str, Any]:
        name, told = str(planning.config.name), {"pictures_for_services": self.wanted.rule.words}
        for judge in self.judges(planning):
            if words := SpentOnService(planning.store, name, judge).words():
                told[f"service_{judge.name}"] = words
            if (table := self._calibration.stored(planning, judge)) is not None:
                told[f"thresholds_of_{judge.name}"] = thresholds_in_words(table)
        return told

    def sections(self, index: Measured) -> Iterable[Section]:
        from cloakbench.bench.protocols.remote.report import remote_section

        return [remote_section(index, self.title, self.wanted.rule.words)]

    def evidence(self, index: Measured, method: str) -> Mapping[str, str]:
        from cloakbench.bench.protocols.remote.evidence import remote_evidence

        return remote_evidence(index, method)

    def _keys(self, config: DictConfig) -> list[str]:
        """Keys of the services that are asked."""
        return [str(key) for key in config.services if self.services is None or key in self.services]

    def _serves(self, config: Mapping[str, Any]) -> Served | None:
        """What the run itself offers as this service; None where somebody else does."""
        return self._served if config["_target_"] == LOCAL else None

    def _asks_about(self, photos: ChunkPhotos) -> bool:
        made_by = photos.made_by
        return made_by is None or self.methods is None or made_by.cell.method in (*self.methods, *CONTROLS)

    def _questions(self, planning: Planning, judge: Judge) -> Questions:
        faces, most = planning.faces, judge.options["most"] + (self.wanted.mates == "probes")
        others = faces.get("reference"), faces.get("distractor")
        return Questions(self.wanted, faces[self._faces_name], *others, planning.dataset.photo, most, max(self.ks))
