"""`Planning`: what protocols plan their publications and judges with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from cloakbench.bench.config.compose import resolved
from cloakbench.bench.config.networks import build_generator, generator_fingerprint
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import tensor_digest
from cloakbench.bench.plan.chunks import Chunk, build_chunks, narrow
from cloakbench.bench.plan.plan import Cell, Unit, build_cells
from cloakbench.bench.plan.publication import PROBES, PlannedUnit, Publication
from cloakbench.bench.plan.unit_keys import UnitDigests, unit_key
from cloakbench.bench.store.faces import write_faces
from cloakbench.bench.store.store import Store
from cloakbench.datasets.base import Dataset, FaceSet
from cloakbench.models.base import ModelCard
from cloakbench.models.generators import GeneratorCard


class Planning:
    """Everything that is known before work starts, and the plans that are made of it.

    Args:
        config: the composed config.
        dataset: its data set.
        fingerprints: model key to content digest.
        cards: model key to card.
        same_weights: model key to the keys of all models with its weights, its own among them: a target that shares
            them with a surrogate is white-box, whatever it is called and however its pixels are scaled.
        cells: of the probes, where they have been planned.
        transforms: label to resolved config of what may happen to a published photo, that of no transform included.

    Attributes:
        faces: name to faces that workers can read: the roles of the data set, and what protocols add.
        keys: the same to the keys of the stored faces.
        store: where faces are kept for the workers, and results.
        manifest: of the data set.
        generator: card and fingerprint of what makes other pictures of people; None until a method needs it.
    """

    def __init__(
        self,
        config: DictConfig,
        dataset: Dataset,
        *,
        fingerprints: Mapping[str, str],
        cards: Mapping[str, ModelCard],
        same_weights: Mapping[str, frozenset[str]],
        cells: Sequence[Cell] = (),
        transforms: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.config, self.dataset, self.store = config, dataset, Store(Path(config.paths.store))
        self.fingerprints, self.cards, self.same_weights = fingerprints, cards, same_weights
        self.transforms = transforms or {}
        self.faces: dict[str, FaceSet] = {}
        self.keys: dict[str, str] = {}
        self.manifest = dataset.manifest()
        self.manifest_digest = self.manifest.digest()
        self._sha256 = {entry.image_id: entry.sha256 for entry in self.manifest.entries}
        self.generator: tuple[GeneratorCard, str] | None = None
        self._cells = tuple(cells)
        self._originals: dict[tuple[str, tuple[int, ...]], str] = {}

    def add_faces(self, name: str, faces: FaceSet, label: str = "") -> None:
        """Store faces for the workers under a name; ``label`` tells them from others of the data set in their key."""
        self.faces[name] = faces
        self.keys[name] = write_faces(self.store, self.manifest_digest, label or name, faces)

    def named_faces(self, name: str, protocol: str) -> FaceSet:
        """Faces that a protocol asks for by name.

        Raises:
            ConfigError: there are none of that name.
        """
        if name not in self.faces:
            raise ConfigError(
                f"protocol {protocol} asks for {name} faces, and data set {self.dataset.name} gives none; there are: "
                f"{', '.join(self.faces) or 'none'}"
            )
        return self.faces[name]

    def probes(self) -> Publication:
        """The probes, protected by the methods of the experiment."""
        return self._probes

    @cached_property
    def _probes(self) -> Publication:
        chunks = build_chunks(
            self.faces["probe"],
            self.faces.get("reference"),
            self.faces.get("auxiliary"),
            people=self.config.plan.chunk_identities,
            seed=self.config.seed,
            aims=self.dataset.aims(),
        )
        cells = self._cells or tuple(build_cells(self.config))
        return self.publish(PROBES, "probe", "reference", cells, lambda _: chunks)

    def _generator_fingerprint(self) -> str:
        """Of the generator, which `build_cells` found there; it is built only where a method needs it."""
        if self.generator is None:
            config = resolved(self.config.generator)
            built = build_generator(config)
            self.generator = built.card, generator_fingerprint(config, built)
        return self.generator[1]

    def publish(
        self,
        name: str,
        photos: str,
        references: str,
        cells: Sequence[Cell],
        chunks_of: Callable[[Cell], Sequence[Chunk]],
        *,
        image_metrics: tuple[str, ...] | None = None,
        shown: tuple[int, ...] = (),
    ) -> Publication:
        """A publication with the units of its cells.

        Args:
            name: of the publication.
            photos, references: names of faces.
            cells: what protects them.
            chunks_of: the people, split as a cell needs it.
            image_metrics, shown: see `Publication`.
        """
        faces = self.named_faces(photos, name)
        digests = UnitDigests(
            photos=self._digests(photos),
            references=self._digests(references),
            auxiliary=self._digests("auxiliary"),
            networks=self.fingerprints,
            auxiliary_faces=self.keys.get("auxiliary", ""),
            reference_faces=self.faces.get(references),
            generator=self._generator_fingerprint,
            pixels=lambda row: self.original(references, (row,)),
        )
        units = tuple(
            tuple(
                self._unit(name, photos, cell, chunk, digests) for chunk in narrow(chunks_of(cell), faces, cell.limit)
            )
            for cell in cells
        )
        whole = tuple(chunks_of(cells[0])) if cells else ()
        return Publication(name, photos, references, faces, tuple(cells), whole, units, image_metrics, shown)

    def original(self, name: str, rows: tuple[int, ...]) -> str:
        """Digest of some of the faces of a name; each is taken once."""
        if (name, rows) not in self._originals:
            faces = self.faces[name]
            everything = len(rows) == len(faces) and rows == tuple(range(len(faces)))
            self._originals[name, rows] = tensor_digest(faces.images if everything else faces.images[list(rows)])
        return self._originals[name, rows]

    def _unit(self, name: str, photos: str, cell: Cell, chunk: Chunk, digests: UnitDigests) -> PlannedUnit:
        config = self.config
        key, inputs = unit_key(cell, chunk, self.faces[photos], digests, config.seed, config.runtime.precision)
        return PlannedUnit(Unit(cell, chunk, key, name), inputs, self.original(photos, chunk.probes))

    def _digests(self, name: str) -> list[str]:
        """Digest of each photo by row, from the manifest."""
        return [self._sha256[image_id] for image_id in self.faces[name].image_id] if name in self.faces else []
