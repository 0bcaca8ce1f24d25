"""Preparing: from a composed config to an `Experiment`, everything that must exist before work starts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from omegaconf import DictConfig

from cloakbench.bench.config.asked import asks_about_probes
from cloakbench.bench.config.checks.views import check_view
from cloakbench.bench.config.compose import resolved
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.engine.device.devices import devices_of
from cloakbench.bench.engine.protocol import Judge
from cloakbench.bench.engine.protocol import Protocol as AskedProtocol
from cloakbench.bench.engine.worker import PublishedAs, WorkerSpec
from cloakbench.bench.experiment.experiment import HARMLESS, Asked, Experiment
from cloakbench.bench.experiment.face_needs import check_given_faces, check_roles
from cloakbench.bench.experiment.parts import Parts, build_parts
from cloakbench.bench.plan.condition import Condition
from cloakbench.bench.plan.networks import Networks
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.plan.publication import PROBES, Publication
from cloakbench.datasets.base import ROLES, Dataset, FaceSet, Role

_ROLES: tuple[Role, ...] = ("reference", "probe", "distractor", "auxiliary", "impostor")


def prepare(config: DictConfig) -> Experiment:
    """Build everything that must exist before work starts.

    Raises:
        ConfigError: the experiment asks for something that cannot be.
        ValueError: faces or weights cannot be had; the message says what to do.
    """
    parts = build_parts(config)
    networks = Networks.of(config)
    for key, card in networks.cards.items():
        check_view(key, card, parts.dataset)
    planning = _planning(config, parts, networks)
    asked = tuple(_asked(parts, planning))
    for one in asked:
        for role in one.protocol.clean_roles(planning):
            planning.named_faces(role, one.protocol.name)
    publications = {one.publication.name: one.publication for one in asked}
    if PROBES in publications:
        probes = publications[PROBES]
        check_given_faces(config, parts.dataset, planning.faces, probes.cells, probes.chunks)
    for protocol in parts.protocols.values():
        protocol.try_on(planning)
    spec = WorkerSpec(
        store=planning.store.root,
        faces=planning.keys,
        models=networks.recognisers,
        generator={} if config.generator is None else resolved(config.generator),
        fingerprints=planning.fingerprints,
        embedding_sizes=networks.embedding_sizes,
        protocols={key: resolved(config.protocols[key]) for key in parts.protocols},
        metrics={key: resolved(config.metrics[key]) for key in parts.metrics},
        publications={name: PublishedAs(one.photos, one.references) for name, one in publications.items()},
        seed=config.seed,
        embed_batch=config.plan.embed_batch,
        devices=devices_of(config),
        precision=config.runtime.precision,
        compiled=config.runtime.compile,
        attribute_networks=networks.attributes,
        attribute_task={} if config.attribute_task is None else resolved(config.attribute_task),
    )
    return Experiment(
        planning,
        spec,
        publications,
        asked,
        parts.metrics,
        _rejected(parts.dataset),
        (*_remarks(publications.get(PROBES), planning.faces), *_cautions(planning)),
        parts.loggers,
    )


def _planning(config: DictConfig, parts: Parts, networks: Networks) -> Planning:
    """The faces of the experiment, stored for the workers, and what its networks are."""
    dataset = parts.dataset
    if asks_about_probes(config):
        check_roles(config, dataset, parts.protocols.values(), parts.cells)
    planning = Planning(
        config,
        dataset,
        fingerprints=networks.fingerprints,
        cards=networks.cards,
        same_weights=networks.same_weights,
        cells=parts.cells,
        transforms=parts.transforms,
    )
    named = {role for one in parts.protocols.values() for role in one.needs | one.gaps_without}
    wanted = {*_ROLES, *named} if asks_about_probes(config) else {"auxiliary"}
    for role in ROLES:
        if role in wanted and role in dataset.roles():
            planning.add_faces(role, dataset.faces(role))
    return planning


def _asked(parts: Parts, planning: Planning) -> Iterator[Asked]:
    """Who asks what, protocols about every publication after those that bring one."""
    own = {key: one for key, one in parts.protocols.items() if not one.every_publication}
    publications: dict[str, Publication] = {}
    for key, protocol in own.items():
        publication = protocol.publication(planning, f"protocols.{key}.")
        publication = publications.setdefault(publication.name, publication)
        yield Asked(key, protocol, publication, _judges(protocol, planning, publication))
    for key, protocol in parts.protocols.items():
        if protocol.every_publication:
            for publication in publications.values():
                if judges := _judges(protocol, planning, publication):
                    yield Asked(key, protocol, publication, judges)


def _judges(
    protocol: AskedProtocol, planning: Planning, publication: Publication
) -> tuple[tuple[Judge, tuple[Condition, ...]], ...]:
    judges = tuple(protocol.judges(planning))
    if strange := [judge for judge in judges if not isinstance(judge, Judge)]:
        raise ConfigError(f"protocol {protocol.name} asks a {type(strange[0]).__name__}: its judges() must give Judges")
    asked = [judge for judge in judges if protocol.asks_about(judge, publication)]
    names = [judge.name for judge in asked if judge.name]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"protocol {protocol.name} asks two judges called {twice[0]}: give each a name of its own")
    return tuple((judge, tuple(protocol.conditions(judge, planning))) for judge in asked)


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


def _cautions(planning: Planning) -> Iterator[str]:
    if planning.generator is not None and not planning.dataset.rendered and (said := planning.generator[0].caution):
        yield f"data set {planning.dataset.name}: {said}"


def _remarks(probes: Publication | None, faces: Mapping[str, FaceSet]) -> tuple[str, ...]:
    if probes is None:
        return ()
    known = {image_id for some in faces.values() for image_id in some.image_id}
    lines = []
    for method in dict.fromkeys(cell.row for cell in probes.cells):
        places = [place for place, cell in enumerate(probes.cells) if cell.row == method]
        protector = probes.cells[places[0]].protector
        if isinstance(protector, ReviewsFiles):
            rows = sorted({row for place in places for one in probes.units[place] for row in one.unit.chunk.probes})
            wanted = [probes.faces.image_id[row] for row in rows]
            lines += [f"{method}: {line}" for line in protector.review(wanted, known)]
    return tuple(lines)
