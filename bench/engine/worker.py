"""What a worker process does: protect a chunk, save it, read it back, measure and embed it.

Only the read-back 8-bit photos are ever measured (design invariant 1). Embeddings are named by the pixels they come
from, so that a photo is embedded once per model even when several methods return it unchanged.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from torch import Tensor

from cloakbench.bench.config.networks import build_recogniser
from cloakbench.bench.config.node_keys import node_code, node_settings
from cloakbench.bench.core.code_digests import code_digest
from cloakbench.bench.core.errors import reason_of
from cloakbench.bench.core.hashing import content_key, tensor_digest
from cloakbench.bench.core.machine import machine_trouble
from cloakbench.bench.engine.malloc import keep_freed_memory
from cloakbench.bench.engine.plan import Chunk, Unit, make_protector
from cloakbench.bench.engine.pool import Busy
from cloakbench.bench.engine.training import train_stages
from cloakbench.bench.engine.transforms import Transform
from cloakbench.bench.protocols.quality.metrics import QualityMetric, quality_metrics, quality_records
from cloakbench.bench.store.embeddings import embedding_inputs, kept
from cloakbench.bench.store.faces import read_faces
from cloakbench.bench.store.store import Store, StoreError
from cloakbench.datasets.base import FaceSet, Role
from cloakbench.methods.base import METHOD_FAILED, Protected
from cloakbench.methods.context import Need, NetworkKind, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.models.base import Recogniser, embed_in_batches

log = logging.getLogger(__name__)

UNCHANGED = "none"
"""Label of the transform that leaves photos as they are."""

_BUSY_SECONDS = 0.1
"""Pause before a unit that another process works on is tried again."""


@dataclass(frozen=True)
class Brief:
    """Everything a worker must know, in picklable form.

    Attributes:
        store: root of the store.
        faces: role to key of the stored faces.
        models: model key to resolved config.
        fingerprints: model key to content digest.
        embedding_sizes: model key to length of its embeddings.
        targets: keys of the models that judge protected photos.
        transforms: label to resolved transform config.
        quality: names of the image metrics.
        lpips_alex_path: where the AlexNet weights of LPIPS lie, or None.
        seed: run seed.
        embed_batch: photos per forward pass of an embedding; part of the plan.
        device: where to compute.
    """

    store: Path
    faces: Mapping[str, str]
    models: Mapping[str, Mapping[str, Any]]
    fingerprints: Mapping[str, str]
    embedding_sizes: Mapping[str, int]
    targets: tuple[str, ...]
    transforms: Mapping[str, Mapping[str, Any]]
    quality: tuple[str, ...]
    lpips_alex_path: str | None
    seed: int
    embed_batch: int
    device: str


@dataclass(frozen=True)
class RoleJob:
    """Embed clean faces of a role with one model; ``rows`` None means all of them."""

    role: Role
    model: str
    rows: tuple[int, ...] | None = None


@dataclass(frozen=True)
class UnitReport:
    """What the parent needs to know of a finished unit."""

    seconds: float
    photos: int
    failed: int


class Workshop:
    """Handler of a worker process: answers `RoleJob` and ``(Unit, inputs)`` jobs."""

    def __init__(self, brief: Brief) -> None:
        torch.set_num_threads(1)
        keep_freed_memory()
        self.brief = brief
        self.store = Store(brief.store)
        self.device = torch.device(brief.device)
        self.transforms: dict[str, Transform] = {
            label: instantiate(dict(config)) for label, config in brief.transforms.items() if label != UNCHANGED
        }
        self._faces: dict[str, FaceSet] = {}
        self._models: dict[str, Recogniser] = {}

    def __call__(self, job: RoleJob | tuple[Unit, dict[str, Any]]) -> UnitReport | Busy:
        if isinstance(job, RoleJob):
            faces = self.faces(job.role)
            faces = faces if job.rows is None else faces.select(job.rows)
            self.embeddings(job.model, UNCHANGED, faces.images, faces.image_id)
            return UnitReport(0.0, len(faces), 0)
        unit, inputs = job
        with self.store.claim(unit.key, wait=False) as mine:
            if mine:
                return self._work(unit, inputs)
        time.sleep(_BUSY_SECONDS)
        return Busy()

    def _work(self, unit: Unit, inputs: dict[str, Any]) -> UnitReport | Busy:
        stored = self.store.read_photos("protected", unit.key)
        if stored is None:
            try:
                about = self._protect(unit, inputs)
                if isinstance(about, Busy):
                    return about
            except Exception as problem:  # a method may raise anything; its photos become rows with a status
                if isinstance(problem, StoreError) or machine_trouble(problem):
                    raise
                reason = reason_of(problem)
                failure = {"status": METHOD_FAILED, "reason": reason, "details": traceback.format_exc()}
                self.store.write_json("failures", unit.key, failure)
                return UnitReport(0.0, len(unit.chunk.probes), len(unit.chunk.probes))
            stored = self.store.read_photos("protected", unit.key)
            if stored is None:
                raise StoreError(f"{unit.cell.label}: the photos just saved cannot be read back; check the disk")
        photos, about = stored
        self._respond(unit, photos, about)
        failed = sum(status != "ok" for status in about["status"])
        return UnitReport(about["cost"]["seconds"], len(about["status"]), failed)

    def _protect(self, unit: Unit, inputs: dict[str, Any]) -> dict[str, Any] | Busy:
        """Protect, save, and return what is stored about the photos; busy while another process trains the method."""
        protector = make_protector(unit.cell.config, unit.cell.method)
        context = ProtectContext(
            {NetworkKind.RECOGNISER: tuple(self.model(key) for key in unit.cell.surrogates)},
            self.faces("auxiliary") if Need.AUXILIARY in protector.needs and "auxiliary" in self.brief.faces else None,
            self.brief.seed,
            self.device,
        )
        probes = self.faces("probe")
        training = {}
        if protector.is_trained:
            trained = train_stages(self.store, protector, context, inputs, unit.cell.label)
            if trained is None:
                time.sleep(_BUSY_SECONDS)
                return Busy()
            context = replace(context, trained=trained.tensors)
            training = {"training": vars(trained.cost)}
        protected = protector.protect(self.photo_batch(unit.chunk), context)
        about = _about(protected, inputs) | training
        names = [probes.image_id[row] for row in unit.chunk.probes]
        self.store.write_photos("protected", unit.key, protected.images, names, about)
        return about

    def _respond(self, unit: Unit, photos: Tensor, about: Mapping[str, Any]) -> None:
        """Measure the saved photos and embed them with every target after every transform."""
        probes = self.faces("probe")
        names = tuple(probes.image_id[row] for row in unit.chunk.probes)
        identity = [probes.identity[row] for row in unit.chunk.probes]
        original = probes.images[list(unit.chunk.probes)]
        key = quality_key(self.brief, tensor_digest(original), tensor_digest(photos), about["status"])
        if not self.store.is_whole("quality", key, ".parquet"):
            records = quality_records(
                wanted_metrics(self.brief), original, photos, image_id=names, identity=identity, status=about["status"]
            )
            self.store.write_frame("quality", key, records)

        refusal: Exception | None = None
        for label in self.brief.transforms:
            for target in self.brief.targets:
                try:
                    self.embeddings(target, label, photos, names)
                except Exception as problem:  # one target that raises must not keep the others from answering
                    if isinstance(problem, StoreError) or machine_trouble(problem):
                        raise
                    refusal = problem
                    refusal.add_note(f"target {target}")
        if refusal is not None:
            raise refusal

    def embeddings(self, model: str, label: str, images: Tensor, names: Sequence[str]) -> Tensor:
        """Embeddings ``[N, D]`` of stored photos after a transform, computed once per content."""
        _, inputs = embedding_key(self.brief, model, label, tensor_digest(images), names)

        def embed() -> Tensor:
            seen = images if label == UNCHANGED else self.transforms[label](images, names)
            return embed_in_batches(self.model(model), seen, self.brief.embed_batch, self.device)

        return kept(self.store, inputs, embed)

    def photo_batch(self, chunk: Chunk) -> PhotoBatch:
        """The photos of a chunk as a method sees them."""
        probes = self.faces("probe")
        rows = list(chunk.probes)
        place = {identity: number for number, identity in enumerate(chunk.identities)}
        references = aim_photos = None
        reference_id: tuple[tuple[str, ...], ...] = ()
        if "reference" in self.brief.faces and all(chunk.references):
            given = self.faces("reference")
            references = torch.stack([to_float(given.images[list(r)], self.device) for r in chunk.references])
            reference_id = tuple(tuple(given.image_id[row] for row in r) for r in chunk.references)
        if chunk.targets:
            aim_photos = to_float(self.faces("auxiliary").images[list(chunk.targets)], self.device)
        return PhotoBatch(
            images=to_float(probes.images[rows], self.device),
            image_id=tuple(probes.image_id[row] for row in rows),
            owner=torch.tensor([place[probes.identity[row]] for row in rows], device=self.device),
            identities=chunk.identities,
            references=references,
            reference_id=reference_id,
            landmarks=None if probes.landmarks is None else probes.landmarks[rows].to(self.device),
            aim_photos=aim_photos,
        )

    def faces(self, role: str) -> FaceSet:
        """The stored faces of a role, read once per process."""
        if role not in self._faces:
            self._faces[role] = read_faces(self.store, self.brief.faces[role])
        return self._faces[role]

    def model(self, key: str) -> Recogniser:
        """A recogniser, built once per process."""
        if key not in self._models:
            self._models[key] = build_recogniser(self.brief.models[key], key).to(self.device)
        return self._models[key]


def embedding_key(
    brief: Brief, model: str, label: str, pixels: str, names: Sequence[str]
) -> tuple[str, dict[str, Any]]:
    """Key and inputs of the embeddings of the photos with digest ``pixels``.

    Names count only after a transform, which may draw noise by name.
    """
    inputs = embedding_inputs(brief.fingerprints[model], pixels, brief.embed_batch)
    if label != UNCHANGED:
        transform = brief.transforms[label]
        inputs |= {"transform": node_settings(transform), "names": list(names)}
        inputs["code"] = node_code(transform, base=("cloakbench.bench.engine.transforms",))
    return content_key("embeddings", inputs), inputs


def wanted_metrics(brief: Brief) -> list[QualityMetric]:
    """The image metrics of the experiment, in its order."""
    known = {metric.name: metric for metric in quality_metrics(brief.lpips_alex_path)}
    return [known[name] for name in brief.quality]


def quality_key(brief: Brief, original: str, protected: str, status: Sequence[str]) -> str:
    """Key of the image metrics of a pair of photo stacks, given by their digests."""
    inputs = {
        "original": original,
        "protected": protected,
        "status": list(status),
        "metrics": [[metric.name, not metric.missing] for metric in wanted_metrics(brief)],
        "code": code_digest("cloakbench.bench.protocols.quality.metrics"),
    }
    return content_key("quality", inputs)


def to_float(images: Tensor, device: torch.device) -> Tensor:
    """Stored uint8 photos as float32 in [0, 1]."""
    return images.to(device=device, dtype=torch.float32) / 255


def training_cost(abouts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Columns of the cost table for what a method trained once; all units of a cell tell the same."""
    training = abouts[0].get("training", {}) if abouts else {}
    return {
        "training_seconds": training.get("seconds", 0.0),
        "training_passes": training.get("forward_images", 0) + training.get("backward_images", 0),
    }


def _about(protected: Protected, inputs: dict[str, Any]) -> dict[str, Any]:
    return {
        "inputs": inputs,
        "status": list(protected.status),
        "linf_255": protected.linf_255.tolist(),
        "l2_255": protected.l2_255.tolist(),
        "cost": vars(protected.cost),
        "warnings": list(protected.warnings),
        "facts": dict(protected.facts),
        "pixels": tensor_digest(protected.images),
    }
