"""`Worker`: what a worker process holds while it does jobs: faces, networks, protocols, the store."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from cloakbench.bench.config.networks import build_attribute_model, build_generator, build_recogniser
from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.core.machine import FULL_PRECISION
from cloakbench.bench.engine.cleaning.purified import Purified, purified_inputs
from cloakbench.bench.engine.device.ahead import ReadAhead
from cloakbench.bench.engine.device.embedding import Card, EmbeddingPasses
from cloakbench.bench.engine.device.precision import at_precision
from cloakbench.bench.engine.unit_state import unit_state
from cloakbench.bench.plan.networks import AttributeNetwork
from cloakbench.bench.plan.plan import Cell
from cloakbench.bench.plan.publication import ChunkPhotos, UnitState
from cloakbench.bench.processes.malloc import keep_freed_memory
from cloakbench.bench.store.errors import EntryGoneError, KeysGoneError
from cloakbench.bench.store.faces import read_faces
from cloakbench.bench.store.store import PRIVATE, Store
from cloakbench.datasets.attribute_task import AttributeTask
from cloakbench.datasets.base import FaceSet
from cloakbench.methods.base import Protector
from cloakbench.methods.context import NetworkKind, ProtectContext
from cloakbench.models.attribute_surrogate import AttributeSurrogate
from cloakbench.models.base import Recogniser
from cloakbench.models.generators import Generator

if TYPE_CHECKING:
    from cloakbench.bench.engine.protocol import Protocol

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedAs:
    """Where a worker finds the photos of a publication: names of stored faces."""

    photos: str
    references: str


@dataclass(frozen=True)
class UnitPhotos:
    """The photos of a unit as they are stored, uint8.

    Attributes:
        images: what is protected, ``[N, 3, H, W]``.
        references: other photos of each person, ``[P, R, 3, H, W]``; None where the unit has none.
        aims: whom each person should be taken for, ``[P, 3, H, W]``; None where nobody is aimed at.
    """

    images: Tensor
    references: Tensor | None
    aims: Tensor | None


@dataclass(frozen=True)
class WorkerSpec:
    """Everything a worker must know, in picklable form.

    Attributes:
        store: root of the store.
        faces: name to key of the stored faces.
        models: model key to resolved config.
        generator: resolved config of what makes other pictures of people; empty for none.
        fingerprints: model key to content digest.
        embedding_sizes: model key to length of its embeddings.
        protocols: protocol key to resolved config.
        metrics: key of an added metric to resolved config.
        publications: name to where its photos are.
        seed: run seed.
        embed_batch: photos per forward pass of an embedding; part of the plan.
        devices: where to compute; workers take turns in choosing one.
        precision: in which recognisers compute.
        compiled: whether they are compiled.
        attribute_networks: key to what makes an attribute network.
        attribute_task: resolved config of what they answer; empty for none.
    """

    store: Any
    faces: Mapping[str, str]
    models: Mapping[str, Mapping[str, Any]]
    generator: Mapping[str, Any]
    fingerprints: Mapping[str, str]
    embedding_sizes: Mapping[str, int]
    protocols: Mapping[str, Mapping[str, Any]]
    metrics: Mapping[str, Mapping[str, Any]]
    publications: Mapping[str, PublishedAs]
    seed: int
    embed_batch: int
    devices: tuple[str, ...]
    precision: str
    compiled: bool
    attribute_networks: Mapping[str, AttributeNetwork] = field(default_factory=dict)
    attribute_task: Mapping[str, Any] = field(default_factory=dict)

    def learnt_from(self, transform: Mapping[str, Any]) -> dict[str, Any]:
        """What decides what a transform learns, for keys, beside its resolved config; empty for one that does not.

        Raises:
            ConfigError: as `purified_inputs`.
        """
        found = purified_inputs(transform, self.fingerprints, self.faces.get("auxiliary"), self.seed)
        return {**found, "precision": self.precision} if found and self.precision != FULL_PRECISION else found


class Worker:
    """Does jobs. What several of them need is built or read once per process.

    Args:
        spec: what to know.
        number: of this worker, from 0, which says on which of the devices it computes.
    """

    def __init__(self, spec: WorkerSpec, number: int = 0) -> None:
        torch.set_num_threads(1)  # thread count changes the order of float sums
        keep_freed_memory()
        self.spec = spec
        self.store = Store(spec.store)
        self.device = torch.device(spec.devices[number % len(spec.devices)])
        self.ahead: ReadAhead[UnitPhotos] = ReadAhead()
        self._passes = EmbeddingPasses(
            spec.embed_batch, self.device, Card.of(self.device), partial(to_float, device=self.device)
        )
        self._faces: dict[str, FaceSet] = {}
        self._networks: dict[str, Recogniser] = {}
        self._attribute_networks: dict[str, AttributeSurrogate] = {}
        self._generator: Generator | None = None
        self._protectors: dict[tuple[str, str], Protector] = {}
        self._made: dict[str, Any] = {}
        self._states: dict[str, UnitState] = {}
        self._stack: tuple[str, Tensor] | None = None

    def faces(self, name: str) -> FaceSet:
        """The stored faces of a name."""
        if name not in self._faces:
            self._faces[name] = read_faces(self.store, self.spec.faces[name])
        return self._faces[name]

    def network(self, key: str) -> Recogniser:
        """A recogniser of the experiment."""
        if key not in self._networks:
            built, spec = build_recogniser(self.spec.models[key], key), self.spec
            self._networks[key] = at_precision(built, self.device, spec.precision, compiled=spec.compiled)
        return self._networks[key]

    def task(self) -> AttributeTask:
        """What the attribute networks of the experiment answer."""
        return self.made(self.spec.attribute_task)

    def attribute_network(self, key: str) -> AttributeSurrogate:
        """An attribute network of the experiment, in float32 whatever recognisers compute in."""
        if key not in self._attribute_networks:
            made = self.spec.attribute_networks[key]
            task = self.task() if made.attributes is None else self.task().first(made.attributes)
            built = AttributeSurrogate(build_attribute_model(made.model, key), task)
            self._attribute_networks[key] = built.to(self.device)
        return self._attribute_networks[key]

    def attacked(self, keys: Sequence[str]) -> dict[NetworkKind, tuple[nn.Module, ...]]:
        """Networks of the experiment that a method may differentiate, by kind."""
        others = self.spec.attribute_networks
        found: dict[NetworkKind, tuple[nn.Module, ...]] = {
            NetworkKind.RECOGNISER: tuple(self.network(key) for key in keys if key not in others)
        }
        attributes = tuple(self.attribute_network(key) for key in keys if key in others)
        return found | ({NetworkKind.ATTRIBUTE_SURROGATE: attributes} if attributes else {})

    @torch.no_grad()
    def attribute_answers(self, key: str, images: Tensor) -> Tensor:
        """What an attribute network says of uint8 photos ``[N, 3, H, W]``: probabilities of the classes of every
        attribute of the task, ``[N, sum C]`` on the CPU, in passes of ``embed_batch`` photos."""
        network = self.attribute_network(key)
        batches = images.split(self.spec.embed_batch)
        return torch.cat([network.probabilities(to_float(one, self.device)) for one in batches]).cpu()

    def generator(self) -> Generator:
        """The generator of the experiment, on this worker's device, in float32 whatever recognisers compute in."""
        if self._generator is None:
            self._generator = build_generator(self.spec.generator).to(self.device)
        return self._generator

    def embeddings(self, key: str, images: Tensor) -> tuple[Tensor, Inputs]:
        """What a recogniser of the experiment makes of uint8 photos ``[N, 3, H, W]``: embeddings ``[N, D]`` on the CPU,
        and a note on how, empty where it was as planned."""
        return self._passes.embed(key, self.network(key), images)

    def protocol(self, key: str) -> Protocol:
        """A protocol of the experiment."""
        return self.made(self.spec.protocols[key])

    def protector(self, cell: Cell) -> Protector:
        """The method of a cell."""
        place = (cell.label, repr(cell.config))  # variants of one name may stand in two blocks
        if place not in self._protectors:
            self._protectors[place] = cell.protector
        return self._protectors[place]

    def made(self, settings: Mapping[str, Any]) -> Any:
        """What a resolved block with ``_target_`` describes, such as a transform; one that learns has learnt."""
        key = repr(settings)
        if key not in self._made:
            made = instantiate(dict(settings))
            if isinstance(made, Purified):
                networks, faces = self.attacked(made.surrogates), self.faces("auxiliary")
                context = ProtectContext(networks, faces, self.spec.seed, self.device)
                made.learn(self.store, context, self.spec.learnt_from(settings))
            self._made[key] = made
        return self._made[key]

    def state(self, unit: str) -> UnitState:
        """What is stored of a unit; read once where its photos are there."""
        if unit not in self._states:
            state = unit_state(self.store, unit)
            if not state.about:
                return state
            self._states[unit] = state
        return self._states[unit]

    def private(self, chunk: ChunkPhotos) -> dict[str, Tensor]:
        """What only the owners of a chunk's photos have, such as keys of veils; nothing where their method gave none.

        An answer or a record must not hold it.

        Raises:
            KeysGoneError: it is gone from the store, as its owner may wish; it is not made again.
        """
        if not chunk.unit or not self.state(chunk.unit).about.get("private"):
            return {}
        stored = self.store.read_tensors(PRIVATE, chunk.unit)
        if stored is None:
            raise KeysGoneError(
                f"the key of these photos is not in {self.store.root / PRIVATE}: put it back, or remove the photos "
                f"({self.store.path('protected', chunk.unit, '.zip')}) to protect them anew"
            )
        return stored[0]

    def photos(self, chunk: ChunkPhotos) -> Tensor:
        """The photos of a chunk as they were published, uint8 ``[N, 3, H, W]``; clean ones where it has no unit.

        Raises:
            EntryGoneError: they are gone from the store.
        """
        if not chunk.unit:
            faces = self.faces(chunk.publication)
            everything = len(chunk.rows) == len(faces) and chunk.rows == tuple(range(len(faces)))
            return faces.images if everything else faces.images[list(chunk.rows)]
        if self._stack is None or self._stack[0] != chunk.unit:
            stored = self.store.read_photos("protected", chunk.unit)
            if stored is None:
                raise EntryGoneError(f"protected photos {chunk.unit} are gone from {self.store.root}")
            self._stack = (chunk.unit, stored[0])
        return self._stack[1]

    def originals(self, chunk: ChunkPhotos) -> FaceSet:
        """The faces that a chunk's photos were made from."""
        return self.faces(self.spec.publications[chunk.publication].photos).select(chunk.rows)


def to_float(images: Tensor, device: torch.device) -> Tensor:
    """Stored uint8 photos as float32 in [0, 1] on a device; a GPU gets them as bytes, while it goes on working."""
    if device.type == "cuda":
        images = pinned(images, device).to(device, non_blocking=True)
    return images.to(device=device, dtype=torch.float32) / 255


def pinned(images: Tensor, device: torch.device) -> Tensor:
    """Photos in memory from which a GPU can fetch them by itself; the same photos for another device."""
    return images.pin_memory() if device.type == "cuda" and images.device.type == "cpu" else images
