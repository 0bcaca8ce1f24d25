"""Rates from records: events over trials, with intervals by identity bootstrap, and gaps with their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cloakbench.bench.core.status import OK, TARGET_FAILED, UNAVAILABLE
from cloakbench.bench.statistics.intervals import Interval, ratio_intervals

MEASUREMENT_FIELDS = ("metric", "value", "low", "high", "n", "n_failed", "n_identities", "status", "note")
"""Columns that a protocol fills; the engine adds the axes of the experiment (see ``bench.report.results``)."""


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


def rate_measurements(records: pd.DataFrame, trials: Mapping[str, Trials], resamples: int, seed: int) -> pd.DataFrame:
    """One row per metric with the columns `MEASUREMENT_FIELDS`; intervals by identity bootstrap.

    ``n`` counts trials, ``n_failed`` planned photos that failed and are in no trial.

    Args:
        records: one row per photo, with ``identity``, ``status`` and ``note``.
        trials: events and trials of every metric, one entry per record; what is lost does not count, whatever they say.
        resamples, seed: of the bootstrap.
    """
    lost = records["status"].to_numpy(dtype=object) != OK
    counted = {metric: _counted(t, lost) for metric, t in trials.items()}
    intervals = ratio_intervals(
        np.stack([t.events for t in counted.values()], axis=1),
        np.stack([t.trials for t in counted.values()], axis=1),
        records["identity"].to_numpy(),
        resamples,
        seed,
    )
    rows = [
        _row(metric, t, interval, lost if t.failed is None else t.failed, records)
        for (metric, t), interval in zip(counted.items(), intervals, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(MEASUREMENT_FIELDS))


def _counted(trials: Trials, lost: NDArray[np.bool_]) -> Trials:
    """Without events and trials of what is lost."""
    kept = ~(lost if trials.failed is None else trials.failed)
    return replace(trials, events=np.where(kept, trials.events, 0.0), trials=np.where(kept, trials.trials, 0.0))


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
