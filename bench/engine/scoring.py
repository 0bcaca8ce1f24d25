"""From stored embeddings to records and rates: one job per target and transform.

Jobs are pure functions of what is in the store and are stored themselves, so a finished experiment is reported again
without recomputing anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from hydra.utils import instantiate
from torch import Tensor

from cloakbench.bench.config.node_keys import node_code, node_settings
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.engine.protocol import Protocol, Responses
from cloakbench.bench.engine.worker import UNCHANGED, Brief, embedding_key
from cloakbench.bench.protocols.verification.calibration import add_legacy, calibrate
from cloakbench.bench.protocols.verification.thresholds import Calibration, stored_thresholds
from cloakbench.bench.store.faces import read_faces
from cloakbench.bench.store.store import EntryGoneError, Store
from cloakbench.datasets.base import FaceSet

_NOT_PLANNED = "not planned"
"""Status of a probe that a cell was never meant to protect; such rows become neither records nor failures."""


@dataclass(frozen=True)
class CellPhotos:
    """The protected photos of a cell, chunk by chunk: digests of the pixels, rows among the probes, status.

    A chunk that failed as a whole has an empty digest.
    """

    pixels: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    status: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class MeasureJob:
    """Judge every cell with one target after one transform."""

    target: str
    transform: str
    key: str
    """Where the answer is stored."""


@dataclass(frozen=True)
class MeasureBrief:
    """What every measure job shares, picklable.

    Attributes:
        work: the brief of the experiment.
        cells: one entry per cell, in plan order.
        clean_pixels: role to digest of its photos; the probes chunk by chunk.
        clean_rows: rows of the probes, chunk by chunk.
        target_rows: person to the auxiliary row impersonation is measured on.
        legacy: target to the legacy thresholds of its card.
        protocols: key to resolved protocol config.
        resamples: bootstrap draws.
        missing: keys of the embeddings that targets have not given, because they raised; no others may be absent.
    """

    work: Brief
    cells: tuple[CellPhotos, ...]
    clean_pixels: Mapping[str, tuple[str, ...]]
    clean_rows: tuple[tuple[int, ...], ...]
    target_rows: Mapping[str, int]
    legacy: Mapping[str, tuple[float, float, float] | None]
    protocols: Mapping[str, Mapping[str, Any]]
    resamples: int
    missing: frozenset[str] = frozenset()


_ENTRIES = ("thresholds", "records", "measurements")
"""Kinds of the three tables that answer a job, in the order in which they are written."""


def is_answered(store: Store, key: str) -> bool:
    """Whether a job is done: all of its tables are there and undamaged."""
    whole = [store.is_whole(kind, key, ".parquet") for kind in _ENTRIES]  # each is looked at
    return all(whole)


def measure_key(brief: MeasureBrief, target: str, transform: str, missing: Sequence[str]) -> str:
    """Name of the stored answer to a job; ``missing`` are keys of embeddings that the target has not given yet."""
    inputs = {
        "target": brief.work.fingerprints[target],
        "transform": node_settings(brief.work.transforms[transform]),
        "cells": [[cell.pixels, cell.status] for cell in brief.cells],
        "clean": {role: list(pixels) for role, pixels in brief.clean_pixels.items()},
        "target_rows": dict(brief.target_rows),
        "faces": dict(brief.work.faces),
        "legacy": brief.legacy[target],
        "protocols": node_settings(brief.protocols),
        "resamples": brief.resamples,
        "seed": brief.work.seed,
        "batch": brief.work.embed_batch,
        "missing": list(missing),
        "code": node_code(brief.protocols, base=("cloakbench.bench.engine.scoring",)),
    }
    return content_key("measurements", inputs)


class Measurer:
    """Handler of measure jobs; answers with the key of the stored result."""

    def __init__(self, brief: MeasureBrief) -> None:
        torch.set_num_threads(1)
        self.brief = brief
        self.store = Store(brief.work.store)
        self.protocols: dict[str, Protocol] = {key: instantiate(dict(c)) for key, c in brief.protocols.items()}
        self._faces: dict[str, FaceSet] = {}

    def __call__(self, job: MeasureJob) -> str:
        """Answer a job.

        Raises:
            EntryGoneError: embeddings were damaged, or have gone since the job was planned. All such are found at once.
        """
        if not is_answered(self.store, job.key):
            try:
                self._answer(job)
            except EntryGoneError:
                for key in self._wanted(job):
                    self.store.is_whole("embeddings", key, ".safetensors")
                raise
        return job.key

    def _answer(self, job: MeasureJob) -> None:
        thresholds = self._thresholds(job.target)
        records, measurements = [], []
        for number in range(len(self.brief.cells)):
            responses = self._responses(job, number, thresholds)
            for name, protocol in self.protocols.items():
                found = protocol.records(responses)
                found = found.loc[found["status"] != _NOT_PLANNED].reset_index(drop=True)
                rates = protocol.measurements(found, self.brief.resamples, self.brief.work.seed)
                records.append(found.assign(cell=number, protocol=name))
                measurements.append(rates.assign(cell=number, protocol=name))
        answer = (thresholds, pd.concat(records, ignore_index=True), pd.concat(measurements, ignore_index=True))
        for kind, table in zip(_ENTRIES, answer, strict=True):
            self.store.write_frame(kind, job.key, table)

    def _wanted(self, job: MeasureJob) -> Iterator[str]:
        """Keys of all embeddings that a job may read."""
        probes, work = self.faces("probe"), self.brief.work
        for group in self.brief.clean_pixels.values():
            for pixels in group:
                yield embedding_key(work, job.target, UNCHANGED, pixels, ())[0]
        for cell in self.brief.cells:
            for pixels, rows in zip(cell.pixels, cell.rows, strict=True):
                if pixels:
                    names = [probes.image_id[row] for row in rows]
                    yield embedding_key(work, job.target, job.transform, pixels, names)[0]

    def _responses(self, job: MeasureJob, number: int, thresholds: pd.DataFrame) -> Responses:
        probes = self.faces("probe")
        cell = self.brief.cells[number]
        clean = self._probe_embeddings(job.target)
        protected = torch.full_like(clean, torch.nan)
        status = [_NOT_PLANNED] * len(probes)
        for pixels, rows, states in zip(cell.pixels, cell.rows, cell.status, strict=True):
            if pixels:
                names = [probes.image_id[row] for row in rows]
                protected[list(rows)] = self._embeddings(job.target, job.transform, pixels, names)
            for row, state in zip(rows, states, strict=True):
                status[row] = state
        identities = {name: place for place, name in enumerate(probes.identities())}
        return Responses(
            protected=protected,
            clean=clean,
            identity=torch.tensor([identities[name] for name in probes.identity]),
            image_id=probes.image_id,
            gallery=self._role_embeddings(job.target, "distractor") if "distractor" in self.brief.work.faces else None,
            target_embeddings=self._impersonated(job.target),
            thresholds=dict(zip(thresholds["far"], thresholds["threshold"], strict=True)),
            legacy_thresholds=dict(zip(thresholds["far"], thresholds["legacy"], strict=True)),
            status=status,
        )

    def _thresholds(self, target: str) -> pd.DataFrame:
        """Cosine thresholds of a target at the false accept rates the verification protocols ask for, and which of them
        (``used``) those protocols take."""
        asking = [protocol for protocol in self.protocols.values() if hasattr(protocol, "fars")]
        fars = sorted({far for protocol in asking for far in getattr(protocol, "fars", ())})
        used = " and ".join(sorted({getattr(protocol, "thresholds", "calibrated") for protocol in asking}))
        resamples, seed = self.brief.resamples, self.brief.work.seed
        legacy = self.brief.legacy[target]
        if not fars:
            return pd.DataFrame({"far": [], "threshold": [], "legacy": []})
        if "impostor" not in self.brief.work.faces:  # calibrated thresholds become gaps with a reason
            nobody, no_one = self._probe_embeddings(target)[:0], torch.empty(0, dtype=torch.long)
            gaps = calibrate(nobody, no_one, fars=fars, resamples=resamples, seed=seed)
            return add_legacy(gaps, nobody, no_one, legacy).assign(used=used)
        calibration = Calibration(
            model=self.brief.work.fingerprints[target],
            pixels=self.brief.clean_pixels["impostor"][0],
            people=self.faces("impostor").identity,
            fars=tuple(fars),
            legacy=legacy,
            resamples=resamples,
            seed=seed,
            batch=self.brief.work.embed_batch,
        )
        table = stored_thresholds(self.store, calibration, lambda: self._role_embeddings(target, "impostor"))
        return table.assign(used=used)

    def _impersonated(self, target: str) -> Tensor | None:
        if not self.brief.target_rows:
            return None
        rows = [self.brief.target_rows[name] for name in self.faces("probe").identity]
        return self._role_embeddings(target, "auxiliary")[rows]

    def _probe_embeddings(self, target: str) -> Tensor:
        probes = self.faces("probe")
        parts = [
            (rows, self._embeddings(target, UNCHANGED, pixels, [probes.image_id[row] for row in rows]))
            for rows, pixels in zip(self.brief.clean_rows, self.brief.clean_pixels["probe"], strict=True)
        ]
        whole = parts[0][1].new_full((len(probes), parts[0][1].shape[1]), torch.nan)
        for rows, values in parts:
            whole[list(rows)] = values
        return whole

    def _role_embeddings(self, target: str, role: str) -> Tensor:
        return self._embeddings(target, UNCHANGED, self.brief.clean_pixels[role][0], self.faces(role).image_id)

    def _embeddings(self, model: str, transform: str, pixels: str, names: Sequence[str]) -> Tensor:
        key, _ = embedding_key(self.brief.work, model, transform, pixels, names)
        stored = self.store.read_tensors("embeddings", key)
        if stored is not None:
            return stored[0]["embeddings"]
        if key not in self.brief.missing:
            raise EntryGoneError(f"embeddings {key} by {model} are gone from {self.store.root}")
        # The target raised: its photos failed, and the next run asks it again.
        return torch.full((len(names), self.brief.work.embedding_sizes[model]), torch.nan)

    def faces(self, role: str) -> FaceSet:
        """The stored faces of a role, read once per process."""
        if role not in self._faces:
            self._faces[role] = read_faces(self.store, self.brief.work.faces[role])
        return self._faces[role]
