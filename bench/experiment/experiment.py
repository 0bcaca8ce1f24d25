"""`Experiment`: a composed config made concrete: faces, networks, publications, who is asked what, the run's key."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.config.networks import build_recogniser, fingerprint
from cloakbench.bench.config.node_keys import node_settings
from cloakbench.bench.config.titles import without_titles
from cloakbench.bench.config.values import file_name
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.core.status import OK
from cloakbench.bench.engine.jobs import Question
from cloakbench.bench.engine.protocol import Judge
from cloakbench.bench.engine.protocol import Protocol as AskedProtocol
from cloakbench.bench.engine.worker import PublishedAs, WorkerSpec
from cloakbench.bench.experiment.face_needs import check_given_faces, check_roles
from cloakbench.bench.experiment.loggers import RunLogger
from cloakbench.bench.experiment.parts import Parts, build_parts, plain
from cloakbench.bench.plan.chunks import measured_aim_rows
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import PROBES, ChunkPhotos, PlannedUnit, Publication
from cloakbench.bench.store.store import Store
from cloakbench.datasets.base import Dataset, FaceSet, Manifest, Role
from cloakbench.models.base import ModelCard, Recogniser
from cloakbench.models.same_weights import same_weights

_ROLES: tuple[Role, ...] = ("reference", "probe", "distractor", "auxiliary", "impostor")
HARMLESS = frozenset({"unused", "duplicate"})
"""Statuses of files that play no role without anything being wrong with them."""
_NOT_RESULTS = frozenset({"runtime", "logger", "paths", "hydra", "report", "description", "given"})
"""Config blocks that cannot change a number and so are no part of a run's name."""


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
        config: the composed config.
        store: where results live.
        manifest: the images used, with digests.
        faces: name to faces that workers can read: the roles of the data set, and what protocols add.
        cards: model key to card, for every surrogate and target.
        spec: what the workers must know.
        publications: name to the photos that are protected.
        asked: who asks what about them, in the order of the config.
        same_weights: model key to the keys of all models with its weights, its own among them: a target that shares
            them with a surrogate is white-box, whatever it is called and however its pixels are scaled.
        planning: what the plans were made with.
        rejected: files of the data set that cannot be used, a line each: which, what is wrong, how to mend it.
        remarks: what does not fit between the photos and the files that a method reads, a line each.
        loggers: what follows the run.
    """

    config: DictConfig
    store: Store
    manifest: Manifest
    faces: Mapping[str, FaceSet]
    cards: Mapping[str, ModelCard]
    spec: WorkerSpec
    publications: Mapping[str, Publication]
    asked: tuple[Asked, ...]
    same_weights: Mapping[str, frozenset[str]]
    planning: Planning
    rejected: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    loggers: tuple[RunLogger, ...] = ()

    @property
    def surrogates(self) -> tuple[str, ...]:
        return tuple(self.config.surrogates)

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(self.config.targets)

    @property
    def units(self) -> Iterator[PlannedUnit]:
        """Every unit of every publication, in the order in which they are handed out."""
        for publication in self.publications.values():
            for units in publication.units:
                yield from units

    def protocol(self, key: str) -> AskedProtocol:
        """A protocol that is asked."""
        return next(asked.protocol for asked in self.asked if asked.key == key)

    def questions(self, publication: Publication, *, whole_cells: bool) -> tuple[Question, ...]:
        """What is asked about each chunk, or each cell, of a publication; protocols that ask the same ask once."""
        seen: set[tuple[str, str, str, int | None]] = set()
        found = []
        for asked in self.asked:
            if asked.publication.name != publication.name or asked.protocol.whole_cells != whole_cells:
                continue
            for judge, conditions in asked.judges:
                for condition in conditions:
                    place = (asked.protocol.kind, judge.name, condition.label, condition.draw)
                    if place not in seen:
                        seen.add(place)
                        found.append(Question(asked.key, judge, condition))
        return tuple(found)

    def clean_photos(self, asked: Asked) -> Mapping[str, tuple[ChunkPhotos, ...]]:
        """Role to the clean photos that a protocol's judges are asked about: the publication's own chunk by chunk."""
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
        settings = {name: value for name, value in settings.items() if name not in _NOT_RESULTS}
        for group in ("surrogates", "targets", "surrogate", "target"):
            settings.pop(group, None)
        settings["dataset"] = None  # the manifest says what its settings came to
        printing = frozenset().union(*(asked.protocol.printing for asked in self.asked))
        inputs = {
            "config": node_settings(without_titles(settings), printing),
            "models": {role: [self.spec.fingerprints[k] for k in keys] for role, keys in self.roles.items()},
            "manifest": self.manifest_digest,
            "units": [planned.unit.key for planned in self.units],
            "judges": [[asked.key, [dict(judge.inputs) for judge, _ in asked.judges]] for asked in self.asked],
        }
        return content_key("run", inputs)

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        return {"surrogate": self.surrogates, "target": self.targets}

    @cached_property
    def manifest_digest(self) -> str:
        return self.manifest.digest()

    @cached_property
    def folder(self) -> Path:
        """Where this run's report goes; the same experiment always has the same folder."""
        return Path(self.config.paths.runs) / f"{file_name(self.config.name)}-{self.key[:8]}"

    @cached_property
    def aims(self) -> dict[str, int]:
        """Person to the auxiliary row that impersonation is measured on; empty without auxiliary faces."""
        auxiliary, probes = self.faces.get("auxiliary"), self.publications.get(PROBES)
        return measured_aim_rows(auxiliary, probes.chunks) if auxiliary is not None and probes is not None else {}


def prepare(config: DictConfig) -> Experiment:
    """Build everything that must exist before work starts.

    Raises:
        ConfigError: the experiment asks for something that cannot be.
        ValueError: faces or weights cannot be had; the message says what to do.
    """
    parts = build_parts(config)
    models = {key: plain(model) for group in (config.surrogates, config.targets) for key, model in group.items()}
    built = {key: build_recogniser(model, key) for key, model in models.items()}
    planning = _planning(config, parts, models, built)
    asked = tuple(_asked(parts, planning))
    publications = {one.publication.name: one.publication for one in asked}
    if PROBES in publications:
        probes = publications[PROBES]
        check_given_faces(config, parts.dataset, planning.faces, probes.cells, probes.chunks)
    for protocol in parts.protocols.values():
        protocol.try_on(planning)
    spec = WorkerSpec(
        store=planning.store.root,
        faces=planning.keys,
        models=models,
        fingerprints=planning.fingerprints,
        embedding_sizes={key: model.card.embedding_size for key, model in built.items()},
        protocols={key: plain(config.protocols[key]) for key in parts.protocols},
        publications={
            name: PublishedAs(one.photos, one.references, one.image_metrics) for name, one in publications.items()
        },
        seed=config.seed,
        embed_batch=config.plan.embed_batch,
        device=config.runtime.device,
    )
    manifest = parts.dataset.manifest()
    return Experiment(
        config,
        planning.store,
        manifest,
        planning.faces,
        planning.cards,
        spec,
        publications,
        asked,
        planning.same_weights,
        planning,
        _rejected(parts.dataset),
        _remarks(publications.get(PROBES), planning.faces),
        parts.loggers,
    )


def _planning(
    config: DictConfig, parts: Parts, models: Mapping[str, Mapping[str, Any]], built: Mapping[str, Recogniser]
) -> Planning:
    """The faces of the experiment, stored for the workers, and what its networks are."""
    dataset = parts.dataset
    if config.targets:
        check_roles(config, dataset, parts.protocols.values(), parts.cells)
    planning = Planning(
        config,
        dataset,
        dataset.manifest(),
        Store(Path(config.paths.store)),
        fingerprints={key: fingerprint(models[key], model) for key, model in built.items()},
        cards={key: model.card for key, model in built.items()},
        same_weights=same_weights(built),
        cells=parts.cells,
        transforms=parts.transforms,
    )
    wanted = _ROLES if config.targets else ("auxiliary",)
    for role in wanted:
        if role in dataset.roles():
            planning.add_faces(role, dataset.faces(role))
    return planning


def _asked(parts: Parts, planning: Planning) -> Iterator[Asked]:
    """Who asks what, protocols about every publication after those that bring one."""
    own = {key: one for key, one in parts.protocols.items() if not one.every_publication}
    publications: dict[str, Publication] = {}
    for key, protocol in own.items():
        publication = protocol.publication(planning, f"protocols.{key}.")
        publication = publications.setdefault(publication.name, publication)
        yield Asked(key, protocol, publication, _judges(protocol, planning))
    for key, protocol in parts.protocols.items():
        if protocol.every_publication:
            for publication in publications.values():
                yield Asked(key, protocol, publication, _judges(protocol, planning))


def _judges(protocol: AskedProtocol, planning: Planning) -> tuple[tuple[Judge, tuple[Condition, ...]], ...]:
    return tuple((judge, tuple(protocol.conditions(judge, planning))) for judge in protocol.judges(planning))


def _rejected(dataset: Dataset) -> tuple[str, ...]:
    return tuple(
        f"{entry.image_id}: {entry.status}: {entry.note}"
        for entry in dataset.rejected()
        if entry.status not in HARMLESS
    )


@runtime_checkable
class ReviewsFiles(Protocol):
    """A method that reads files made elsewhere and can hold them against the photos of an experiment."""

    def review(self, wanted: Sequence[str], known: Collection[str]) -> Sequence[str]:
        """A line for each thing that does not fit.

        Args:
            wanted: the photos to be protected.
            known: all photos of the experiment.
        """
        ...


def _remarks(probes: Publication | None, faces: Mapping[str, FaceSet]) -> tuple[str, ...]:
    if probes is None:
        return ()
    known = {image_id for some in faces.values() for image_id in some.image_id}
    lines = []
    for method in dict.fromkeys(cell.method for cell in probes.cells):
        places = [place for place, cell in enumerate(probes.cells) if cell.method == method]
        protector = probes.cells[places[0]].protector
        if isinstance(protector, ReviewsFiles):
            rows = sorted({row for place in places for one in probes.units[place] for row in one.unit.chunk.probes})
            wanted = [probes.faces.image_id[row] for row in rows]
            lines += [f"{method}: {line}" for line in protector.review(wanted, known)]
    return tuple(lines)
