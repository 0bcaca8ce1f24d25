"""Everything an experiment needs before work starts: faces, models, plan, and the key that names the run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.config.networks import build_recogniser, fingerprint
from cloakbench.bench.config.node_keys import node_settings
from cloakbench.bench.config.values import file_name
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.engine.chunks import Chunk, build_chunks, measured_target_rows, narrow
from cloakbench.bench.engine.face_needs import check_given_faces, check_roles
from cloakbench.bench.engine.loggers import RunLogger
from cloakbench.bench.engine.parts import build_parts, plain, try_transforms
from cloakbench.bench.engine.plan import (
    Cell,
    Unit,
    make_protector,
    read_limits,
    unit_key,
)
from cloakbench.bench.engine.worker import Brief
from cloakbench.bench.protocols.poisoning.brief import Poisoning
from cloakbench.bench.protocols.poisoning.plan import plan_poisoning
from cloakbench.bench.store.faces import write_faces
from cloakbench.bench.store.store import Store
from cloakbench.datasets.base import FaceSet, Manifest, Role
from cloakbench.models.base import ModelCard
from cloakbench.models.same_weights import same_weights

_ROLES: tuple[Role, ...] = ("reference", "probe", "distractor", "auxiliary", "impostor")
HARMLESS = frozenset({"unused", "duplicate"})
"""Statuses of files that play no role without anything being wrong with them."""
_NOT_RESULTS = frozenset({"runtime", "logger", "paths", "hydra", "report", "description", "given"})
"""Config blocks that cannot change a number and so are no part of a run's name."""


@dataclass(frozen=True)
class Experiment:
    """A composed config, made concrete.

    Attributes:
        config: the composed config.
        store: where results live.
        manifest: the images used, with digests.
        faces: role to faces, for the roles the data set offers.
        cards: model key to card, for every surrogate and target.
        brief: what the workers must know.
        cells: methods at budgets on surrogates, controls first.
        chunks: the people, split.
        units: ``(unit, inputs of its key)`` in the order they are handed out.
        same_weights: model key to the keys of all models with its weights, its own among them: a target that shares
            them with a surrogate is white-box, whatever it is called and however its pixels are scaled.
        rejected: files of the data set that cannot be used, a line each: which, what is wrong, how to mend it.
        remarks: what does not fit between the photos and the files that a method reads, a line each.
        poisoning: the poisoning track, or None without a ``poisoning`` block. An experiment may consist of it alone;
            it then has no target, cell or chunk.
        loggers: what follows the run.
    """

    config: DictConfig
    store: Store
    manifest: Manifest
    faces: Mapping[Role, FaceSet]
    cards: Mapping[str, ModelCard]
    brief: Brief
    cells: tuple[Cell, ...]
    chunks: tuple[Chunk, ...]
    units: tuple[tuple[Unit, dict[str, Any]], ...]
    same_weights: Mapping[str, frozenset[str]]
    rejected: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    poisoning: Poisoning | None = None
    loggers: tuple[RunLogger, ...] = ()

    @property
    def surrogates(self) -> tuple[str, ...]:
        return tuple(self.config.surrogates)

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(self.config.targets)

    @cached_property
    def key(self) -> str:
        """Digest of everything that decides the numbers: config, data, weights, code."""
        plain = OmegaConf.to_container(self.config, resolve=True)
        assert isinstance(plain, dict)
        settings = {name: value for name, value in plain.items() if name not in _NOT_RESULTS}
        for group in ("surrogates", "targets", "surrogate", "target"):
            settings.pop(group, None)
        settings["dataset"] = None  # the manifest says what its settings came to
        models = {role: [self.brief.fingerprints[k] for k in keys] for role, keys in self.roles.items()}
        units = [unit.key for unit, _ in self.units]
        inputs = {"config": node_settings(settings), "models": models, "manifest": self.manifest_digest, "units": units}
        if self.poisoning is not None:
            inputs["poisoning"] = self.poisoning.keys()
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
    def target_rows(self) -> dict[str, int]:
        """Person to the auxiliary row that impersonation is measured on; empty without auxiliary faces."""
        auxiliary = self.faces.get("auxiliary")
        return measured_target_rows(auxiliary, self.chunks) if auxiliary is not None else {}


def prepare(config: DictConfig) -> Experiment:
    """Build everything that must exist before work starts.

    Raises:
        ConfigError: the experiment asks for something that cannot be.
        ValueError: faces or weights cannot be had; the message says what to do.
    """
    parts = build_parts(config)
    models = {key: plain(model) for group in (config.surrogates, config.targets) for key, model in group.items()}
    built = {key: build_recogniser(model, key) for key, model in models.items()}
    fingerprints = {key: fingerprint(models[key], model) for key, model in built.items()}
    store = Store(Path(config.paths.store))
    dataset, cells = parts.dataset, parts.cells
    if config.targets:
        check_roles(config, dataset, parts.protocols.values(), cells)
    wanted = _ROLES if config.targets else ("auxiliary",)
    faces: dict[Role, FaceSet] = {role: dataset.faces(role) for role in wanted if role in dataset.roles()}
    manifest = dataset.manifest()
    digest = manifest.digest()
    rejected = tuple(
        f"{entry.image_id}: {entry.status}: {entry.note}"
        for entry in dataset.rejected()
        if entry.status not in HARMLESS
    )
    brief = Brief(
        store=store.root,
        faces={role: write_faces(store, digest, role, some) for role, some in faces.items()},
        models=models,
        fingerprints=fingerprints,
        embedding_sizes={key: model.card.embedding_size for key, model in built.items()},
        targets=tuple(config.targets),
        transforms=parts.transforms,
        quality=tuple(config.quality.metrics),
        lpips_alex_path=config.quality.lpips_alex_path,
        seed=config.seed,
        embed_batch=config.plan.embed_batch,
        device=config.runtime.device,
    )
    chunks = (
        build_chunks(
            faces["probe"],
            faces.get("reference"),
            faces.get("auxiliary"),
            people=config.plan.chunk_identities,
            seed=config.seed,
            targets=dataset.targets(),
        )
        if config.targets
        else []
    )
    check_given_faces(config, dataset, faces, cells, chunks)
    if config.targets:
        try_transforms(parts.transforms, faces["probe"])
    by_id = {entry.image_id: entry.sha256 for entry in manifest.entries}
    digests: dict[Role, list[str]] = {
        role: [by_id[image_id] for image_id in some.image_id] for role, some in faces.items()
    }
    auxiliary_digest = brief.faces.get("auxiliary", "")
    limits = read_limits(config)
    narrowed = {
        method: narrow(chunks, faces["probe"], people=limit.people, photos=limit.photos)
        for method, limit in limits.items()
    }
    units = []
    for cell in cells:
        for chunk in narrowed.get(cell.method, chunks):
            key, inputs = unit_key(cell, chunk, faces, digests, fingerprints, auxiliary_digest, config.seed)
            units.append((Unit(cell, chunk, key), inputs))
    cards = {key: model.card for key, model in built.items()}
    poisoning = (
        None if config.poisoning is None else plan_poisoning(config, dataset, manifest, store, brief, auxiliary_digest)
    )
    return Experiment(
        config,
        store,
        manifest,
        faces,
        cards,
        brief,
        tuple(cells),
        tuple(chunks),
        tuple(units),
        same_weights(built),
        rejected,
        _remarks([unit for unit, _ in units], faces),
        poisoning,
        parts.loggers,
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


def _remarks(units: Sequence[Unit], faces: Mapping[Role, FaceSet]) -> tuple[str, ...]:
    known = {image_id for some in faces.values() for image_id in some.image_id}
    lines = []
    for method in dict.fromkeys(unit.cell.method for unit in units):
        planned = [unit for unit in units if unit.cell.method == method]
        protector = make_protector(planned[0].cell.config, method)
        if isinstance(protector, ReviewsFiles):
            rows = sorted({row for unit in planned for row in unit.chunk.probes})
            wanted = [faces["probe"].image_id[row] for row in rows]
            lines += [f"{method}: {line}" for line in protector.review(wanted, known)]
    return tuple(lines)
