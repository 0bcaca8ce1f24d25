"""`Experiment`: a composed config made concrete: faces, networks, publications, who is asked what, the run's key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.config.node_keys import node_settings
from cloakbench.bench.config.titles import without_titles
from cloakbench.bench.config.values import file_name
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.core.status import OK
from cloakbench.bench.engine.added_metric import AddedMetric
from cloakbench.bench.engine.answers import ScoreInputs
from cloakbench.bench.engine.jobs import Question
from cloakbench.bench.engine.outside import AsksOutside
from cloakbench.bench.engine.protocol import Judge
from cloakbench.bench.engine.protocol import Protocol as AskedProtocol
from cloakbench.bench.engine.worker import WorkerSpec
from cloakbench.bench.experiment.logging.loggers import RunLogger
from cloakbench.bench.plan.chunks import measured_aim_rows
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import PROBES, ChunkPhotos, PlannedUnit, Publication
from cloakbench.bench.store.store import Store
from cloakbench.datasets.base import FaceSet

HARMLESS = frozenset({"unused", "duplicate"})
"""Statuses of files that play no role without anything being wrong with them."""
_ATTRIBUTES = ("attribute_task", "attribute_surrogates", "attribute_targets", "attribute_counts")
"""What fingerprints of attribute networks say, and the keys of units."""
_NOT_RESULTS = frozenset(
    {"runtime", "logger", "paths", "hydra", "report", "description", "given", "services", "remote"}
)
"""Config blocks that cannot change a number and so are no part of a run's name; of services and how they are asked,
judges say what can."""


@dataclass(frozen=True)
class Asked:
    """A protocol and what it asks about one publication.

    Attributes:
        key: of the protocol in the experiment.
        protocol: who asks.
        publication: about which photos.
        judges: who is asked, each with the conditions; those of one label are repetitions.
    """

    key: str
    protocol: AskedProtocol
    publication: Publication
    judges: tuple[tuple[Judge, tuple[Condition, ...]], ...]

    @property
    def label(self) -> str:
        """What the ``protocol`` column calls it: a protocol about somebody else's photos goes by their name."""
        foreign = self.protocol.every_publication and self.publication.name != PROBES
        return self.publication.name if foreign else self.protocol.name

    def questions(self) -> Iterator[tuple[Judge, tuple[Condition, ...]]]:
        """Judge and the repetitions of one condition, for each number that comes out."""
        for judge, conditions in self.judges:
            ordered = sorted(conditions, key=lambda one: [other.label for other in conditions].index(one.label))
            for _, same in groupby(ordered, key=lambda one: one.label):
                yield judge, tuple(same)


@dataclass(frozen=True)
class Experiment:
    """A composed config, made concrete.

    Attributes:
        planning: config, data set, store and networks, with which the plans were made.
        spec: what the workers must know.
        publications: name to the photos that are protected.
        asked: who asks what about them, in the order of the config.
        metrics: key to a metric that is added to those of a protocol.
        rejected: files of the data set that cannot be used, a line each: which, what is wrong, how to mend it.
        remarks: what does not fit between the photos and what a method reads or has made of them, a line each.
        loggers: what follows the run.
    """

    planning: Planning
    spec: WorkerSpec
    publications: Mapping[str, Publication]
    asked: tuple[Asked, ...]
    metrics: Mapping[str, AddedMetric]
    rejected: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    loggers: tuple[RunLogger, ...] = ()

    @property
    def config(self) -> DictConfig:
        return self.planning.config

    @property
    def store(self) -> Store:
        return self.planning.store

    @property
    def faces(self) -> Mapping[str, FaceSet]:
        return self.planning.faces

    @property
    def units(self) -> Iterator[PlannedUnit]:
        """Every unit of every publication, in the order in which they are handed out."""
        for publication in self.publications.values():
            for units in publication.units:
                yield from units

    def protocol(self, key: str) -> AskedProtocol:
        """A protocol that is asked."""
        return next(asked.protocol for asked in self.asked if asked.key == key)

    def asked_by(self, score: ScoreInputs) -> Asked:
        """Of which question a score is."""
        place = (score.protocol, score.publication)
        return next(one for one in self.asked if (one.key, one.publication.name) == place)

    def questions(self, publication: Publication, *, whole_cells: bool) -> tuple[Question, ...]:
        """What workers ask about each chunk, or each cell, of a publication; protocols that ask the same ask once."""
        seen: set[tuple[str, Judge, str, int | None]] = set()
        found = []
        for asked in self.asked:
            if asked.publication.name != publication.name or isinstance(asked.protocol, AsksOutside):
                continue
            for judge, conditions in asked.judges:
                for condition in conditions:
                    if asked.protocol.takes_whole_cells(judge, condition) != whole_cells:
                        continue
                    place = (asked.protocol.kind_of(judge), judge, condition.label, condition.draw)
                    if place not in seen:
                        seen.add(place)
                        found.append(Question(asked.key, judge, condition))
        return tuple(found)

    def clean_photos(self, asked: Asked, judge: Judge) -> Mapping[str, tuple[ChunkPhotos, ...]]:
        """Role to the clean photos that a judge is asked about: the publication's own chunk by chunk."""
        if not judge.sees_clean:
            return {}
        return {role: self._clean_chunks(role, asked.publication) for role in asked.protocol.clean_roles(self.planning)}

    def clean_pixels(self) -> Mapping[str, tuple[str, ...]]:
        """Role to digests of the clean photos that any judge is asked about."""
        roles = {role: asked for asked in self.asked for role in asked.protocol.clean_roles(self.planning)}
        return {
            role: tuple(chunk.pixels for chunk in self._clean_chunks(role, asked.publication))
            for role, asked in roles.items()
        }

    def _clean_chunks(self, role: str, publication: Publication) -> tuple[ChunkPhotos, ...]:
        faces = self.faces[role]
        whole = (tuple(range(len(faces))),)
        rows_of = [chunk.probes for chunk in publication.chunks] if role == publication.photos else whole
        chunks = []
        for rows in rows_of:
            pixels = self.planning.original(role, rows)
            names = tuple(faces.image_id[row] for row in rows)
            chunks.append(ChunkPhotos("", role, rows, names, pixels, pixels, (OK,) * len(rows)))
        return tuple(chunks)

    @cached_property
    def key(self) -> str:
        """Digest of everything that decides the numbers: config, data, weights, code."""
        settings = OmegaConf.to_container(self.config, resolve=True)
        assert isinstance(settings, dict)
        settings = {
            name: value
            for name, value in settings.items()
            if name not in _NOT_RESULTS and (value or name != "variants")
        }
        for group in ("surrogates", "targets", "surrogate", "target", *_ATTRIBUTES):
            settings.pop(group, None)
        settings["dataset"] = None  # the manifest says what its settings came to
        scored = {asked.key: (asked.protocol, judge) for asked in self.asked for judge, _ in asked.judges}
        settings["protocols"] = settings["protocols"] | {  # what is left out, judges say in their inputs
            key: protocol.score_settings(settings["protocols"][key], judge) for key, (protocol, judge) in scored.items()
        }
        printing = frozenset().union(*(asked.protocol.printing for asked in self.asked))
        inputs = {
            "config": node_settings(without_titles(settings), printing),
            "models": {role: [self.spec.fingerprints[k] for k in keys] for role, keys in self.roles.items()},
            "manifest": self.planning.manifest_digest,
            "units": [planned.unit.key for planned in self.units],
            "judges": [[asked.key, [dict(judge.inputs) for judge, _ in asked.judges]] for asked in self.asked],
        }
        return content_key("run", inputs)

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        """Keys of networks by what they are there for."""
        found = {"surrogate": tuple(self.config.surrogates), "target": tuple(self.config.targets)}
        judging = tuple(map(str, self.config.attribute_targets))
        own = self.config.attribute_surrogates
        attacked = tuple(key for key in self.spec.attribute_networks if key in own or key not in judging)
        attributes = {"attribute surrogate": attacked, "attribute target": judging}
        return found | {role: keys for role, keys in attributes.items() if keys}

    @cached_property
    def folder(self) -> Path:
        """Where this run's report goes; the same experiment always has the same folder."""
        return Path(self.config.paths.runs) / f"{file_name(self.config.name)}-{self.key[:8]}"

    @cached_property
    def aims(self) -> dict[str, int]:
        """Person to the auxiliary row that impersonation is measured on; empty without auxiliary faces."""
        auxiliary, probes = self.faces.get("auxiliary"), self.publications.get(PROBES)
        return measured_aim_rows(auxiliary, probes.chunks) if auxiliary is not None and probes is not None else {}
