"""Estimate of an experiment from its plan: photos, disk, time; upper bounds where nothing better is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.config.compose import resolved
from cloakbench.bench.config.networks import build_recogniser
from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.engine.estimates import Speed
from cloakbench.bench.plan.passes import NETWORK, expected_passes
from cloakbench.bench.plan.plan import Cell, build_cells
from cloakbench.bench.processes.pool import workers_of

PHOTO_BYTES = 112 * 112 * 3
"""A crop without compression; PNG of a photo with noise on it comes close."""

_USUAL_EMBEDDING = 512
_USUAL_PHOTOS = 10
"""Of a person, where the data set takes all there are; what a method does once for a person is spread over them."""
_BATCH = 10
_SIDE = 112
_TRAINED_PEOPLE = 20
"""Size of the last layer of a classifier that is timed; it hardly counts."""


def probe_photos(config: DictConfig) -> int | None:
    """Photos that each cell protects, at most; None where only the photos themselves can tell."""
    people = config.dataset.get("identities") or config.dataset.get("max_identities")
    each = config.dataset.get("probes_per_identity")
    return int(people) * int(each) if people and each else None


def cell_photos(cell: Cell, config: DictConfig) -> int:
    """Photos of one cell, of which the plan may leave some out; for experiments whose photos are counted."""
    dataset, limit = config.dataset, cell.limit
    people = int(dataset.get("identities") or dataset.max_identities)
    each = int(dataset.probes_per_identity)
    return min(people, limit.people or people) * min(each, limit.photos or each)


def disk_bytes(config: DictConfig, cells: Sequence[Cell] | None = None) -> int | None:
    """What protected photos and their embeddings take in the store, at most; None where the photos are not counted.

    ``cells`` are those of the experiment, where they are known already.
    """
    photos = probe_photos(config)
    if photos is None:
        return None
    sizes = [OmegaConf.select(model, "network.embedding_size") or _USUAL_EMBEDDING for model in config.targets.values()]
    views = 1 + len(config.transforms)
    per_photo = PHOTO_BYTES + sum(4 * int(size) * views for size in sizes)
    return sum(cell_photos(cell, config) for cell in (build_cells(config) if cells is None else cells)) * per_photo


@dataclass
class Estimator:
    """Estimates the time of experiments; times each network once and counts each method's passes once."""

    speeds: dict[str, Speed] = field(default_factory=dict)
    passes: dict[str, tuple[float, float]] = field(default_factory=dict)

    def seconds(self, config: DictConfig) -> float | None:
        """Time of all network passes of an experiment on its workers: protecting, and answering of the targets.

        Rendering or detecting faces, training stages that serve all photos, image metrics and the report are not in it,
        nor is what protocols with photos of their own take. None where photos are not counted.

        Raises:
            ValueError: a model or method cannot be built.
        """
        if probe_photos(config) is None:
            return None
        return self._total(config, lambda cell: cell_photos(cell, config))

    def seconds_per_photo(self, config: DictConfig) -> float:
        """The same for each photo that is protected, where only the photos themselves can tell how many there are.

        Raises:
            ValueError: a model or method cannot be built.
        """
        return self._total(config, lambda cell: 1)

    def _total(self, config: DictConfig, photos_of: Callable[[Cell], int]) -> float:
        device = torch.device(config.runtime.device)
        views = 1 + len(config.transforms)
        answering = views * sum(self.speed(model, device).forward for model in config.targets.values())
        dataset = config.dataset
        each = int(dataset.get("probes_per_identity") or _USUAL_PHOTOS)
        references = int(dataset.get("references_per_identity") or 1)
        total = 0.0
        for cell in build_cells(config):
            photos = photos_of(cell)
            total += photos * (self.cell_seconds(cell, config, photos, (each, references)) + answering)
        return total / max(1, workers_of(config.runtime.workers))

    def cell_seconds(self, cell: Cell, config: DictConfig, photos: int, numbers: tuple[int, int]) -> float:
        """Seconds per photo of one cell; passes are spread evenly over an ensemble.

        Args:
            cell: what is to be done.
            config: of the experiment.
            photos: how many the cell protects in all.
            numbers: photos and references of a person.
        """
        device = torch.device(config.runtime.device)
        trained = cell.config.get(NETWORK)
        if not cell.surrogates and trained is None:
            return 0.0
        if cell.protector.scope == "dataset":  # one search over all photos
            numbers = (photos, numbers[1])
        forward, backward = self._passes(cell, numbers)
        speeds = [self.speed(config.surrogates[key], device) for key in cell.surrogates]
        speeds += [self.classifier_speed(trained, device)] if trained is not None else []
        return sum(forward * one.forward + backward * one.backward for one in speeds) / len(speeds)

    def speed(self, model: DictConfig, device: torch.device) -> Speed:
        """Of a recogniser, from its config."""
        plain = resolved(model)
        key = str(plain)
        if key not in self.speeds:
            self.speeds[key] = measure_speed(build_recogniser(plain, plain["name"]).to(device).embed, device)
        return self.speeds[key]

    def classifier_speed(self, network: Mapping[str, Any], device: torch.device) -> Speed:
        """Of a classifier that somebody trains, from the config of what makes it."""
        key = str(network)
        if key not in self.speeds:
            with torch.random.fork_rng(devices=[]):  # layers draw their first weights
                made = instantiate(dict(network), _convert_="all")(classes=_TRAINED_PEOPLE, size=(_SIDE, _SIDE))
            self.speeds[key] = measure_speed(made.eval().to(device), device)
        return self.speeds[key]

    def _passes(self, cell: Cell, numbers: tuple[int, int]) -> tuple[float, float]:
        key = str((cell.method, {**cell.config, "epsilon_255": None}, len(cell.surrogates), numbers))
        if key not in self.passes:
            self.passes[key] = expected_passes(cell.config, cell.method, *numbers, surrogates=len(cell.surrogates))
        return self.passes[key]


def measure_speed(network: Callable[[torch.Tensor], torch.Tensor], device: torch.device) -> Speed:
    """Times a batch of noise, in as many threads as torch has been told to use: one, for the time of a worker."""
    images = torch.rand(_BATCH, 3, _SIDE, _SIDE, generator=generator("speed")).to(device)
    with torch.no_grad():
        forward = _seconds_of(lambda: network(images), device)
    images.requires_grad_()
    both = _seconds_of(lambda: torch.autograd.grad(network(images).sum(), images), device)
    return Speed(forward / _BATCH, max(0.0, both - forward) / _BATCH)


def _seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """The faster of two calls, after one that does not count; on a CPU its own time, whatever else the machine does."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    call()
    taken = []
    for _ in range(2):
        begun = clock()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(clock() - begun)
    return min(taken)
