"""What every protocol takes and gives: embeddings in, one record per probe out, rates with intervals from records.

A protocol is a pure function of embeddings. It never sees images, models or files, so the same records come out of
cached responses, of a remote service's answers, or of a test's toy vectors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloakbench.bench.core.statistics import Interval, ratio_intervals

OK = "ok"
TARGET_FAILED = "target_failed"
UNAVAILABLE = "unavailable"
SKIPPED = "skipped"

MEASUREMENT_FIELDS = ("metric", "value", "low", "high", "n", "n_failed", "n_identities", "status", "note")
"""Columns that a protocol fills; the engine adds the axes of the experiment (see ``bench.report.results``)."""

_CHUNK_ELEMENTS = 4_000_000


@dataclass(frozen=True)
class MetricCard:
    """What must be printed with a number: its unit, its direction for the person protected, what it is a share of."""

    unit: str
    higher_is_better: bool
    denominator: str


@dataclass(frozen=True)
class Responses:
    """What one target says about one set of protected photos. Embeddings are unit vectors, float ``[., D]``.

    Attributes:
        protected: embeddings of the protected probes, ``[N, D]``.
        clean: embeddings of the same probes before protection, ``[N, D]``.
        identity: the person of each probe, integers ``[N]``.
        image_id: N names.
        gallery: embeddings of the distractors, ``[G, D]``; people who are not among the probes.
        target_embeddings: for each probe another photo of the person it should be taken for, ``[N, D]``.
        thresholds: false accept rate to cosine threshold (``calibration.calibrate``); NaN where it is a gap.
        legacy_thresholds: the same with the constants of the target's card.
        status: what became of each photo before it reached the target; ``ok`` for all when left out.

    A row of an embedding that is not finite, or zero, is a failure of the target and never becomes a number.

    Raises:
        ValueError: shapes disagree, or answered embeddings are not unit vectors.
    """

    protected: Tensor
    clean: Tensor
    identity: Tensor
    image_id: Sequence[str]
    gallery: Tensor | None = None
    target_embeddings: Tensor | None = None
    thresholds: Mapping[float, float] = field(default_factory=dict)
    legacy_thresholds: Mapping[float, float] = field(default_factory=dict)
    status: Sequence[str] | None = None

    def __post_init__(self) -> None:
        count, size = self.protected.shape
        given = {"clean": self.clean, "target_embeddings": self.target_embeddings}
        for name, value in given.items():
            if value is not None and tuple(value.shape) != (count, size):
                raise ValueError(f"{name} must be [{count}, {size}] like protected, got {list(value.shape)}")
        if self.gallery is not None and (self.gallery.ndim != 2 or self.gallery.shape[1] != size):
            raise ValueError(f"gallery must be [G, {size}], got {list(self.gallery.shape)}")
        for name, column in {"identity": self.identity, "image_id": self.image_id, "status": self.status}.items():
            if column is not None and len(column) != count:
                raise ValueError(f"{name} has {len(column)} entries for {count} probes")

    def row_status(self) -> NDArray[np.object_]:
        """Status of each probe: the given one, or ``target_failed`` where the target did not answer."""
        status = np.array(list(self.status) if self.status is not None else [OK] * len(self.image_id), dtype=object)
        answered_both = (answered(self.protected) & answered(self.clean)).numpy()
        status[(status == OK) & ~answered_both] = TARGET_FAILED
        return status


@dataclass(frozen=True)
class Trials:
    """The events and trials of one rate, per record.

    ``gap`` says why the rate cannot be had at all; ``gap_status`` is the status that goes with it. ``failed`` marks
    planned trials that are lost, where that differs from the record's own status.
    """

    events: NDArray[np.float64]
    trials: NDArray[np.float64]
    gap: str = ""
    gap_status: str = UNAVAILABLE
    failed: NDArray[np.bool_] | None = None
    empty: str = "no trial"


class Protocol(ABC):
    """Turns responses into records, and records into rates with intervals."""

    name: str
    version: str
    """Part of every cache key: raised whenever the same responses would give other records or rates."""

    needs: frozenset[str] = frozenset()
    """Roles of faces without which nothing can be measured."""
    gaps_without: frozenset[str] = frozenset()
    """Roles of faces without which some rates are gaps."""

    @abstractmethod
    def records(self, responses: Responses) -> pd.DataFrame:
        """One row per probe, in the order of ``responses``; numbers are null where ``status`` is not ``ok``."""

    @abstractmethod
    def cards(self) -> dict[str, MetricCard]:
        """Every metric this protocol reports, in the order of `measurements`."""

    @abstractmethod
    def trials(self, records: pd.DataFrame) -> dict[str, Trials]:
        """Events and trials of every metric, one entry per record."""

    def measurements(self, records: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
        """One row per metric with the columns `MEASUREMENT_FIELDS`; intervals by identity bootstrap.

        ``n`` counts trials, ``n_failed`` planned photos that failed and are in no trial.
        """
        trials = self.trials(records)
        intervals = ratio_intervals(
            np.stack([t.events for t in trials.values()], axis=1),
            np.stack([t.trials for t in trials.values()], axis=1),
            records["identity"].to_numpy(),
            resamples,
            seed,
        )
        lost = records["status"].to_numpy(dtype=object) != OK
        rows = [
            _row(metric, t, interval, lost if t.failed is None else t.failed, records)
            for (metric, t), interval in zip(trials.items(), intervals, strict=True)
        ]
        return pd.DataFrame(rows, columns=list(MEASUREMENT_FIELDS))


def _row(
    metric: str, trials: Trials, interval: Interval, failed: NDArray[np.bool_], records: pd.DataFrame
) -> dict[str, object]:
    """One measurement: a rate where there are trials, otherwise a gap with its reason."""
    n, n_failed = int(trials.trials.sum()), int(failed.sum())
    row: dict[str, object] = {"metric": metric, "value": np.nan, "low": np.nan, "high": np.nan}
    row |= {"n": 0, "n_failed": n_failed, "n_identities": 0}
    failures = f"{n_failed} of {len(records)} photos failed"
    if trials.gap:
        return row | {"status": trials.gap_status, "note": trials.gap}
    if n == 0 and n_failed:
        lost = records.loc[failed & (records["status"] != OK).to_numpy()]
        status = lost["status"].value_counts().index[0] if len(lost) else TARGET_FAILED
        reasons = [failures, *sorted(set(lost["note"]) - {""})]
        return row | {"status": status, "note": "; ".join(reasons)}
    if n == 0:
        return row | {"status": UNAVAILABLE, "note": trials.empty}
    row |= {"value": interval.value, "low": interval.low, "high": interval.high}
    return row | {
        "n": n,
        "n_identities": interval.n_identities,
        "status": OK,
        "note": failures if n_failed else "",
    }


def answered(embeddings: Tensor) -> Tensor:
    """Which rows hold an embedding, bool ``[N]``: finite and not zero.

    Raises:
        ValueError: a row that does is not a unit vector (within 1 %).
    """
    norms = embeddings.double().norm(dim=1)
    valid = torch.isfinite(norms) & (norms > 0)
    if bool(((norms[valid] - 1).abs() > 0.01).any()):
        raise ValueError("embeddings must be unit vectors; take them from Recogniser.embed")
    return valid


def cosine(left: Tensor, right: Tensor) -> Tensor:
    """Cosines of the last axis, rounded from float64 to float32.

    Rounding once at the end makes a score independent of the order in which a library adds up its products, so two
    equal photos tie in every chunk and on every machine.
    """
    return (left.double() * right.double()).sum(-1).float()


@dataclass(frozen=True)
class Mates:
    """The other probes of each probe's person, padded to ``[N, M]``: row numbers, and which of them count."""

    index: Tensor
    valid: Tensor

    @classmethod
    def of(cls, identity: Tensor, usable: Tensor) -> Mates:
        """Mates by identity ``[N]``; photos that are not ``usable`` (bool ``[N]``) are nobody's mate."""
        _, person, sizes = identity.unique(return_inverse=True, return_counts=True)
        members = torch.full((len(sizes), int(sizes.max()) if len(sizes) else 1), -1)
        order = person.argsort(stable=True)
        starts = sizes.cumsum(0) - sizes
        members[person[order], torch.arange(len(order)) - starts[person[order]]] = order
        index = members[person]
        valid = (index >= 0) & (index != torch.arange(len(identity))[:, None])
        index = index.clamp(min=0)
        return cls(index, valid & usable[index])

    def cosines(self, probes: Tensor, photos: Tensor) -> Tensor:
        """Cosine of each probe ``[N, D]`` with each of its mates among ``photos`` ``[N, D]``; NaN where padded."""
        rows = max(1, _CHUNK_ELEMENTS // max(1, self.index.shape[1] * probes.shape[1]))
        parts = [
            cosine(probe[:, None, :], photos[index])
            for probe, index in zip(probes.split(rows), self.index.split(rows), strict=True)
        ]
        return torch.cat(parts).masked_fill(~self.valid, torch.nan)


def count_rows(flags: Tensor) -> NDArray[np.float64]:
    """Number of true entries in each row of ``[N, M]``, as the float64 that tables of nullable numbers start from."""
    return flags.sum(dim=1).double().numpy()
