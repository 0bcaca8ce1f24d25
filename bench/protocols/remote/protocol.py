"""`Remote`: what services of others say of photos that were protected for other questions.

A service is asked from the run's own process, once everything is protected: does it still take a photo for its person
(comparison with a clean photo, at the thresholds that the service gives), does it find the person in a gallery, and
what does it read off the face. Each question is asked once, and its answer kept in the store's journal.

A photo in which a service finds no face is neither accepted nor found. Rates count it as protected, and stand beside
the same rates over photos in which a face was found; pairs whose clean photo has no face for the service are in none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from torch import Tensor

from cloakbench.bench.config.compose import resolved
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.core.ranges import SettingError, is_number, whole
from cloakbench.bench.core.status import OK
from cloakbench.bench.engine.answers import Answers
from cloakbench.bench.engine.outside import AsksOutside, DueAnswer
from cloakbench.bench.engine.protocol import Answer, Judge, Protocol
from cloakbench.bench.engine.rates import MEASUREMENT_FIELDS, Trials, rate_measurements
from cloakbench.bench.engine.worker import Worker, WorkerSpec
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import ChunkPhotos
from cloakbench.bench.protocols.remote.found import Found, names_of
from cloakbench.bench.protocols.remote.metrics import Share, shares
from cloakbench.bench.protocols.remote.questions import Questions, Wanted
from cloakbench.bench.protocols.remote.remote_settings import RemoteSettings
from cloakbench.bench.protocols.remote.session import card_of, is_here, keys_for, session
from cloakbench.bench.protocols.remote.sheets import Chunk, answered
from cloakbench.bench.protocols.remote.spoken import nothing_said
from cloakbench.bench.protocols.verification.protocol import far_label
from cloakbench.bench.report.labels import CONTROLS
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.services.consent import Intention, require_consent
from cloakbench.bench.services.places import Places
from cloakbench.datasets.base import Role

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

FARS = (1e-3, 1e-4, 1e-5)
"""False accept rates at which vendors publish thresholds."""


class Remote(AsksOutside, Protocol):
    """Services about photos that other protocols have protected.

    Args:
        services: keys of the experiment's services; null for all.
        operations: ``compare``, ``search``, ``attributes``.
        methods: keys of methods whose photos are asked about, the controls always; null for all.
        pairs: ``one`` clean photo of its person for each photo, or ``all``.
        mates: whose photos searches should find: ``probes``, the other photos as they were before protection, or
            ``references``.
        side_px: of the square pictures that crops are made into, the same for clean and for protected ones.
        people, photos_each: at most so many people, and photos of each; null for all.
        fars: false accept rates.
        ks: ranks of a search.

    Raises:
        SettingError: a setting is out of range.
    """

    name = "remote"
    title = "Services"
    kind = "remote"
    answer_modules = ("cloakbench.bench.protocols.remote.questions", "cloakbench.bench.protocols.remote.spoken")

    def __init__(
        self,
        services: Sequence[str] | None = None,
        operations: Sequence[str] = ("compare", "search"),
        methods: Sequence[str] | None = None,
        pairs: Literal["one", "all"] = "one",
        mates: Literal["probes", "references"] = "probes",
        side_px: int = 224,
        people: int | None = None,
        photos_each: int | None = None,
        fars: Sequence[float] = FARS,
        ks: Sequence[int] = (1, 5),
    ) -> None:
        self.wanted = Wanted(tuple(operations), pairs, mates, side_px, people, photos_each)
        self.services, self.methods = services, methods
        if not all(is_number(far) and 0 < far < 1 for far in fars):
            raise SettingError("fars", list(fars), "a list of rates above 0 and below 1")
        self.fars = tuple(sorted(map(float, fars), reverse=True))
        self.ks = tuple(sorted(whole(f"ks.{place}", k) for place, k in enumerate(ks)))

    @property
    def _labels(self) -> dict[str, int]:
        """Label of each false accept rate to its place."""
        return {f"far_{far_label(far)}": place for place, far in enumerate(self.fars)}

    @property
    def _shares(self) -> list[Share]:
        return list(shares(self.wanted.operations, list(self._labels), self.ks))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return tuple(share.metric for share in self._shares)

    def is_asked(self, config: DictConfig) -> bool:
        return bool(config.services)

    def check(self, config: DictConfig, place: str) -> None:
        RemoteSettings.of(config)
        known = list(map(str, config.services))
        if unknown := [one for one in self.services or () if one not in known]:
            raise ConfigError(f"{place}services names {unknown[0]}, and services has: {', '.join(known)}")

    def judges(self, planning: Planning) -> Sequence[Judge]:
        remote, columns = RemoteSettings.of(planning.config), self.wanted.columns(planning.faces["probe"])
        found = []
        for key in self._keys(planning.config):
            config = resolved(planning.config.services[key])
            card = card_of(config, key)
            inputs: Inputs = {
                "service": {name: value for name, value in config.items() if name not in ("_target_", "line")},
                "address": card.host,
                "api_version": card.api_version,
                "expire": None if remote.expire is None else remote.expire.isoformat(),
            }
            most = min(max(self.ks) + 1, card.most_matches)
            options = {"columns": columns, "most": most - (self.wanted.mates == "probes")}
            found.append(Judge(name=key, inputs=inputs, options=options, lane=f"service {card.name}"))
        return found

    def clean_roles(self, planning: Planning) -> Sequence[Role]:
        return ("probe",)

    def inputs(self, judge: Judge, condition: Condition, photos: ChunkPhotos, spec: WorkerSpec) -> Inputs:
        return {
            "judge": dict(judge.inputs),
            "photos": photos.pixels,
            "names": list(photos.image_id),
            "faces": {role: spec.faces.get(role, "") for role in ("probe", "reference", "distractor")},
            "wanted": vars(self.wanted) | {"operations": list(self.wanted.operations)},
            "fars": list(self.fars),
            "k": max(self.ks),
            "asked": self._asks_about(photos),
        }

    def respond(self, judge: Judge, condition: Condition, photos: Any, worker: Worker) -> Answer:
        raise NotImplementedError("services are asked by ask(), all at once")

    def no_answer(self, judge: Judge, photos: int, spec: WorkerSpec) -> dict[str, Tensor]:
        return nothing_said(photos, judge.options["columns"], self.fars)

    def may_ask(self, planning: Planning, photos: Mapping[Judge, int]) -> None:
        remote = RemoteSettings.of(planning.config)
        if remote.replay:
            return
        for judge, count in photos.items():
            card = card_of(resolved(planning.config.services[judge.name]), judge.name)
            keys_for(card, remote)
            if not is_here(card):
                each = self._questions(planning, judge).counts(range(len(planning.faces["probe"])))
                share = count / max(1, len(planning.faces["probe"]))
                calls = {operation: round(share * number) for operation, number in each.items()}
                if "search" in calls:
                    calls["enrol"] = self._questions(planning, judge).gallery_size
                told = Intention(card, f"at most {count} photos of {planning.dataset.name}, clean and protected", calls)
                for line in told.lines():
                    log.warning("%s", line)
                require_consent(told, remote.live, remote.accept)

    def ask(
        self, planning: Planning, due: Sequence[DueAnswer], worker: Worker
    ) -> Iterator[tuple[DueAnswer, Answer | str]]:
        remote, places = RemoteSettings.of(planning.config), Places(planning.store.root)
        for judge in dict.fromkeys(one.judge for one in due):
            chunks = [Chunk(one, self._asks_about(one.photos)) for one in due if one.judge == judge]
            config = resolved(planning.config.services[judge.name])
            with session(config, judge.name, remote, places, str(planning.config.name)) as opened:
                yield from answered(
                    opened,
                    self._questions(planning, judge),
                    chunks,
                    worker,
                    judge.options["columns"],
                    self.fars,
                    remote.connections,
                )

    def read(self, answers: Answers, cell: int) -> Found:
        operations = list(answers.judge.options["columns"])
        clean = {name: tensor.numpy() for name, tensor in answers.clean("probe").items()}
        tensors, status = answers.protected(cell)
        protected = {name: tensor.numpy() for name, tensor in tensors.items()}
        empty = {name: np.full_like(tensor, np.nan) for name, tensor in clean.items()}
        protected = protected or empty
        return Found(
            image_id=answers.faces.image_id,
            identity=answers.faces.identity,
            status=status,
            protected={one: protected[one] for one in operations},
            clean={one: clean[one] for one in operations},
            versions=names_of(protected, operations),
            most=answers.judge.options["most"],
        )

    def records(self, responses: Found) -> pd.DataFrame:
        """One row per photo; see `Found.frame`."""
        return responses.frame(self._labels, self.ks)

    def measurements(self, records: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
        if records.empty:
            return pd.DataFrame(columns=list(MEASUREMENT_FIELDS))
        return rate_measurements(records, self.trials(records), resamples, seed)

    def trials(self, records: pd.DataFrame) -> dict[str, Trials]:
        ok = records["status"].to_numpy(dtype=object) == OK
        found = {}
        for share in self._shares:
            events, trials = (records[name].to_numpy(dtype=np.float64) for name in (share.events, share.trials))
            gap = share.gap if ok.any() and not trials[ok].any() else ""
            found[share.metric.name] = Trials(events, trials, gap)
        return found

    def _keys(self, config: DictConfig) -> list[str]:
        """Keys of the services that are asked."""
        return [str(key) for key in config.services if self.services is None or key in self.services]

    def _asks_about(self, photos: ChunkPhotos) -> bool:
        made_by = photos.made_by
        return made_by is None or self.methods is None or made_by.cell.method in (*self.methods, *CONTROLS)

    def _questions(self, planning: Planning, judge: Judge) -> Questions:
        faces = planning.faces
        most = judge.options["most"] + (self.wanted.mates == "probes")
        return Questions(
            self.wanted, faces["probe"], faces.get("reference"), faces.get("distractor"), most, max(self.ks)
        )
