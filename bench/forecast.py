"""How much an experiment will take: photos, disk, time. Upper bounds and estimates, from the plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.plan import Cell, Limit, build_cells, make_protector, read_limits
from cloakbench.bench.pool import available_cores
from cloakbench.bench.recognisers import build_recogniser
from cloakbench.datasets.base import FaceSet
from cloakbench.datasets.randomness import generator
from cloakbench.methods.base import People, Resources
from cloakbench.models.base import InputSpec, ModelCard, Recogniser

PHOTO_BYTES = 112 * 112 * 3
"""A crop without compression; PNG of a photo with noise on it comes close."""
REFERENCE_RUNS = Path(__file__).resolve().parents[1] / "results" / "reference"
"""Runs kept in the repository; an installed package has none."""

_USUAL_EMBEDDING = 512
_BATCH = 10
_SECONDS_PER_MODEL = 0.5


def probe_photos(config: DictConfig) -> int | None:
    """Photos that each cell protects, at most; None where only the photos themselves can tell."""
    people = config.dataset.get("identities") or config.dataset.get("max_identities")
    each = config.dataset.get("probes_per_identity")
    return int(people) * int(each) if people and each else None


def cell_photos(cell: Cell, config: DictConfig) -> int:
    """Photos of one cell, of which the plan may leave some out; for experiments whose photos are counted."""
    dataset, limit = config.dataset, read_limits(config).get(cell.method, Limit())
    people = int(dataset.get("identities") or dataset.max_identities)
    each = int(dataset.probes_per_identity)
    return min(people, limit.people or people) * min(each, limit.photos or each)


def disk_bytes(config: DictConfig) -> int | None:
    """What protected photos and their embeddings take in the store, at most; None where the photos are not counted."""
    photos = probe_photos(config)
    if photos is None:
        return None
    sizes = [OmegaConf.select(model, "network.embedding_size") or _USUAL_EMBEDDING for model in config.targets.values()]
    views = 1 + len(config.transforms)
    per_photo = PHOTO_BYTES + sum(4 * int(size) * views for size in sizes)
    return sum(cell_photos(cell, config) for cell in build_cells(config)) * per_photo


def reference_core_seconds(name: str, folder: Path = REFERENCE_RUNS) -> float | None:
    """Worker time that protecting took in the kept run of a preset; None when there is none."""
    file = folder / name / "data" / "costs.parquet"
    if not file.exists():
        return None
    import pandas as pd

    costs = pd.read_parquet(file, columns=["seconds_per_image", "images"])
    return float((costs.seconds_per_image * costs.images).sum())


@dataclass(frozen=True)
class Speed:
    """Seconds per photo of one network on this machine, in one thread."""

    forward: float
    backward: float


@dataclass
class Estimator:
    """Estimates the time of experiments; measures each network once and counts each method's passes once."""

    speeds: dict[str, Speed] = field(default_factory=dict)
    passes: dict[str, tuple[float, float]] = field(default_factory=dict)

    def seconds(self, config: DictConfig) -> float | None:
        """Time of all network passes of an experiment on its workers: protecting, and answering of the targets.

        Rendering or detecting faces, training stages, poisoning, image metrics and the report are not in it. None where
        photos are not counted.

        Raises:
            ValueError: a model cannot be built.
        """
        if probe_photos(config) is None:
            return None
        device = torch.device(config.runtime.device)
        views = 1 + len(config.transforms)
        answering = views * sum(self._speed(model, device).forward for model in config.targets.values())
        total = sum(
            cell_photos(cell, config) * (self._cell_seconds(cell, config, device) + answering)
            for cell in build_cells(config)
        )
        workers = available_cores() if config.runtime.workers == "auto" else max(1, int(config.runtime.workers))
        return total / workers

    def _cell_seconds(self, cell: Cell, config: DictConfig, device: torch.device) -> float:
        """Seconds per photo of one cell; passes are spread evenly over an ensemble."""
        if not cell.surrogates:
            return 0.0
        forward, backward = self._passes(cell, config)
        speeds = [self._speed(config.surrogates[key], device) for key in cell.surrogates]
        return sum(forward * one.forward + backward * one.backward for one in speeds) / len(speeds)

    def _speed(self, model: DictConfig, device: torch.device) -> Speed:
        plain: Any = OmegaConf.to_container(model, resolve=True)
        key = str(plain)
        if key not in self.speeds:
            self.speeds[key] = measure_speed(build_recogniser(plain, plain["name"]).to(device), device)
        return self.speeds[key]

    def _passes(self, cell: Cell, config: DictConfig) -> tuple[float, float]:
        dataset = config.dataset
        numbers = (int(dataset.probes_per_identity), int(dataset.get("references_per_identity") or 1))
        key = str((cell.method, {**cell.config, "epsilon_255": None}, len(cell.surrogates), numbers))
        if key not in self.passes:
            self.passes[key] = count_passes(cell.config, cell.method, *numbers, surrogates=len(cell.surrogates))
        return self.passes[key]


def measure_speed(model: Recogniser, device: torch.device) -> Speed:
    """Times a few batches of noise, in one thread like a worker."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        images = torch.rand(_BATCH, 3, 112, 112, generator=generator("speed")).to(device)
        with torch.no_grad():
            forward = _seconds_of(lambda: model.embed(images), device)
        images.requires_grad_()
        both = _seconds_of(lambda: torch.autograd.grad(model.embed(images).sum(), images), device)
    finally:
        torch.set_num_threads(threads)
    return Speed(forward / _BATCH, max(0.0, both - forward) / _BATCH)


def _seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Mean over as many calls as fit into half a second, one at least, after one that does not count."""
    call()
    calls, begun, elapsed = 0, time.perf_counter(), 0.0
    while elapsed < _SECONDS_PER_MODEL:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        calls, elapsed = calls + 1, time.perf_counter() - begun
    return elapsed / calls


def count_passes(
    method: Mapping[str, Any], key: str, probes: int, references: int, *, surrogates: int = 1
) -> tuple[float, float]:
    """Forward and backward passes per photo of a method, counted on one person with tiny photos of noise.

    Raises:
        ValueError: the method cannot work on them.
    """
    protector = make_protector(method, key)
    resources = Resources(tuple(_stand_in() for _ in range(surrogates)), _others(), seed=0)
    if protector.is_trained:
        resources = replace(resources, learnt=protector.learn(resources).tensors)
    protected = protector.protect(_person(probes, references), resources)
    return protected.cost.forward_images / probes, protected.cost.backward_images / probes


_SIDE = 32
_OTHERS = 24
"""More people than any method of ours chooses from."""


def _noise(count: int, name: str) -> torch.Tensor:
    return torch.rand(count, 3, _SIDE, _SIDE, generator=generator("forecast", name))


def _person(probes: int, references: int) -> People:
    return People(
        images=_noise(probes, "probes"),
        image_id=tuple(f"probe-{number}" for number in range(probes)),
        person=torch.zeros(probes, dtype=torch.long),
        identities=("person",),
        references=_noise(references, "references")[None],
        reference_id=(tuple(f"reference-{number}" for number in range(references)),),
        landmarks=torch.tensor([[10, 12], [22, 12], [16, 18], [11, 24], [21, 24]]).float().repeat(probes, 1, 1),
        targets=_noise(1, "target"),
    )


def _others() -> FaceSet:
    people = tuple(f"other-{number // 2}" for number in range(2 * _OTHERS))
    names = tuple(f"{name}-{number % 2}" for number, name in enumerate(people))
    return FaceSet((_noise(len(names), "others") * 255).to(torch.uint8), names, people)


def _stand_in() -> Recogniser:
    """A recogniser that costs next to nothing, with a convolution for methods that act on one."""
    with torch.device("meta"):
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, 4, 1), torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(64, 8)
        )
    stream = generator("forecast", "stand-in")
    state = {name: torch.randn(value.shape, generator=stream) for name, value in network.state_dict().items()}
    network.load_state_dict(state, assign=True)
    return Recogniser(network, InputSpec((_SIDE, _SIDE)), ModelCard("stand-in", "", "", "", "", 8, ""))
