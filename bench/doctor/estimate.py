"""Estimate of an experiment from its plan: photos, disk, time; upper bounds where nothing better is known."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import date
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.config.compose import resolved
from cloakbench.bench.config.networks import build_attribute_model, build_recogniser
from cloakbench.bench.config.plug_ins import targets
from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.side_cache import SideCache, key_of, project_digest
from cloakbench.bench.engine.device.devices import processes_of
from cloakbench.bench.engine.device.precision import at_precision
from cloakbench.bench.engine.estimates import Speed
from cloakbench.bench.plan.networks import attribute_networks, task_of
from cloakbench.bench.plan.passes import NETWORK, expected_passes
from cloakbench.bench.plan.plan import Cell
from cloakbench.methods.context import Need
from cloakbench.models.attribute_surrogate import AttributeSurrogate

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


def published_photos(config: DictConfig, cells: Sequence[Cell]) -> int | None:
    """Photos of all cells and their clean originals, at most; None where nobody counts photos."""
    clean = probe_photos(config)
    return None if clean is None else clean + sum(cell_photos(cell, config) for cell in cells)


def disk_bytes(config: DictConfig, cells: Sequence[Cell]) -> int | None:
    """What protected photos of ``cells``, their embeddings and views take in the store, at most; None where nobody
    counts photos."""
    photos = probe_photos(config)
    if photos is None:
        return None
    sizes = [OmegaConf.select(model, "network.embedding_size") or _USUAL_EMBEDDING for model in config.targets.values()]
    views = 1 + len(config.transforms)
    per_photo = PHOTO_BYTES + sum(4 * int(size) * views for size in sizes)
    people = int(config.dataset.get("identities") or config.dataset.max_identities)
    made = {cell.protector.view_count for cell in cells if Need.GENERATOR in cell.protector.needs}
    return sum(cell_photos(cell, config) for cell in cells) * per_photo + people * sum(made) * PHOTO_BYTES


@dataclass
class Estimator:
    """Estimates the time of experiments.

    Counts of passes are kept while the project and the method's settings are the same. Times of networks are kept for
    a day on one machine: they are the fastest of two calls in a process's own time, which swings by a tenth with what
    else the machine does and hardly with the day. Both only for networks and methods of the project itself.
    """

    speeds: SideCache = field(default_factory=lambda: SideCache("speeds", most=512))
    passes: SideCache = field(default_factory=lambda: SideCache("passes", most=512))
    seen: dict[str, tuple[float, float]] = field(default_factory=dict)

    def save(self) -> None:
        """Keep what was found out."""
        self.speeds.save()
        self.passes.save()

    def seconds(self, config: DictConfig, cells: Sequence[Cell]) -> float | None:
        """Time of all network passes of an experiment with ``cells`` on its workers: protecting, and answering.

        Rendering or detecting faces, training stages that serve all photos, making views, image metrics and the report
        are not in it, nor is what protocols with photos of their own take. None where photos are not counted.

        Raises:
            ValueError: a model or method cannot be built.
        """
        if probe_photos(config) is None:
            return None
        return self._total(config, cells, lambda cell: cell_photos(cell, config))

    def seconds_per_photo(self, config: DictConfig, cells: Sequence[Cell]) -> float:
        """The same for each photo that is protected, where only the photos themselves can tell how many there are.

        Raises:
            ValueError: a model or method cannot be built.
        """
        return self._total(config, cells, lambda cell: 1)

    def _total(self, config: DictConfig, cells: Sequence[Cell], photos_of: Callable[[Cell], int]) -> float:
        views = 1 + len(config.transforms)
        answering = views * sum(self.speed(model, config).forward for model in config.targets.values())
        dataset = config.dataset
        each = int(dataset.get("probes_per_identity") or _USUAL_PHOTOS)
        references = int(dataset.get("references_per_identity") or 1)
        total = 0.0
        for cell in cells:
            photos = photos_of(cell)
            total += photos * (self.cell_seconds(cell, config, photos, (each, references)) + answering)
        return total / max(1, processes_of(config))

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
        own = config.surrogates
        speeds = [self.speed(own[key], config) for key in cell.surrogates if key in own]
        speeds += [self.attribute_speed(key, config) for key in cell.surrogates if key not in own]
        speeds += [self.classifier_speed(trained, device)] if trained is not None else []
        return sum(forward * one.forward + backward * one.backward for one in speeds) / len(speeds)

    def speed(self, model: DictConfig, config: DictConfig) -> Speed:
        """Of a recogniser, from its config, as an experiment runs it."""
        plain, runtime = resolved(model), config.runtime
        device = torch.device(runtime.device)

        def measure() -> Speed:
            built = build_recogniser(plain, plain["name"])
            placed = at_precision(built, device, runtime.precision, compiled=runtime.compile)
            return measure_speed(placed.embed, device)

        run_as = {"model": plain, "precision": runtime.precision, "compile": runtime.compile}
        return self._speed(run_as, device, measure)

    def attribute_speed(self, key: str, config: DictConfig) -> Speed:
        """Of an attribute network, as an experiment runs it: of a pass through all networks behind its key."""
        made = attribute_networks(config)[key]
        device = torch.device(config.runtime.device)

        def measure() -> Speed:
            model = build_attribute_model(made.model, key)
            network = AttributeSurrogate(model, task_of(config, made)).to(device)
            return measure_speed(network.probabilities, device)

        return self._speed({"model": made.model, "attributes": made.attributes}, device, measure)

    def classifier_speed(self, network: Mapping[str, Any], device: torch.device) -> Speed:
        """Of a classifier that somebody trains, from the config of what makes it."""

        def measure() -> Speed:
            with torch.random.fork_rng(devices=[]):  # layers draw their first weights
                made = instantiate(dict(network), _convert_="all")(classes=_TRAINED_PEOPLE, size=(_SIDE, _SIDE))
            return measure_speed(made.eval().to(device), device)

        return self._speed(network, device, measure)

    def _speed(self, network: Mapping[str, Any], device: torch.device, measure: Callable[[], Speed]) -> Speed:
        machine = (platform.node(), platform.machine(), device, torch.get_num_threads())
        found = self._found(self.speeds, (machine, date.today()), network, lambda: astuple(measure()))
        return Speed(*found)

    def _passes(self, cell: Cell, numbers: tuple[int, int]) -> tuple[float, float]:
        config, surrogates = {**cell.config, "epsilon_255": None}, len(cell.surrogates)

        def count() -> tuple[float, float]:
            return expected_passes(cell.config, cell.method, *numbers, surrogates=surrogates)

        return self._found(self.passes, (cell.method, surrogates, numbers), config, count)

    def _found(
        self, kept: SideCache, facts: object, config: Mapping[str, Any], find: Callable[[], tuple[float, float]]
    ) -> tuple[float, float]:
        """What was found for a config before, or is now; in this process only where code of other people is in it."""
        key = key_of(project_digest(), torch.__version__, facts, config)
        if key not in self.seen:
            own = all(target.startswith("cloakbench.") for _, target in targets(config))
            known = kept.get(key) if own else None
            self.seen[key] = find() if known is None else (known[0], known[1])
            if own and known is None:
                kept.put(key, list(self.seen[key]))
        return self.seen[key]


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
