"""Growth of time and memory: with people, probes, the gallery, what is stored, and the records of a report.

Every row holds a size against a smaller one. Time per piece may grow by a tenth; memory may not grow, but where results
themselves do.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from omegaconf import DictConfig, open_dict
from torch import Tensor

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.files.seal import seal
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.core.status import OK
from cloakbench.bench.engine.jobs import CleanJob
from cloakbench.bench.engine.unit_state import chunk_photos
from cloakbench.bench.experiment.experiment import Experiment
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import run
from cloakbench.bench.experiment.run_status import due_jobs, look_up
from cloakbench.bench.perf.person_loops import cloak_growth
from cloakbench.bench.perf.timing import Ratio, grow
from cloakbench.bench.perf.veil_loops import veil_growth
from cloakbench.bench.plan.publication import PROBES, PlannedUnit, UnitState
from cloakbench.bench.protocols.identification.protocol import Identification
from cloakbench.bench.protocols.recognition.responses import Responses
from cloakbench.bench.statistics.intervals import PersonSums
from cloakbench.bench.statistics.joint_intervals import CellMean, joint_intervals
from cloakbench.bench.store import entries as stored
from cloakbench.bench.store.store import Store

_DIMENSIONS = 128
_PHOTOS_EACH = 5
_CHUNK_MIB = 128
"""What the largest chunk of a search may take, which the smallest gallery does not fill; however large the gallery."""
_EXPERIMENT = (
    "experiment=smoke",
    "method=fgsm",
    "model@surrogate=cosface_mobilenet",
    "model@target=cosface_mobilenet",
    "~protocols.verification",
    "runtime.workers=0",
    "statistics.resamples=100",
)


def growth(people: int, times: int, repeats: int, device: torch.device) -> Iterator[Ratio]:
    """Every row.

    Args:
        people: of the smaller experiment.
        times: how much larger the larger sizes are; the gallery is ten times that much larger.
        repeats: turns.
        device: where tensors are.
    """
    with tempfile.TemporaryDirectory(prefix="cloakbench-perf-") as scratch:
        folder = Path(scratch)
        yield _people(people, times, folder, device)
        yield _entries(1000, times, folder, device)
    yield _probes(1000, times, repeats, device)
    yield _gallery(1000, 10 * times, repeats, device)
    yield _records(10_000, times, device)
    yield from cloak_growth(people, times, repeats, device)
    yield from veil_growth(repeats, device)


def _people(people: int, times: int, folder: Path, device: torch.device) -> Ratio:
    """A whole experiment, from its photos to its report: one method on one surrogate."""

    def experiment(count: int) -> None:
        results = folder / f"people{count}"
        shutil.rmtree(results, ignore_errors=True)
        run(_config(count, folder, results))

    name = f"an experiment, {people * times:,} / {people:,} people"
    large, small = partial(experiment, people * times), partial(experiment, people)
    return grow(name, large, small, times, 1, device)


def _entries(entries: int, times: int, folder: Path, device: torch.device) -> Ratio:
    """How long it takes to find out that nothing is left to do; what is known of every unit is held."""
    many = _settled(prepare(_config(10, folder, folder / "entries")), entries * times)
    few = _cut(many, entries)

    def look(at: Experiment) -> None:
        assert all(isinstance(job, CleanJob) for job in due_jobs(look_up(at)))

    name = f"nothing left to do, {entries * times:,} / {entries:,} entries"
    return grow(name, partial(look, many), partial(look, few), times, 1, device, memory_grows=True)


def _probes(probes: int, times: int, repeats: int, device: torch.device) -> Ratio:
    small, large = _responses(probes, 1000), _responses(probes * times, 1000)
    name = f"identification, {probes * times:,} / {probes:,} probes"
    search = Identification().records
    works = partial(search, large), partial(search, small)
    return grow(name, *works, times, max(1, repeats // 2), device, memory_grows=True)


def _gallery(gallery: int, times: int, repeats: int, device: torch.device) -> Ratio:
    """Rank counting for 200 probes, clean and protected."""
    large = _responses(200, gallery * times)
    assert large.gallery is not None
    small = replace(large, gallery=large.gallery[:gallery])
    name = f"identification, gallery {gallery * times:,} / {gallery:,}"
    search, turns = Identification().records, max(1, repeats // 2)
    return grow(name, partial(search, large), partial(search, small), times, turns, device, more_mib=_CHUNK_MIB)


def _records(records: int, times: int, device: torch.device) -> Ratio:
    """Rates and joint intervals of so many records, which are held."""
    protocol = Identification()
    some = protocol.records(_responses(1000, 1000))

    def frame(count: int) -> pd.DataFrame:
        whole = pd.concat([some] * -(-count // len(some)), ignore_index=True)[:count]
        return whole.assign(identity=np.arange(count) // _PHOTOS_EACH, image_id=np.arange(count).astype(str))

    def report(rows: pd.DataFrame) -> None:
        protocol.measurements(rows, 1000, 0)
        trials = list(protocol.trials(rows).values())
        events, totals = (np.stack([getattr(one, part) for one in trials], axis=1) for part in ("events", "trials"))
        sums = PersonSums.of(events, totals, rows["identity"])
        joint_intervals(sums, [CellMean((0, 1), (1, 1))], 1000, 0)

    name = f"rates and intervals, {records * times:,} / {records:,} records"
    works = partial(report, frame(records * times)), partial(report, frame(records))
    return grow(name, *works, times, 1, device, memory_grows=True)


def _responses(probes: int, gallery: int) -> Responses:
    stream = torch.Generator().manual_seed(0)

    def units(count: int) -> Tensor:
        return F.normalize(torch.randn(count, _DIMENSIONS, generator=stream), dim=-1)

    clean = units(probes)
    identity = torch.arange(probes) // _PHOTOS_EACH
    names = [f"photo{row}" for row in range(probes)]
    return Responses(F.normalize(clean + 0.1 * units(probes), dim=-1), clean, identity, names, gallery=units(gallery))


def _config(people: int, folder: Path, results: Path) -> DictConfig:
    config = compose_config([*_EXPERIMENT, f"paths.results={results}"])
    with open_dict(config):
        config.dataset = {
            "_target_": "cloakbench.bench.perf.faces.MappedFaces",
            "people": people,
            "folder": str(folder),
        }
    return config


def _settled(experiment: Experiment, entries: int) -> Experiment:
    """The experiment with as many units as make so many entries, of which photos and answers are stored. They are not
    forced to disk, which would take longer than all else."""
    publication = experiment.publications[PROBES]
    questions = experiment.questions(publication, whole_cells=False)
    template = publication.units[-1][0]
    status = [OK] * len(template.unit.chunk.probes)
    pixel = torch.zeros(1, 3, 1, 1, dtype=torch.uint8)
    answer = stored.pack_tensors({"nothing": torch.zeros(1)}, {}, None)
    units = []
    for number in range(_units_of(experiment, entries)):
        key = content_key("protected", {"of": "perf", "unit": number})
        about = {"pixels": key, "status": status}
        planned = replace(template, unit=replace(template.unit, key=key))
        _put(experiment.store, "protected", key, ".zip", stored.pack_photos(pixel, [""], about, f"protected/{key}.zip"))
        photos = chunk_photos(planned, UnitState(about), publication.faces)
        for question in questions:
            protocol = experiment.protocol(question.protocol)
            place = question.key(protocol, photos, experiment.spec)
            _put(experiment.store, protocol.kind_of(question.judge), place, ".safetensors", answer)
        units.append(planned)
    return _with_units(experiment, units)


def _put(store: Store, kind: str, key: str, suffix: str, content: bytes) -> None:
    path = store.path(kind, key, suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(seal(content, f"{kind}/{key}{suffix}")))


def _units_of(experiment: Experiment, entries: int) -> int:
    """How many units make so many entries."""
    questions = experiment.questions(experiment.publications[PROBES], whole_cells=False)
    return -(-entries // (1 + len(questions)))


def _with_units(experiment: Experiment, units: Sequence[PlannedUnit]) -> Experiment:
    publication = experiment.publications[PROBES]
    probes = replace(publication, cells=publication.cells[-1:], units=(tuple(units),))
    return replace(experiment, publications={PROBES: probes})


def _cut(experiment: Experiment, entries: int) -> Experiment:
    [units] = experiment.publications[PROBES].units
    return _with_units(experiment, units[: _units_of(experiment, entries)])
