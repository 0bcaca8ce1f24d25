"""What an experiment already has in the store and what it still lacks, found by looking, not by remembering."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from cloakbench.bench.core.hashing import tensor_digest
from cloakbench.bench.engine.experiment import Experiment
from cloakbench.bench.engine.plan import Cell, Unit
from cloakbench.bench.engine.scoring import CellPhotos, MeasureBrief
from cloakbench.bench.engine.worker import UNCHANGED, RoleJob, embedding_key, quality_key
from cloakbench.bench.store.store import EntryGoneError
from cloakbench.datasets.base import OK, Role
from cloakbench.methods.base import METHOD_FAILED

_REASONS = 3  # that a line names

Job = RoleJob | tuple[Unit, dict[str, Any]]


@dataclass(frozen=True)
class Inventory:
    """What became of every unit.

    Attributes:
        about: unit key to what is stored about its photos, for units that were protected.
        failures: unit key to ``{"status", "reason"}``, for units whose method raised.
        units: every unit of the experiment.
        unfinished: keys of units whose job ended in an error, so that anything of theirs may be missing.
    """

    about: Mapping[str, dict[str, Any]]
    failures: Mapping[str, dict[str, str]]
    units: tuple[Unit, ...]
    unfinished: frozenset[str] = frozenset()

    def of(self, cell: Cell) -> list[Unit]:
        """The units of a cell in chunk order."""
        return [unit for unit in self.units if unit.cell is cell]

    def lost(self, cell: Cell) -> int:
        """Photos of a cell that its method did not finish."""
        lost = 0
        for unit in self.of(cell):
            known = self.about.get(unit.key)
            lost += len(unit.chunk.probes) if known is None else sum(status != OK for status in known["status"])
        return lost

    def reasons(self, cell: Cell) -> str:
        """Why a cell's method raised, each reason once; empty where it did not."""
        failed = [self.failures[unit.key]["reason"] for unit in self.of(cell) if unit.key in self.failures]
        return "; ".join(dict.fromkeys(failed))

    def photo_reasons(self, cell: Cell) -> str:
        """Why a cell's method gave no photo for some, where it says so: the first three reasons."""
        return _some([reason for unit in self.of(cell) for reason in self._photo_reasons(unit)])

    def _photo_reasons(self, unit: Unit) -> list[str]:
        return list(self.about.get(unit.key, {}).get("facts", {}).get("failed", {}).values())

    def details(self) -> list[str]:
        """What a programmer wants to know of each failure: cell, chunk, traceback."""
        return [
            f"{unit.cell.label}, chunk {unit.chunk.number}: {self.failures[unit.key].get('details', '')}"
            for unit in self.units
            if unit.key in self.failures
        ]

    def problems(self) -> list[str]:
        """One line per cell that lost photos."""
        lines = []
        for unit in self.units:
            if unit.key in self.failures:
                lines.append(f"{unit.cell.label}: {self.failures[unit.key]['reason']}")
            elif unit.key in self.about:
                lost = sum(status != OK for status in self.about[unit.key]["status"])
                if lost:
                    why = _some(self._photo_reasons(unit))
                    of = f"{lost} of {len(unit.chunk.probes)} photos of a chunk failed"
                    lines.append(f"{unit.cell.label}: {of}{f': {why}' if why else ''}")
        return list(dict.fromkeys(lines))


def _some(reasons: Sequence[str]) -> str:
    """The first three of the distinct reasons, and how many more."""
    distinct = list(dict.fromkeys(reasons))
    more = f"; and {len(distinct) - _REASONS} more" if len(distinct) > _REASONS else ""
    return "; ".join(distinct[:_REASONS]) + more


def job_name(job: Job) -> Hashable:
    """What tells a job from all others."""
    return job if isinstance(job, RoleJob) else job[0].key


def take_stock(experiment: Experiment, unfinished: Collection[Hashable] = ()) -> Inventory:
    """Look every unit up.

    Args:
        experiment: what was worked on.
        unfinished: names of the jobs that ended in an error (`job_name`).

    Raises:
        EntryGoneError: nothing is stored of a unit whose job went through.
    """
    about, failures, gone = {}, {}, []
    for unit, _ in experiment.units:
        known = experiment.store.read_about("protected", unit.key)
        if known is not None:
            about[unit.key] = known
            continue
        failure = experiment.store.read_json("failures", unit.key)
        failures[unit.key] = failure or {"status": METHOD_FAILED, "reason": "not finished"}
        if failure is None and unit.key not in unfinished:
            gone.append(unit.cell.label)
    if gone:
        raise EntryGoneError(f"protected photos of {gone[0]} are gone from {experiment.store.root}")
    units = tuple(unit for unit, _ in experiment.units)
    return Inventory(about, failures, units, frozenset(unit.key for unit in units if unit.key in unfinished))


def count_jobs(experiment: Experiment) -> int:
    """All jobs of an experiment, done or not."""
    return len(experiment.units) + sum(1 for _ in _role_jobs(experiment))


def due_jobs(experiment: Experiment) -> list[Job]:
    """Jobs with anything missing from the store or damaged, clean embeddings first. Recorded failures are not due.

    Embeddings and photos are many: that they exist is enough here, and their content is checked when it is used.
    """
    if not experiment.targets:
        return []
    store, brief = experiment.store, experiment.brief
    probes = experiment.faces["probe"]

    @cache
    def original_digest(rows: tuple[int, ...]) -> str:
        return tensor_digest(probes.images[list(rows)])

    def unit_is_done(unit: Unit) -> bool:
        if store.read_json("failures", unit.key) is not None:
            return True
        about = store.read_about("protected", unit.key)
        if about is None:
            return False
        names = [probes.image_id[row] for row in unit.chunk.probes]
        quality = quality_key(brief, original_digest(unit.chunk.probes), about["pixels"], about["status"])
        return store.is_whole("quality", quality, ".parquet") and all(
            store.has_tensors("embeddings", embedding_key(brief, target, label, about["pixels"], names)[0])
            for label in brief.transforms
            for target in brief.targets
        )

    digests = clean_pixels(experiment)

    def role_is_done(job: RoleJob) -> bool:
        faces = experiment.faces[job.role]
        rows = range(len(faces)) if job.rows is None else job.rows
        chunks = [chunk.probes for chunk in experiment.chunks]
        pixels = digests[job.role][0 if job.rows is None else chunks.index(job.rows)]
        key, _ = embedding_key(brief, job.model, UNCHANGED, pixels, [faces.image_id[row] for row in rows])
        return store.has_tensors("embeddings", key)

    due: list[Job] = [job for job in _role_jobs(experiment) if not role_is_done(job)]
    return due + [(unit, inputs) for unit, inputs in experiment.units if not unit_is_done(unit)]


def clean_pixels(experiment: Experiment) -> dict[str, tuple[str, ...]]:
    """Digests of the clean photos: the probes chunk by chunk, the other judged roles whole."""
    whole: dict[str, tuple[str, ...]] = {
        role: (tensor_digest(experiment.faces[role].images),) for role in _judged_roles(experiment)
    }
    probes = experiment.faces["probe"].images
    return whole | {"probe": tuple(tensor_digest(probes[list(chunk.probes)]) for chunk in experiment.chunks)}


def missing_embeddings(
    experiment: Experiment, inventory: Inventory, clean: Mapping[str, Collection[str]], target: str, label: str
) -> list[str]:
    """Keys of what a target should have embedded and has not, because it raised; ``clean`` is from `clean_pixels`."""
    brief, probes = experiment.brief, experiment.faces["probe"]
    wanted: list[tuple[str, str, tuple[str, ...]]] = [
        (UNCHANGED, pixels, ()) for group in clean.values() for pixels in group
    ]
    for unit in inventory.units:
        if unit.key in inventory.about:
            names = tuple(probes.image_id[row] for row in unit.chunk.probes)
            wanted.append((label, inventory.about[unit.key]["pixels"], names))
    keys = {embedding_key(brief, target, one, pixels, names)[0] for one, pixels, names in wanted}
    return sorted(key for key in keys if not experiment.store.has_tensors("embeddings", key))


def measure_brief(experiment: Experiment, inventory: Inventory) -> MeasureBrief:
    """What the measure jobs need to know of the stored photos."""
    cells = []
    for cell in experiment.cells:
        units = inventory.of(cell)
        status = tuple(
            tuple(inventory.about[unit.key]["status"])
            if unit.key in inventory.about
            else (inventory.failures[unit.key]["status"],) * len(unit.chunk.probes)
            for unit in units
        )
        pixels = tuple(inventory.about.get(unit.key, {"pixels": ""})["pixels"] for unit in units)
        cells.append(CellPhotos(pixels, tuple(unit.chunk.probes for unit in units), status))
    protocols: Any = OmegaConf.to_container(experiment.config.protocols, resolve=True)
    return MeasureBrief(
        work=experiment.brief,
        cells=tuple(cells),
        clean_pixels=clean_pixels(experiment),
        clean_rows=tuple(chunk.probes for chunk in experiment.chunks),
        target_rows=experiment.target_rows,
        legacy={key: experiment.cards[key].legacy_thresholds for key in experiment.targets},
        protocols=protocols,
        resamples=experiment.config.statistics.resamples,
    )


_JUDGED: tuple[Role, ...] = ("distractor", "auxiliary", "impostor")


def _judged_roles(experiment: Experiment) -> tuple[Role, ...]:
    return tuple(role for role in _JUDGED if role in experiment.faces)


def _role_jobs(experiment: Experiment) -> Iterator[RoleJob]:
    for target in experiment.targets:
        for chunk in experiment.chunks:
            yield RoleJob("probe", target, chunk.probes)
        for role in _judged_roles(experiment):
            yield RoleJob(role, target)
