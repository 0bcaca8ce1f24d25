"""Everything an experiment needs before work starts: faces, models, plan, and the key that names the run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.keys import content_key
from cloakbench.bench.kinds import check_kinds
from cloakbench.bench.plan import (
    Cell,
    Chunk,
    ConfigError,
    Unit,
    build_cells,
    build_chunks,
    make_protector,
    measured_target_rows,
    narrow,
    read_limits,
    unit_key,
)
from cloakbench.bench.poisoning.brief import Poisoning
from cloakbench.bench.poisoning.plan import plan_poisoning
from cloakbench.bench.reasons import cause_of
from cloakbench.bench.recognisers import build_recogniser, fingerprint
from cloakbench.bench.store import Store
from cloakbench.bench.stored_faces import write_faces
from cloakbench.bench.workshop import UNCHANGED, Brief, wanted_metrics
from cloakbench.datasets.base import Dataset, FaceSet, Manifest, Role
from cloakbench.models.base import ModelCard

_ROLES: tuple[Role, ...] = ("reference", "probe", "distractor", "auxiliary", "impostor")
HARMLESS = frozenset({"unused", "duplicate"})
"""Statuses of files that play no role without anything being wrong with them."""
_NOT_RESULTS = frozenset({"runtime", "logger", "paths", "hydra", "report", "description"})
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
        rejected: files of the data set that cannot be used, a line each: which, what is wrong, how to mend it.
        remarks: what does not fit between the photos and the files that a method reads, a line each.
        poisoning: the poisoning track, or None without a ``poisoning`` block. An experiment may consist of it alone;
            it then has no target, cell or chunk.
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
    rejected: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    poisoning: Poisoning | None = None

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
        inputs = {"config": settings, "models": models, "manifest": self.manifest_digest, "units": units}
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
        return Path(self.config.paths.runs) / f"{self.config.name}-{self.key[:8]}"

    @cached_property
    def target_rows(self) -> dict[str, int]:
        """Person to the auxiliary row that impersonation is measured on; empty without auxiliary faces."""
        auxiliary = self.faces.get("auxiliary")
        return measured_target_rows(auxiliary, self.chunks) if auxiliary is not None else {}


def single_choices(config: DictConfig) -> None:
    """Let ``method=``, ``model@surrogate=`` and ``model@target=`` replace the lists of the experiment, in place.

    Ensembles and limits of the experiment name surrogates of its list; with another surrogate they no longer apply.
    """
    if config.surrogate is not None:
        config.ensembles = {}
        config.single_surrogates = True
        for limit in (config.plan.limits or {}).values():
            limit.pop("surrogates", None)
    for one, many in (("surrogate", "surrogates"), ("target", "targets")):
        if config[one] is not None:
            config[many] = {config[one].name: config[one]}
            config[one] = None


def prepare(config: DictConfig) -> Experiment:
    """Build everything that must exist before work starts.

    Raises:
        ConfigError: the experiment asks for something that cannot be.
        ValueError: faces or weights cannot be had; the message says what to do.
    """
    check_kinds(config)
    single_choices(config)
    if not config.targets and config.poisoning is None:
        raise ConfigError("the experiment has no target: add one with model@target=NAME (see cloakbench list models)")
    store = Store(Path(config.paths.store))
    dataset = build_dataset(config)
    wanted = _ROLES if config.targets else ("auxiliary",)
    faces: dict[Role, FaceSet] = {role: dataset.faces(role) for role in wanted if role in dataset.roles()}
    if config.targets:
        _check_faces(faces, dataset)
    manifest = dataset.manifest()
    digest = manifest.digest()
    rejected = tuple(
        f"{entry.image_id}: {entry.status}: {entry.note}"
        for entry in dataset.rejected()
        if entry.status not in HARMLESS
    )

    models = {key: _plain(model) for group in (config.surrogates, config.targets) for key, model in group.items()}
    built = {key: build_recogniser(model, key) for key, model in models.items()}
    fingerprints = {key: fingerprint(models[key], model) for key, model in built.items()}
    transforms = {UNCHANGED: {}} | {instantiate(value).label: _plain(value) for value in config.transforms.values()}
    brief = Brief(
        store=store.root,
        faces={role: write_faces(store, digest, role, some) for role, some in faces.items()},
        models=models,
        fingerprints=fingerprints,
        embedding_sizes={key: model.card.embedding_size for key, model in built.items()},
        targets=tuple(config.targets),
        transforms=transforms,
        quality=tuple(config.quality.metrics),
        lpips_alex_path=config.quality.lpips_alex_path,
        seed=config.seed,
        embed_batch=config.plan.embed_batch,
        device=config.runtime.device,
    )
    wanted_metrics(brief)  # a misspelt metric is found before any work
    cells = build_cells(config) if config.targets else []
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
    by_id = {entry.image_id: entry.sha256 for entry in manifest.entries}
    digests: dict[Role, list[str]] = {
        role: [by_id[image_id] for image_id in some.image_id] for role, some in faces.items()
    }
    auxiliary_digest = brief.faces.get("auxiliary", "")
    limits = read_limits(config, {cell.method for cell in cells})
    parts = {method: narrow(chunks, faces["probe"], limit) for method, limit in limits.items()}
    units = []
    for cell in cells:
        for chunk in parts.get(cell.method, chunks):
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
        rejected,
        _remarks([unit for unit, _ in units], faces),
        poisoning,
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


def build_dataset(config: DictConfig) -> Dataset:
    """The data set of a composed config.

    Raises:
        ConfigError: a setting is missing or wrong.
    """
    try:
        dataset = instantiate(config.dataset)
    except Exception as problem:
        raise ConfigError(f"dataset: {cause_of(problem)}") from problem
    if not isinstance(dataset, Dataset):
        raise ConfigError(f"dataset: {config.dataset._target_} built a {type(dataset).__name__}, not a Dataset")
    return dataset


def _check_faces(faces: Mapping[Role, FaceSet], dataset: Dataset) -> None:
    for role in ("probe", "distractor"):
        if role not in faces or not len(faces[role]):
            raise ConfigError(f"data set {dataset.name} has no {role} faces, which identification needs")
    shared = set(faces["probe"].image_id) & set(faces["reference"].image_id) if "reference" in faces else set()
    if shared:
        raise ConfigError(f"{min(shared)} is both reference and probe; a mask must never see its probes")


def _plain(config: Any) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
